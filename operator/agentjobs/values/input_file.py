"""A file that an agent is given with its job's message, as it travels in the job's payload: its content, or where that is."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MESSAGE, ARTIFACT = "Message", "Artifact"
"""Values of ``spec.inputs[].attach``."""


@dataclass(frozen=True, slots=True)
class ArtifactPlace:
    """A version of a file of another job's session, by the keys of ADK's artifact services."""

    app_name: str
    user_id: str
    session_id: str
    filename: str
    version: int | None = None
    """None: the newest."""

    def as_json(self) -> dict[str, str | int | None]:
        return {
            "appName": self.app_name, "userID": self.user_id, "sessionID": self.session_id, "name": self.filename,
            "version": self.version,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ArtifactPlace:
        """:raises KeyError, TypeError or ValueError: it is none."""
        version = value.get("version")
        app, user, session, name = (str(value[key]) for key in ("appName", "userID", "sessionID", "name"))
        return cls(app, user, session, name, None if version is None else int(version))


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that the agent is given with its message."""

    name: str
    mime_type: str
    """Empty: that of the artifact."""
    data: bytes = field(repr=False)
    attach: str = MESSAGE
    """Message, or Artifact: then the model does not see it with the message."""
    place: ArtifactPlace | None = None
    """Where the content is, which ``data`` then is not."""

    def as_json(self) -> dict[str, Any]:
        """The file as a job's payload holds it."""
        found: dict[str, Any] = {"name": self.name, "mimeType": self.mime_type, "attach": self.attach}
        if self.place is not None:
            return found | {"artifact": self.place.as_json()}
        return found | {"data": base64.b64encode(self.data).decode()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> InputFile:
        """:raises KeyError, TypeError or ValueError: it is none."""
        place = ArtifactPlace.from_json(value["artifact"]) if "artifact" in value else None
        data = base64.b64decode(value["data"], validate=True) if place is None else b""
        return cls(str(value["name"]), str(value["mimeType"]), data, str(value.get("attach", MESSAGE)), place)
