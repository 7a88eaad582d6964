"""The session service of a process: it makes ADK's tables in the schema ``adk`` and picks their store.

There is one service per process and database. The template makes the tables, learns their version and closes
its connection. A forked executor inherits the service with that knowledge, and opens a connection of its own.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from google.adk.artifacts import BaseArtifactService, InMemoryArtifactService
from google.adk.auth.credential_service.base_credential_service import BaseCredentialService
from google.adk.auth.credential_service.in_memory_credential_service import InMemoryCredentialService
from google.adk.memory import BaseMemoryService, InMemoryMemoryService
from google.adk.sessions import BaseSessionService, InMemorySessionService

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.lease_gate import wait_for_lease
from agentjobs.agents.sessions import sql
from agentjobs.agents.sessions.artifact_sql import ARTIFACT_TABLE, WITH_SESSION
from agentjobs.agents.sessions.artifacts import ArtifactLimits, PostgresArtifacts
from agentjobs.agents.sessions.connection import SessionConnection, fetch, in_own_store, lacks_tables
from agentjobs.agents.sessions.credential_sql import CREDENTIAL_TABLE
from agentjobs.agents.sessions.fence import FENCE_TABLE
from agentjobs.agents.sessions.home import Home, HomeStore
from agentjobs.agents.sessions.memory import PostgresMemory
from agentjobs.agents.sessions.memory_sql import MEMORY_TABLE
from agentjobs.agents.sessions.postgres import PostgresSessions
from agentjobs.agents.verdict.errors import SessionStoreUnavailable
from agentjobs.database.connection import Connection
from agentjobs.dsn import Dsn, DsnFile
from agentjobs.values.setting_names import both_names

if TYPE_CHECKING:
    from google.adk.events.event import Event
    from google.adk.sessions import Session
    from google.adk.sessions.base_session_service import GetSessionConfig, ListSessionsResponse

    from agentjobs.agents.sessions.adk import AdkSessions
    from agentjobs.agents.sessions.fence import Fence

log = logging.getLogger(__name__)
T = TypeVar("T")


class JobSessions(BaseSessionService):
    """The session service of a run: our store for tables of the version that it knows, else ADK's service.

    Every method raises SessionStoreUnavailable where the database is away, was lost, or denies access.
    """

    def __init__(self, dsn: Dsn) -> None:
        """
        :raises ValueError: the URL is not one of Postgres.
        """
        self._dsn = dsn
        self._connection = SessionConnection(dsn)
        self._chosen: PostgresSessions | AdkSessions | None = None
        self._preparing = asyncio.Lock()

    async def prepare(self) -> None:
        """Makes schema and tables where they are missing, and learns their version. Once per process."""
        if self._chosen is not None:
            return
        async with self._preparing:
            if self._chosen is None:
                self._chosen = await in_own_store(self._choose)

    @property
    def is_prepared(self) -> bool:
        """Whether this process knows the tables' version."""
        return self._chosen is not None

    async def connect(self) -> None:
        """Opens the connection before a run needs it, and lets its server process read the tables'
        catalog."""
        if isinstance(self._chosen, PostgresSessions):
            await in_own_store(self._chosen.connect)

    async def open(self, fence: Fence) -> Session:
        """Takes the session for the fence's run and reads it; creates it where it is missing.

        :raises SessionFenced: a later run has it.
        """
        return await self._in_store(lambda store: store.open(fence))

    async def release(self) -> None:
        """Closes this process's connections. The service stays prepared."""
        await self._connection.release()
        if self._chosen is not None and not isinstance(self._chosen, PostgresSessions):
            await self._chosen.db_engine.dispose()

    async def create_session(
        self,
        *,
        app_name: str,
        user_id: str,
        state: dict[str, Any] | None = None,
        session_id: str | None = None,
    ) -> Session:
        return await self._in_store(
            lambda store: store.create_session(
                app_name=app_name, user_id=user_id, state=state, session_id=session_id
            )
        )

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> Session | None:
        return await self._in_store(
            lambda store: store.get_session(
                app_name=app_name, user_id=user_id, session_id=session_id, config=config
            )
        )

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        return await self._in_store(lambda store: store.list_sessions(app_name=app_name, user_id=user_id))

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        await self._in_store(
            lambda store: store.delete_session(app_name=app_name, user_id=user_id, session_id=session_id)
        )

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        return await self._in_store(lambda store: store.get_user_state(app_name=app_name, user_id=user_id))

    async def append_event(self, session: Session, event: Event) -> Event:
        await wait_for_lease()
        return await self._in_store(lambda store: store.append_event(session, event))

    async def in_store(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """The result of ``work`` with the connection of this process, on which it runs alone. A run does it again where the store
        was lost before its answer: a file has a version more then, all else is as if it had been done once."""
        return await self._in_store(lambda _: self._connection.surely(lambda connection, _: work(connection)))

    async def _in_store(self, work: Callable[[PostgresSessions | AdkSessions], Awaitable[T]]) -> T:
        """The result of ``work``. Where its tables are gone, they are looked for again, and made."""
        store = await self._store()
        try:
            return await in_own_store(lambda: work(store))
        except SessionStoreUnavailable as error:
            if not lacks_tables(error.__cause__):
                raise
            log.warning("the session store's tables are gone: they are looked for again, and made")
            if self._chosen is store:
                self._chosen = None
        again = await self._store()
        return await in_own_store(lambda: work(again))

    async def _store(self) -> PostgresSessions | AdkSessions:
        await self.prepare()
        assert self._chosen is not None
        return self._chosen

    async def _choose(self) -> PostgresSessions | AdkSessions:
        async with self._connection.use() as connection:
            version = await _version(connection)
            if version is None:
                await _refuse_encoding(connection)
                async with connection.transaction():
                    await connection.execute(sql.LOCK)
                    version = await _version(connection) or await _make_tables(connection)
        if version == sql.SCHEMA_VERSION:
            return PostgresSessions(self._connection)
        return await self._adk(version)

    async def _adk(self, version: str) -> AdkSessions:
        log.warning(
            "the session store's tables are of ADK's schema version %s, not %s: ADK's own service is used, which "
            "takes more time and memory per run; a newer agentjobs may know them",
            version,
            sql.SCHEMA_VERSION,
        )
        from agentjobs.agents.sessions.adk import AdkSessions

        store = AdkSessions(self._dsn)
        async with self._connection.use() as connection, connection.transaction():
            await connection.execute(sql.LOCK)
            await _make_own_tables(connection)
            await store.prepare_tables()
        return store


async def _version(connection: Connection) -> str | None:
    """The schema version of ADK's tables. None: some of our version's tables are missing."""
    ((metadata, events, rest),) = await fetch(connection, sql.THERE, {})
    if not metadata:
        return "0" if events else None
    rows = await fetch(connection, sql.VERSION, {})
    found = str(rows[0][0]) if rows else None
    return found if found != sql.SCHEMA_VERSION or (events and rest) else None


async def _refuse_encoding(connection: Connection) -> None:
    """Raises SessionStoreUnavailable for a new database that cannot hold all texts of a conversation."""
    ((encoding,),) = await fetch(connection, "show server_encoding", {})
    if encoding != "UTF8":
        raise SessionStoreUnavailable(
            f"The session store's database has the encoding {encoding}, which cannot hold all texts. The attempt is "
            f"not charged. Name a database with the encoding UTF8 by "
            f"{both_names('session_database_url')}."
        )


async def _make_tables(connection: Connection) -> str:
    ((exists,),) = await fetch(connection, sql.SCHEMA_EXISTS, {})
    if not exists:  # the role may own this schema without the privilege to create one
        await connection.execute(sql.CREATE_SCHEMA)
    await connection.execute(sql.LOCK_TABLES)
    await connection.execute(sql.TABLES)
    await _make_own_tables(connection)
    await connection.execute(WITH_SESSION)
    return sql.SCHEMA_VERSION


async def _make_own_tables(connection: Connection) -> None:
    """Makes the tables that are ours, beside those of ADK's, of whatever version."""
    for table in (FENCE_TABLE, ARTIFACT_TABLE, CREDENTIAL_TABLE, MEMORY_TABLE):
        await connection.execute(table)


_by_dsn: dict[str, JobSessions] = {}
_memory: list[tuple[InMemorySessionService, InMemoryArtifactService, InMemoryMemoryService]] = []


def service_for(dsn: str | None, file: str | None = None) -> BaseSessionService:
    """The session service of this process for ``dsn``: made at the first call, or the template's.

    :param dsn: URL of the database. None: the service in memory.
    :param file: a file with the URL, read at each connect; ``dsn`` is then its content at the start.
    """
    if dsn is None:
        return _in_memory()[0]
    if dsn not in _by_dsn:
        _by_dsn[dsn] = JobSessions(DsnFile(Path(file), dsn) if file else dsn)
    return _by_dsn[dsn]


def artifacts_of(service: BaseSessionService, settings: AgentSettings) -> BaseArtifactService:
    """The artifact service of a run: that of the pool's URI, else one that lasts as long as its sessions do. To be called on the
    run's event loop."""
    if settings.artifact_service_uri is not None:
        from agentjobs.agents.sessions import uri_artifacts, uri_calls, uri_services

        return uri_artifacts.UriArtifacts(
            uri_calls.UriCalls(uri_services.ARTIFACTS, settings, _home_of(service))
        )
    return (
        PostgresArtifacts(service, limits_of(settings))
        if isinstance(service, JobSessions)
        else _in_memory()[1]
    )


def artifacts_place(settings: AgentSettings) -> str:
    """Where artifacts are kept, for people. Empty: in the session store."""
    if settings.artifact_service_uri is None:
        return ""
    from agentjobs.agents.sessions.uri_services import shown_uri

    return shown_uri(settings.artifact_service_uri)


def limits_of(settings: AgentSettings) -> ArtifactLimits:
    """The pool's limits of artifacts in the session store."""
    return ArtifactLimits(settings.artifact_limit_mib, settings.session_artifacts_limit_mib, settings.pool)


def memory_of(service: BaseSessionService, settings: AgentSettings) -> BaseMemoryService:
    """The memory service of a run: that of the pool's URI, else one that lasts as long as its sessions do. To be called on the
    run's event loop."""
    if settings.memory_service_uri is not None:
        from agentjobs.agents.sessions import uri_calls, uri_memory, uri_services

        return uri_memory.UriMemory(uri_calls.UriCalls(uri_services.MEMORY, settings, _home_of(service)))
    return PostgresMemory(service) if isinstance(service, JobSessions) else _in_memory()[2]


def _home_of(service: BaseSessionService) -> Home:
    return HomeStore(service) if isinstance(service, JobSessions) else Home()


def credentials_of(service: BaseSessionService, app_name: str, key_file: str | None) -> BaseCredentialService:
    """The credential service of a run: sealed ones, where the pool has a key. To be called on the run's event loop."""
    with warnings.catch_warnings():  # each run's output would tell that ADK's class is experimental
        warnings.filterwarnings("ignore", message=r"\[EXPERIMENTAL\]")
        if key_file is None or not isinstance(service, JobSessions):
            return InMemoryCredentialService()
        from agentjobs.agents.sessions.credentials import SealedCredentials

        return SealedCredentials(HomeStore(service), app_name, Path(key_file))


def _in_memory() -> tuple[InMemorySessionService, InMemoryArtifactService, InMemoryMemoryService]:
    if not _memory:
        _memory.append((InMemorySessionService(), InMemoryArtifactService(), InMemoryMemoryService()))
    return _memory[0]


def forget_services() -> None:
    """Drops the services of this process, for tests that need new ones."""
    _by_dsn.clear()
    _memory.clear()
