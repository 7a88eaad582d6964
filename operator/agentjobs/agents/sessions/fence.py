"""The session fence (H13): two runs never write one conversation.

A worker that lost its job may go on for a while (a paused process, a partition). Before a run reads its session it
raises the session's fence to itself, and each of its writes checks, in the same transaction, that it still holds
it: what comes too late is refused instead of landing in a conversation that another run continues.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any, LiteralString

from agentjobs.agents.verdict.errors import SessionFenced

FENCE_TABLE: LiteralString = """
create table if not exists adk.fence (
    app_name   text   not null,
    user_id    text   not null,
    session_id text   not null,
    job        text   not null,  -- uid of the job whose run writes
    run        bigint not null,  -- that job's run
    raised_at  timestamptz not null default clock_timestamp(),
    primary key (app_name, user_id, session_id)
);
"""

# By primary key. A run of the same job may only be followed by a later one; another job may take over, because the
# queue lets it start only after the former has ended.
RAISE: LiteralString = """
    insert into adk.fence as f (app_name, user_id, session_id, job, run)
    values (%(app_name)s, %(user_id)s, %(session_id)s, %(job)s, %(run)s)
    on conflict (app_name, user_id, session_id) do update
       set job = excluded.job, run = excluded.run, raised_at = clock_timestamp()
     where f.job <> excluded.job or f.run <= excluded.run
    returning run
"""

# FOR SHARE: a raise waits for a write that has begun, and a write that begins after the raise sees it.
HOLD: LiteralString = """
    select 1 from adk.fence
     where app_name = %(app_name)s and user_id = %(user_id)s and session_id = %(session_id)s
       and job = %(job)s and run = %(run)s
       for share
"""


@dataclass(frozen=True, slots=True)
class Fence:
    """Who writes which session."""

    app_name: str
    user_id: str
    session_id: str
    job: str
    run: int

    def parameters(self) -> dict[str, Any]:
        return asdict(self)

    def lost(self) -> SessionFenced:
        return SessionFenced(
            f"Session {self.session_id!r} was taken over by a later run than {self.run} of this job: this one "
            f"stopped writing to it. Nothing is to be done."
        )


holding: ContextVar[Fence | None] = ContextVar("agentjobs_fence", default=None)
"""The fence of the run that this task belongs to; None: writes are not fenced."""
