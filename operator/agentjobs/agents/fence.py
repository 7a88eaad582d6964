"""The session fence (H13): two runs never write one conversation.

A worker that lost its job may go on for a while (a paused process, a partition). Before a run reads its session it
raises the session's fence to itself, and each of its writes checks, in the same transaction, that it still holds
it: what comes too late is refused instead of landing in a conversation that another run continues.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, text
from sqlalchemy.orm import Session

from agentjobs.agents.errors import SessionFenced

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.orm import UOWTransaction

FENCE_TABLE = """
create table if not exists fence (
    app_name   text   not null,
    user_id    text   not null,
    session_id text   not null,
    job        text   not null,  -- uid of the job whose run writes
    run        bigint not null,  -- that job's run
    raised_at  timestamptz not null default clock_timestamp(),
    primary key (app_name, user_id, session_id)
)
"""

# By primary key. A run of the same job may only be followed by a later one; another job may take over, because the
# queue lets it start only after the former has ended.
_RAISE = text("""
    insert into fence as f (app_name, user_id, session_id, job, run)
    values (:app_name, :user_id, :session_id, :job, :run)
    on conflict (app_name, user_id, session_id) do update
       set job = excluded.job, run = excluded.run, raised_at = clock_timestamp()
     where f.job <> excluded.job or f.run <= excluded.run
    returning run
""")

# FOR SHARE: a raise waits for a write that has begun, and a write that begins after the raise sees it.
_HOLD = text("""
    select 1 from fence
     where app_name = :app_name and user_id = :user_id and session_id = :session_id and job = :job and run = :run
       for share
""")


@dataclass(frozen=True, slots=True)
class Fence:
    """Who writes which session."""

    app_name: str
    user_id: str
    session_id: str
    job: str
    run: int

    def parameters(self) -> dict[str, Any]:
        return {
            "app_name": self.app_name,
            "user_id": self.user_id,
            "session_id": self.session_id,
            "job": self.job,
            "run": self.run,
        }

    def lost(self) -> SessionFenced:
        return SessionFenced(
            f"Session {self.session_id!r} was taken over by a later run than {self.run} of this job: this one "
            f"stopped writing to it. Nothing is to be done."
        )


holding: ContextVar[Fence | None] = ContextVar("agentjobs_fence", default=None)
"""The fence of the run that this task belongs to; None: writes are not fenced."""


async def raise_fence(engine: AsyncEngine, fence: Fence) -> None:
    """Takes the session for this run.

    :raises SessionFenced: a later run of the job has it.
    """
    async with engine.begin() as connection:
        taken = await connection.scalar(_RAISE, fence.parameters())
    if taken is None:
        raise fence.lost()


async def is_held(engine: AsyncEngine, fence: Fence) -> bool:
    """Whether the run still has its session."""
    async with engine.connect() as connection:
        return await connection.scalar(_HOLD, fence.parameters()) is not None


class FencedSession(Session):
    """SQLAlchemy's session, checking the fence before it writes."""


@event.listens_for(FencedSession, "before_flush")
def _check(session: Session, _flush: UOWTransaction, _instances: Any) -> None:
    fence = holding.get()
    if fence is not None and session.execute(_HOLD, fence.parameters()).first() is None:
        raise fence.lost()
