"""The artifact service as the agent gets it: what it saves and deletes is told to the supervisor, for the job's status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.adk.artifacts.base_artifact_service import ArtifactVersion, BaseArtifactService, ensure_part
from google.genai import types

from agentjobs.values.saved_file import SavedFile


class ToldArtifacts(BaseArtifactService):
    """Another service, whose saves and deletions are told once they are done."""

    def __init__(
        self, service: BaseArtifactService, on_file: Callable[[SavedFile], None], address: str = ""
    ) -> None:
        """
        :param address: where the service keeps the files. Empty: in the session store.
        """
        self._service = service
        self._address = address
        self._on_file = on_file

    async def save_artifact(
        self, *, filename: str, artifact: types.Part | dict[str, Any], **whose: Any
    ) -> int:
        part = ensure_part(artifact)
        version = await self._service.save_artifact(filename=filename, artifact=part, **whose)
        mime_type, size = _type_and_size(part)
        self._on_file(SavedFile(filename, version, mime_type, size, self._address))
        return version

    async def delete_artifact(self, *, filename: str, **whose: Any) -> None:
        await self._service.delete_artifact(filename=filename, **whose)
        self._on_file(SavedFile(filename, None))

    # All arguments of ADK's services are named, so these hand on whatever they are given.
    async def load_artifact(self, **asked: Any) -> types.Part | None:
        return await self._service.load_artifact(**asked)

    async def list_artifact_keys(self, **asked: Any) -> list[str]:
        return await self._service.list_artifact_keys(**asked)

    async def list_versions(self, **asked: Any) -> list[int]:
        return await self._service.list_versions(**asked)

    async def list_artifact_versions(self, **asked: Any) -> list[ArtifactVersion]:
        return await self._service.list_artifact_versions(**asked)

    async def get_artifact_version(self, **asked: Any) -> ArtifactVersion | None:
        return await self._service.get_artifact_version(**asked)


def _type_and_size(part: types.Part) -> tuple[str, int]:
    """Type and bytes of a part's content; no bytes where it is an address."""
    if part.inline_data is not None:
        return part.inline_data.mime_type or "", len(part.inline_data.data or b"")
    if part.text is not None:
        return "text/plain", len(part.text.encode(errors="surrogatepass"))
    return (part.file_data.mime_type or "" if part.file_data is not None else ""), 0
