"""The handle of an enqueued job: what has become of it, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from agentjobs.client.ends import Ends
from agentjobs.client.errors import ActRefused, JobCancelled, JobFailed, JobGone
from agentjobs.queue import queue as inner
from agentjobs.queue.audit import Act
from agentjobs.queue.awaiting import End
from agentjobs.queue.records import AttemptRecord, InputAnswer, JobView, State


def uid_of(value: UUID | str) -> UUID:
    """A job's uid, as a program may have kept it. Raises ValueError."""
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, TypeError, AttributeError):
        raise ValueError(f"uid: wants a job's uid, a UUID or its text, got {value!r:.80}") from None


@dataclass(frozen=True, slots=True)
class Handle:
    """One job. Keep ``uid`` where the program may be restarted: ``Queue.handle(uid)`` gives the handle again."""

    uid: UUID
    new: bool
    """False: this very job was there before (``unique``); or the handle is one of ``Queue.handle``."""
    _transaction: str | None = field(repr=False)
    """The caller's transaction in which it was enqueued."""
    _queue: inner.Queue = field(repr=False)
    _ends: Ends = field(repr=False)

    async def wait(self, timeout: float | None = None) -> End:
        """How the job has ended, once it has; whatever the end. Raises TimeoutError after so many seconds, JobGone.

        :param timeout: None: for ever. The job goes on, whatever becomes of the waiting.
        """
        return await self._ends.end(self.uid, self._transaction, timeout)

    async def result(self, timeout: float | None = None) -> str:
        """The whole answer, once the job is complete. Raises JobFailed, JobCancelled; and as ``wait``."""
        return answer_of(await self.wait(timeout))

    async def status(self) -> JobView:
        """All that is known of the job now, without its attempts. Raises JobGone, before the caller's commit too."""
        return self._known(await self._queue.show(self.uid, runs=False))

    async def attempts(self) -> Sequence[AttemptRecord]:
        """The job's ended runs, the oldest first, each with reason, message and the tail of its output. Raises JobGone."""
        return self._known(await self._queue.show(self.uid)).attempts_log

    async def cancel(self, *, by: str = "", reason: str = "") -> bool:
        """Cancels the job where it waits, or asks it to stop where it runs. False: it has ended, or is not known.

        :param by, reason: who asks and why, for the audit.
        """
        return await self._queue.cancel(self.uid, Act(by, reason=reason)) is not None

    async def retry(self, *, by: str = "", reason: str = "") -> None:
        """Begins a new round of a failed or cancelled job. Raises ActRefused with why not.

        :param by, reason: who asks and why, for the audit.
        """
        if refused := await self._queue.retry_refusal(self.uid, Act(by, reason=reason)):
            raise ActRefused(self.uid, "retry", refused)

    async def answer(
        self,
        approved: bool | None = None,
        *,
        question: str | None = None,
        payload: Any = None,
        by: str = "",
        reason: str = "",
    ) -> None:
        """Answers the question with which the job waits (docs/approval.md). Raises ActRefused with why not, as where the
        payload does not fit the question's schema.

        :param approved: whether the tool may be called. None: the question wants a payload alone, the result of a
            long-running tool or an input; ``status().input_request.kind`` tells.
        :param question: the id of the question that was decided, ``status().input_request.id``: no other is answered by
            mistake. None: the one that the job asks now.
        :param payload: what was filled in, the result, or the input.
        :param by, reason: who decided and why: the agent's conversation keeps the reason, the audit both.
        """
        if question is None:
            asked = (await self.status()).input_request
            if asked is None:
                raise ActRefused(self.uid, "answer", "it does not wait for input")
            question = asked.id
        said = InputAnswer(question, approved, reason, payload, by)
        if refused := await self._queue.answer(self.uid, said):
            raise ActRefused(self.uid, "answer", refused)

    def _known(self, view: JobView | None) -> JobView:
        if view is None:
            raise JobGone(
                self.uid, "it is not known: not committed yet, rolled back, or its retention is over"
            )
        return view


def answer_of(end: End) -> str:
    """The answer of a job that has ended. Raises JobFailed, JobCancelled, JobGone."""
    match end.state:
        case State.COMPLETE if end.texts_removed and end.result is None:
            raise JobGone(end.uid, "it is complete, and its answer was erased or is past retention")
        case State.COMPLETE:
            return end.result or ""
        case State.CANCELLED:
            raise JobCancelled(end)
        case _:
            raise JobFailed(end)
