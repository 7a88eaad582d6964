"""The artifacts of a session, as a reader gets them: what there is, and the content of one, piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from agentjobs.transcript import sql
from agentjobs.transcript.cutting import name as short_name
from agentjobs.transcript.errors import TranscriptUnavailable
from agentjobs.transcript.jobs import SessionKey
from agentjobs.transcript.store import Store

MOST_FILES = 500
"""Files of a page."""
PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredFile:
    """The newest version of an artifact, or the one that was asked for. Its names were written by agents: hostile input."""

    name: str
    """With ``user:`` in front where all sessions of the user share it."""
    version: int
    """From 0 on; there are as many earlier ones."""
    mime_type: str
    size_bytes: int
    saved_at: datetime
    address: str = ""
    """Where the content is, of a file that is not kept here. Empty: it is."""


class Artifacts:
    """Reads the table of artifacts. Each method raises NoSessionStore or TranscriptUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_there = False

    async def files(self, key: SessionKey, after: str = "", limit: int = MOST_FILES) -> list[StoredFile]:
        """The artifacts of a session and of its user by name, each with its newest version; those behind ``after``."""
        if not await self._has_table():
            return []
        values = {**key.as_json(), "after": after, "limit": limit}
        return [_file(*row) for row in await self._store.fetch(sql.ARTIFACTS, values)]

    async def file(self, key: SessionKey, name: str, version: int | None = None) -> StoredFile | None:
        """One version of an artifact; the newest where none is named. None: there is none."""
        if "\0" in name or not await self._has_table():
            return None
        values = {**key.as_json(), "filename": name, "version": version}
        rows = await self._store.fetch(sql.ARTIFACT, values)
        return _file(*rows[0]) if rows else None

    async def content(self, key: SessionKey, file: StoredFile) -> AsyncIterator[bytes]:
        """The content of a version, in pieces. Raises TranscriptUnavailable where it was deleted meanwhile."""
        place = {**key.as_json(), "filename": file.name, "version": file.version, "bytes": PIECE_BYTES}
        for start in range(0, file.size_bytes, PIECE_BYTES):
            rows = await self._store.fetch(sql.ARTIFACT_PIECE, {**place, "start": start + 1})
            if not rows:
                raise TranscriptUnavailable("the artifact was deleted while it was read")
            yield bytes(rows[0][0])

    async def _has_table(self) -> bool:
        if not self._is_there:
            ((self._is_there,),) = await self._store.fetch(sql.ARTIFACTS_THERE, {})
        return self._is_there


def _file(
    name: str, version: int, mime_type: str | None, size_bytes: int, saved_at: datetime, address: str | None
) -> StoredFile:
    return StoredFile(name, version, short_name(mime_type), size_bytes, saved_at, short_name(address))
