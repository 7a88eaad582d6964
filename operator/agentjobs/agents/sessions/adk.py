"""ADK's own session service with our fence, for tables of a schema version that our store does not know.

It imports SQLAlchemy, so a process imports this module only where it meets such tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from google.adk.errors._stale_session_error import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.sessions import DatabaseSessionService
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session as SqlSession

from agentjobs.agents.sessions.connection import target_of
from agentjobs.agents.sessions.fence import HOLD, RAISE, Fence, holding
from agentjobs.agents.sessions.rows import storable_json
from agentjobs.agents.sessions.url import SCHEMA
from agentjobs.database.connection import Connection
from agentjobs.database.fault import fault_of
from agentjobs.dsn import Dsn

if TYPE_CHECKING:
    from google.adk.events.event import Event
    from google.adk.sessions import Session
    from sqlalchemy.connectors.asyncio import AsyncAdapt_dbapi_connection
    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.orm import UOWTransaction


class AdkSessions(DatabaseSessionService):
    """ADK's service with our connection settings, our fence, and text that Postgres can store."""

    def __init__(self, dsn: Dsn) -> None:
        target = target_of(dsn, required=f"-c search_path={SCHEMA}")
        engine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=lambda: Connection.connect(target=target, autocommit=False),
            json_serializer=storable_json,
            # A run needs one connection at a time; the overflow is for agents that run in parallel.
            pool_size=1,
            max_overflow=3,
        )
        sqlalchemy_event.listen(engine.sync_engine, "checkout", _replace_dead_connection)
        sqlalchemy_event.listen(engine.sync_engine, "handle_error", _give_up_connection)
        super().__init__(db_engine=engine)
        # A public attribute of ADK's service: the class of its SQLAlchemy sessions. Ours checks the fence in
        # the transaction of each write (H13).
        self.database_session_factory.configure(sync_session_class=_FencedSession)

    async def open(self, fence: Fence) -> Session:
        """Takes the session for the fence's run and reads it; creates it where it is missing.

        As PostgresSessions.open, in several round trips.

        :raises SessionFenced: a later run has it.
        """
        key: dict[str, Any] = {
            "app_name": fence.app_name,
            "user_id": fence.user_id,
            "session_id": fence.session_id,
        }
        if not await self._finds(RAISE, fence):
            raise fence.lost()
        found = await self.get_session(**key)
        if found is None:
            try:
                return await self.create_session(**key)
            except AlreadyExistsError:
                found = await self.get_session(**key)
        if found is None:
            raise RuntimeError(f"session {fence.session_id!r} exists and cannot be read")
        return found

    async def append_event(self, session: Session, event: Event) -> Event:
        try:
            return await super().append_event(session, event)
        except StaleSessionError:
            # Another run, or somebody outside, wrote in between. Without the fence this run is the late one.
            fence = holding.get()
            if fence is not None and not await self._finds(HOLD, fence):
                raise fence.lost() from None
            raise

    async def _finds(self, statement: LiteralString, fence: Fence) -> bool:
        async with self.db_engine.begin() as connection:
            return (await connection.exec_driver_sql(statement, fence.parameters())).first() is not None


def _replace_dead_connection(connection: AsyncAdapt_dbapi_connection, *_: object) -> None:
    """Minutes may lie between two writes: has the pool replace a connection that died during a model call."""
    if not connection.run_async(Connection.works):
        raise DisconnectionError


def _give_up_connection(context: ExceptionContext) -> None:
    """Has the pool replace its connections where another may fare better: SQLAlchemy knows only those that broke."""
    if fault_of(context.original_exception).ends_connection:
        context.is_disconnect = True


class _FencedSession(SqlSession):
    """A SQLAlchemy session that checks the fence before each write."""


@sqlalchemy_event.listens_for(_FencedSession, "before_flush")
def _check(session: SqlSession, _flush: UOWTransaction, _instances: Any) -> None:
    fence = holding.get()
    if fence is not None and session.connection().exec_driver_sql(HOLD, fence.parameters()).first() is None:
        raise fence.lost()
