"""The errors of jobs, as types that callers can act on. Those of the database are `agentjobs.queue.errors`."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from agentjobs.queue.awaiting import End
from agentjobs.queue.errors import QueueError


class InvalidJob(QueueError, ValueError):
    """A job that cannot be made. ``problems``: one text each, with the field, its value, and what it wants."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class JobNotComplete(QueueError):
    """A job has ended without a result. ``end.reason`` and ``end.message`` say why."""

    def __init__(self, end: End) -> None:
        super().__init__(
            f"job {end.uid} is {end.state}: {end.reason}" + (f": {end.message}" if end.message else "")
        )
        self.end, self.uid, self.state, self.reason, self.message = (
            end,
            end.uid,
            end.state,
            end.reason,
            end.message,
        )


class JobFailed(JobNotComplete):
    """A job has failed for good: its attempts are used up, or the error was permanent."""


class JobCancelled(JobNotComplete):
    """Somebody has cancelled the job."""


class JobGone(QueueError):
    """There is no such job, or no text of it any more; says why."""

    def __init__(self, uid: UUID, why: str) -> None:
        super().__init__(f"job {uid}: {why}")
        self.uid = uid


class ActRefused(QueueError):
    """The job is in no state for what was asked of it; says why."""

    def __init__(self, uid: UUID, act: str, why: str) -> None:
        super().__init__(f"job {uid}: {act} is refused: {why}")
        self.uid = uid
