"""Artifacts: the files that agents save, kept in Postgres beside their sessions, each write fenced for its run.

ADK's in-memory service and this one make the same promises: tests/queue/test_artifacts.py runs both. A run that saves and
loads nothing costs no statement. Runs in the executor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.adk.artifacts.artifact_util import (
    _MAX_ARTIFACT_REFERENCE_DEPTH,
    _is_rewind_tombstone,
    get_artifact_uri,
    is_artifact_ref,
    resolve_artifact_reference,
)
from google.adk.artifacts.base_artifact_service import ArtifactVersion, BaseArtifactService, ensure_part
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.genai import types

from agentjobs.agents.sessions import artifact_sql as sql
from agentjobs.agents.sessions.artifact_rows import USER_PREFIX, Shelf, part_of, shown, stored_part
from agentjobs.agents.sessions.connection import fetch
from agentjobs.agents.sessions.fence import hold
from agentjobs.agents.sessions.home import HomeStore, Store
from agentjobs.agents.verdict.errors import ArtifactRefused
from agentjobs.database.connection import Connection
from agentjobs.values.setting_names import both_names

MIB = 1 << 20
MOST_FILES = 10_000
"""Versions of a session's files, or of a user's, that are kept: each save adds up the bytes of all of them."""


@dataclass(frozen=True, slots=True)
class ArtifactLimits:
    """What a pool lets its jobs keep."""

    file_mib: int = 10
    """One version of one file."""
    session_mib: int = 100
    """All versions of a session's files together; as much again for the files that a user's sessions share."""
    pool: str = "default"
    """The pool's name, for error messages."""


class PostgresArtifacts(BaseArtifactService):
    """The artifact service of one run. To be made on the run's event loop."""

    def __init__(self, store: Store, limits: ArtifactLimits) -> None:
        self._store = HomeStore(store)
        self._limits = limits

    async def save_artifact(
        self,
        *,
        app_name: str,
        user_id: str,
        filename: str,
        artifact: types.Part | dict[str, Any],
        session_id: str | None = None,
        custom_metadata: dict[str, Any] | None = None,
    ) -> int:
        """Saves the next version of a file, and returns its number.

        :raises ArtifactRefused: the pool's limits have no room for it.
        :raises SessionFenced: a later run has the session; nothing was written.
        :raises InputValidationError: ADK's, for what no artifact service takes.
        """
        shelf = Shelf.of(app_name, user_id, filename, session_id)
        stored = stored_part(shelf, session_id, filename, ensure_part(artifact), custom_metadata)
        values = {**shelf.parameters(), "filename": filename, **stored.parameters()}
        most = self._limits.file_mib * MIB
        if values["size_bytes"] > most:
            raise ArtifactRefused(
                f"Artifact {shown(filename)}: it has {values['size_bytes']} bytes, and one version may have {most} "
                f"({self._setting('artifact_limit_mib')}). Save less, or raise the limit."
            )

        async def save(connection: Connection) -> int:
            async with connection.transaction():
                await hold(connection)
                lock = sql.LOCK_SESSION if shelf.session_id else sql.LOCK_USER
                if not await fetch(connection, lock, values):
                    raise SessionNotFoundError(f"Session {session_id} not found.")
                limits = {"most_bytes": self._limits.session_mib * MIB, "most_files": MOST_FILES}
                ((version, files, kept),) = await fetch(connection, sql.SAVE, {**values, **limits})
                if version is None:
                    raise self._full(filename, shelf, values["size_bytes"], files, kept)
            return int(version)

        return await self._store.write(save)

    async def load_artifact(
        self,
        *,
        app_name: str,
        user_id: str,
        filename: str,
        session_id: str | None = None,
        version: int | None = None,
    ) -> types.Part | None:
        for hops_left in range(_MAX_ARTIFACT_REFERENCE_DEPTH, -1, -1):
            part = await self._load(Shelf.of(app_name, user_id, filename, session_id), filename, version)
            if part is None or _is_rewind_tombstone(part):
                return None
            if not is_artifact_ref(part):
                return part
            assert part.file_data is not None
            target = resolve_artifact_reference(
                file_uri=part.file_data.file_uri or "",
                app_name=app_name,
                user_id=user_id,
                session_id=session_id,
                remaining_depth=hops_left,
            )
            session_id, filename, version = target.session_id, target.filename, target.version
        raise AssertionError("unreachable")

    async def list_artifact_keys(
        self, *, app_name: str, user_id: str, session_id: str | None = None
    ) -> list[str]:
        shelves = ["", session_id] if session_id else [""]
        values = {"app_name": app_name, "user_id": user_id, "shelves": shelves}
        rows = await self._store.read(lambda connection: fetch(connection, sql.KEYS, values))
        return sorted(name for (name,) in rows)

    async def delete_artifact(
        self, *, app_name: str, user_id: str, filename: str, session_id: str | None = None
    ) -> None:
        values = {**Shelf.of(app_name, user_id, filename, session_id).parameters(), "filename": filename}

        async def delete(connection: Connection) -> None:
            async with connection.transaction():
                await hold(connection)
                await connection.execute(sql.DELETE, values)

        await self._store.write(delete)

    async def list_versions(
        self, *, app_name: str, user_id: str, filename: str, session_id: str | None = None
    ) -> list[int]:
        found = await self._versions(app_name, user_id, filename, session_id)
        return [one.version for one in found]

    async def list_artifact_versions(
        self, *, app_name: str, user_id: str, filename: str, session_id: str | None = None
    ) -> list[ArtifactVersion]:
        return await self._versions(app_name, user_id, filename, session_id)

    async def get_artifact_version(
        self,
        *,
        app_name: str,
        user_id: str,
        filename: str,
        session_id: str | None = None,
        version: int | None = None,
    ) -> ArtifactVersion | None:
        found = await self._versions(app_name, user_id, filename, session_id, version)
        return found[-1] if found else None

    async def _load(self, shelf: Shelf, filename: str, version: int | None) -> types.Part | None:
        values = {**shelf.parameters(), "filename": filename, "version": version}

        async def load(connection: Connection) -> types.Part | None:
            # binary, since bytes as text take twice the memory
            row = await (await connection.execute(sql.LOAD, values, binary=True)).fetchone()
            return None if row is None else part_of(*row)

        return await self._store.read(load)

    async def _versions(
        self, app_name: str, user_id: str, filename: str, session_id: str | None, version: int | None = None
    ) -> list[ArtifactVersion]:
        shelf = Shelf.of(app_name, user_id, filename, session_id)
        values = {**shelf.parameters(), "filename": filename, "version": version}
        rows = await self._store.read(lambda connection: fetch(connection, sql.VERSIONS, values))
        return [
            ArtifactVersion(
                version=number,
                canonical_uri=get_artifact_uri(
                    app_name,
                    user_id,
                    filename,
                    number,
                    None if filename.startswith(USER_PREFIX) else session_id,
                ),
                custom_metadata=metadata,
                create_time=seconds,
                mime_type=mime_type,
            )
            for number, mime_type, metadata, seconds in rows
        ]

    def _full(self, filename: str, shelf: Shelf, size: int, files: int, kept: int) -> ArtifactRefused:
        whose = f"session {shelf.session_id!r}" if shelf.session_id else f"user {shelf.user_id!r}"
        if files >= MOST_FILES:
            return ArtifactRefused(
                f"Artifact {shown(filename)}: {whose} has {files} versions of files, and no more are kept. Delete some of "
                f"them, or use another session."
            )
        return ArtifactRefused(
            f"Artifact {shown(filename)}: it has {size} bytes, and the files of {whose} have {kept} of the "
            f"{self._limits.session_mib * MIB} that are kept ({self._setting('session_artifacts_limit_mib')}). Save less, delete "
            f"some, or raise the limit."
        )

    def _setting(self, name: str) -> str:
        return both_names(name, pool=self._limits.pool)
