"""A file that an agent is given with its job's message, as it travels in the job's payload."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MESSAGE, ARTIFACT = "Message", "Artifact"
"""Values of ``spec.inputs[].attach``."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that the agent is given with its message."""

    name: str
    mime_type: str
    data: bytes = field(repr=False)
    attach: str = MESSAGE
    """Message, or Artifact: then the model does not see it with the message."""

    def as_json(self) -> dict[str, str]:
        """The file as a job's payload holds it."""
        data = base64.b64encode(self.data).decode()
        return {"name": self.name, "mimeType": self.mime_type, "attach": self.attach, "data": data}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> InputFile:
        """:raises KeyError, TypeError or ValueError: it is none."""
        data = base64.b64decode(value["data"], validate=True)
        return cls(str(value["name"]), str(value["mimeType"]), data, str(value.get("attach", MESSAGE)))
