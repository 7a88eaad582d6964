"""The session fence (H13): one row per session in ``adk.fence`` that names the only run that may write it.

For example, a worker's process is paused, the queue gives its job to another worker, and the process wakes
up. The new run has put its name into the fence before it read the session. Each write checks, in its own
transaction, that the fence still names the writing run, so the late write is refused instead of landing in
the new run's conversation.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any, LiteralString

from agentjobs.agents.verdict.errors import SessionFenced
from agentjobs.database.connection import Connection

FENCE_TABLE: LiteralString = """
create table if not exists adk.fence (
    app_name   text   not null,
    user_id    text   not null,
    session_id text   not null,
    job        text   not null,  -- uid of the job whose run writes
    run        bigint not null,  -- that job's run
    raised_at  timestamptz not null default clock_timestamp(),
    claim      bigint not null default 0,  -- number of the queue's claim: the later one writes
    primary key (app_name, user_id, session_id)
);
alter table adk.fence add column if not exists claim bigint not null default 0;
"""

# Row by primary key. The later claim takes over, whatever job it is of: a late run must not take the session from
# a job that has started since. The run counts where a claim has no number.
RAISE: LiteralString = """
    insert into adk.fence as f (app_name, user_id, session_id, job, run, claim)
    values (%(app_name)s, %(user_id)s, %(session_id)s, %(job)s, %(run)s, %(claim)s)
    on conflict (app_name, user_id, session_id) do update
       set job = excluded.job, run = excluded.run, claim = excluded.claim, raised_at = clock_timestamp()
     where f.claim <= excluded.claim and (f.job <> excluded.job or f.run <= excluded.run)
    returning run
"""

# FOR SHARE: RAISE waits for a write that has begun, and a write that begins after RAISE sees the new row.
HOLD: LiteralString = """
    select 1 from adk.fence
     where app_name = %(app_name)s and user_id = %(user_id)s and session_id = %(session_id)s
       and job = %(job)s and run = %(run)s and claim = %(claim)s
       for share
"""


@dataclass(frozen=True, slots=True)
class Fence:
    """A session, and the run that writes it."""

    app_name: str
    user_id: str
    session_id: str
    job: str
    run: int
    claim: int = 0
    """The number of the queue's claim, which grows across jobs. 0: not known."""

    def parameters(self) -> dict[str, Any]:
        return asdict(self)

    def lost(self) -> SessionFenced:
        """The error to raise once another run has taken the session."""
        return SessionFenced(
            f"Session {self.session_id!r} was taken over by a later run than run {self.run} of job {self.job}: this one "
            f"stopped writing to it. Nothing is to be done."
        )


holding: ContextVar[Fence | None] = ContextVar("agentjobs_fence", default=None)
"""Fence of the run to which this task belongs. None: its writes are not fenced."""


async def hold(connection: Connection) -> None:
    """Keeps the session for this task's run until the end of the transaction. Raises SessionFenced."""
    fence = holding.get()
    if fence is not None and await (await connection.execute(HOLD, fence.parameters())).fetchone() is None:
        raise fence.lost()
