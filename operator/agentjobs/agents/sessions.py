"""Where conversations are kept: ADK's own session service over asyncpg, in the schema ``adk``.

One engine per process and database. The template warms it and disposes of its connections; a forked executor
inherits the compiled statements and the knowledge that the tables are there, and opens a connection of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.adk.errors._stale_session_error import StaleSessionError
from google.adk.sessions import BaseSessionService, DatabaseSessionService, InMemorySessionService
from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from agentjobs.agents.errors import AgentError, SessionStoreUnavailable
from agentjobs.agents.fence import FENCE_TABLE, FencedSession, holding, is_held
from agentjobs.agents.lease import wait_for_lease
from agentjobs.agents.session_url import SCHEMA, asyncpg_dsn
from agentjobs.agents.text import storable_json
from agentjobs.dsn import Dsn, DsnFile, current

if TYPE_CHECKING:
    from google.adk.events.event import Event
    from google.adk.sessions import Session
    from google.adk.sessions.base_session_service import GetSessionConfig

CONNECT_SECONDS = 10
STATEMENT_SECONDS = 30
"""No statement of a session store takes long; a hung one must not hold a job until its attempt times out."""
_SERVER_SETTINGS = {
    "search_path": SCHEMA,
    "application_name": "agentjobs-session",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "idle_in_transaction_session_timeout": "60s",
}
# Hashed by the server into the number of an advisory lock: concurrent first starts of ADK's tables crash each other.
_LOCK = "agentjobs-adk-tables"


@asynccontextmanager
async def own_store() -> AsyncIterator[None]:
    """Turns failures of the database below into ours, so that no tool's database error is taken for one (H11).

    :raises SessionStoreUnavailable: cannot connect, lost the connection, or the schema is not usable.
    """
    try:
        yield
    except (DataError, IntegrityError, AgentError):
        raise
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        cause = getattr(error, "orig", None) or error
        raise SessionStoreUnavailable(
            f"The session store failed ({type(error).__name__}: {_first_line(cause)}). The attempt is not charged. "
            f"Check the database of the setting session_database_url and its schema {SCHEMA}."
        ) from error


class JobSessions(DatabaseSessionService):
    """ADK's service with our schema, our errors, our fence, and text that Postgres can store."""

    def __init__(self, dsn: Dsn) -> None:
        super().__init__(db_engine=_engine(dsn))
        self._prepared = False
        self._preparing = asyncio.Lock()
        # Public attribute of ADK's service. Its sessions check the fence in the transaction of each write (H13).
        self.database_session_factory.configure(sync_session_class=FencedSession)

    async def prepare(self) -> None:
        """Makes schema and tables, once per process, one process at a time.

        :raises SessionStoreUnavailable: the database cannot be reached or does not let us.
        """
        if self._prepared:
            return
        async with self._preparing:  # those who wait for the lock below would hold all connections
            if not self._prepared:
                await self._prepare()
                self._prepared = True

    async def _prepare(self) -> None:
        async with own_store(), self.db_engine.connect() as connection:
            # The lock is the transaction's: it needs no clean-up, whatever happens to this process.
            await connection.execute(text("select pg_advisory_xact_lock(hashtext(:name))"), {"name": _LOCK})
            exists = await connection.scalar(
                text("select to_regnamespace(:schema) is not null"), {"schema": SCHEMA}
            )
            if not exists:  # the role may own the schema without being allowed to make one
                async with self.db_engine.begin() as other:
                    await other.execute(text(f"create schema if not exists {SCHEMA}"))
            await self.prepare_tables()
            async with self.db_engine.begin() as other:
                await other.execute(text(FENCE_TABLE))

    async def release(self) -> None:
        """Closes this process's connections, and keeps all that was compiled and learned."""
        await self.db_engine.dispose()

    async def create_session(
        self,
        *,
        app_name: str,
        user_id: str,
        state: dict[str, Any] | None = None,
        session_id: str | None = None,
    ) -> Session:
        async with own_store():
            return await super().create_session(
                app_name=app_name, user_id=user_id, state=state, session_id=session_id
            )

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> Session | None:
        async with own_store():
            return await super().get_session(
                app_name=app_name, user_id=user_id, session_id=session_id, config=config
            )

    async def append_event(self, session: Session, event: Event) -> Event:
        await wait_for_lease()
        async with own_store():
            try:
                return await super().append_event(session, event)
            except StaleSessionError:
                # Somebody wrote in between. Who holds the fence tells a late run from a conflict.
                fence = holding.get()
                if fence is not None and not await is_held(self.db_engine, fence):
                    raise fence.lost() from None
                raise


def _engine(dsn: Dsn) -> AsyncEngine:
    asyncpg_dsn(current(dsn))  # tells a bad URL at once

    async def connect() -> Any:
        import asyncpg

        address, settings = asyncpg_dsn(current(dsn))
        return await asyncpg.connect(
            address,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            server_settings={**settings, **_SERVER_SETTINGS},
        )

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        json_serializer=storable_json,
        # A run needs one at a time; the others are for agents that run in parallel, and for prepare().
        pool_size=1,
        max_overflow=3,
        pool_timeout=STATEMENT_SECONDS,
        # A model call of minutes lies between two writes: a connection that died meanwhile is replaced.
        pool_pre_ping=True,
    )


_by_dsn: dict[str, JobSessions] = {}
_memory: list[InMemorySessionService] = []


def service_for(dsn: str | None, file: str | None = None) -> BaseSessionService:
    """The service of this process: the warmed one where the template made it. ``None``: in memory.

    :param file: holds the URL, and is read at each connect; ``dsn`` is what it held at the start.
    """
    if dsn is None:
        if not _memory:
            _memory.append(InMemorySessionService())
        return _memory[0]
    if dsn not in _by_dsn:
        _by_dsn[dsn] = JobSessions(DsnFile(Path(file), dsn) if file else dsn)
    return _by_dsn[dsn]


def forget_services() -> None:
    """Drops what this process made; for tests that want a process of their own."""
    _by_dsn.clear()
    _memory.clear()


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
