"""Artifacts by URI: the executor hands what an agent saves to the service that the pool's settings name.

The service is made at its first use, so a run without files pays nothing. Before each write the run's lease and its session's fence
are looked at; a write that has begun cannot be called back, unlike one in Postgres (``artifacts``).
"""

from __future__ import annotations

import re
from typing import Any

from google.adk.artifacts.base_artifact_service import ArtifactVersion, BaseArtifactService
from google.genai import types

from agentjobs.agents.sessions.uri_calls import UriCalls

_SPECIAL = frozenset({"apps", "users", "sessions", "artifacts", "versions", "user"})
"""Names of folders that ADK's services make themselves; all but the last are refused in an app with a slash."""


class UriArtifacts(BaseArtifactService):
    """The artifact service of one run. To be made on the run's event loop."""

    def __init__(self, calls: UriCalls) -> None:
        self._calls = calls

    async def save_artifact(self, **asked: Any) -> int:
        """Saves the next version of a file, and returns its number.

        :raises ArtifactServiceUnavailable: the service's place is away, or denies access.
        :raises SessionFenced: a later run has the session; nothing was written.
        """
        return int(await self._calls.write(lambda service: service.save_artifact(**_keyed(asked))))

    async def delete_artifact(self, **asked: Any) -> None:
        await self._calls.write(lambda service: service.delete_artifact(**_keyed(asked)))

    async def load_artifact(self, **asked: Any) -> types.Part | None:
        found: types.Part | None = await self._calls.read(
            lambda service: service.load_artifact(**_keyed(asked))
        )
        return found

    async def list_artifact_keys(self, **asked: Any) -> list[str]:
        return list(await self._calls.read(lambda service: service.list_artifact_keys(**_keyed(asked))))

    async def list_versions(self, **asked: Any) -> list[int]:
        return list(await self._calls.read(lambda service: service.list_versions(**_keyed(asked))))

    async def list_artifact_versions(self, **asked: Any) -> list[ArtifactVersion]:
        return list(await self._calls.read(lambda service: service.list_artifact_versions(**_keyed(asked))))

    async def get_artifact_version(self, **asked: Any) -> ArtifactVersion | None:
        found: ArtifactVersion | None = await self._calls.read(
            lambda service: service.get_artifact_version(**_keyed(asked))
        )
        return found


def _keyed(asked: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call, with app, user and session as parts of a path.

    Services make paths of them, and a user ``a/b`` must not be a session of the user ``a``.
    """
    keyed = dict(asked)
    if app_name := keyed.get("app_name"):
        keyed["app_name"] = "/".join(path_part(part) for part in str(app_name).split("/", 1))
    for name in ("user_id", "session_id"):
        if keyed.get(name):
            keyed[name] = path_part(str(keyed[name]))
    return keyed


def path_part(name: str) -> str:
    """A name as one part of a path: itself where it is harmless, else with percent signs. Two names never become one. Pure."""
    special = name.casefold() in _SPECIAL or not name.strip(". ")
    told = name if not special else f"%{ord(name[0]):02X}{name[1:]}"
    start = 3 if special else 0
    return told[:start] + re.sub(r"[\x00-\x20%/\\:?#*\"<>|\x7f]", lambda m: f"%{ord(m[0]):02X}", told[start:])
