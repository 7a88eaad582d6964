"""What people, and the operator for objects, ask of jobs and queues; a part of Queue.

``by`` is who acts, for the audit (docs/audit.md).
"""

from __future__ import annotations

from types import EllipsisType
from uuid import UUID

from agentjobs.queue import codec, numbers
from agentjobs.queue.answers import answer_misfit
from agentjobs.queue.audit import Act, act_json
from agentjobs.queue.connection import Database
from agentjobs.queue.records import InputAnswer, State
from agentjobs.values.text import clean, dumps
from agentjobs.values.verbs import Verb


class Controls:
    """Acts upon one job or one queue; a part of Queue."""

    _db: Database

    async def cancel(self, uid: UUID, by: Act | None = None) -> State | None:
        """Cancels a waiting job, or asks a running one to end (then Running). None: unknown or finished."""
        return _state(await self._control(uid, Verb.CANCEL, "cancel", by))

    async def suspend(self, uid: UUID, by: Act | None = None) -> State | None:
        """Suspends a waiting job, or asks a running one to end (then Running). None: unknown or finished."""
        return _state(await self._control(uid, Verb.SUSPEND, "suspend", by))

    async def resume(self, uid: UUID, by: Act | None = None) -> State | None:
        """Resumes a suspended job; its new state. None: unknown or finished."""
        return _state(await self._control(uid, Verb.RESUME, "resume", by))

    async def retry(self, uid: UUID, by: Act | None = None) -> bool:
        """Begins a new round of a Failed or Cancelled job (H21). False: refused, or unknown."""
        return not await self.retry_refusal(uid, by)

    async def retry_refusal(self, uid: UUID, by: Act | None = None) -> str:
        """As ``retry``; why it was refused. Empty: it was not."""
        answer = await self._control(uid, Verb.RETRY, "retry", by) or "the job is not known"
        return "" if answer == "Queued" else answer.removeprefix("refused: ")

    async def reprioritise(self, uid: UUID, priority: int, by: Act | None = None) -> bool:
        codec.check_number("priority", priority)
        return await self._control(uid, Verb.REPRIORITISE, "priority", by, priority) == "ok"

    async def set_max_attempts(self, uid: UUID, n: int, by: Act | None = None) -> bool:
        """Changes how many attempts a round has. A running job goes on where none is left."""
        codec.check_number("max_attempts", n)
        return await self._control(uid, Verb.SET_MAX_ATTEMPTS, "maxAttempts", by, n) == "ok"

    async def answer(self, uid: UUID, answer: InputAnswer, by: Act | None = None) -> str:
        """Answers a job's open question. Empty: the answer was taken; else why not, as where its payload does not fit the
        question's schema. Raises JobRejected.

        :param by: None: the audit has the name and the reason of the answer.
        """
        verb = {True: Verb.APPROVE, False: Verb.REJECT, None: Verb.ANSWER}[answer.approved]
        if refused := await answer_misfit(self._db, uid, answer):
            return refused
        rows = await self._db.fetch(
            "select agentjobs.answer(%s, %s::json, %s::json)",
            (uid, dumps(codec.answer_row(answer)), act_json(by, verb)),
        )
        return rows[0][0] or ""

    async def _control(
        self, uid: UUID, verb: Verb, what: str, by: Act | None, value: int | None = None
    ) -> str | None:
        rows = await self._db.fetch(
            "select agentjobs.control(%s, %s, %s, %s::json)", (uid, what, value, act_json(by, verb))
        )
        answer = rows[0][0]
        assert answer is None or isinstance(answer, str)
        return answer

    async def set_queue(
        self,
        name: str,
        *,
        paused: bool | None = None,
        max_running: int | EllipsisType | None = ...,
        by: Act | str = "",
        reason: str = "",
    ) -> None:
        """Pauses, unpauses and limits a queue (H22).

        :param paused: None: as it is.
        :param max_running: the limit on running jobs; None: no limit; ``...``: as it is.
        :param by: who acts; jobs that wait for the queue show the name, and the reason.
        """
        codec.check_queue(name)
        act = by if isinstance(by, Act) else Act(by, reason=reason)
        verb = Verb.LIMIT if paused is None else Verb.PAUSE if paused else Verb.UNPAUSE
        limit = None if max_running is ... else max_running
        if limit is not None:
            codec.check_whole("max_running", limit, 0, numbers.MOST_SLOTS)
        await self._db.fetch(
            "select agentjobs.set_queue(%s, %s, %s, %s, %s, %s, %s::json)",
            (
                name,
                paused,
                clean(act.actor),
                clean(act.reason or reason),
                max_running is not ...,
                limit,
                act_json(act, verb),
            ),
        )
        while paused and await self._yield_paused(name) == numbers.YIELD_JOBS:
            pass

    async def _yield_paused(self, queue: str) -> int:
        rows = await self._db.fetch("select agentjobs.yield_paused(%s, %s)", (queue, numbers.YIELD_JOBS))
        return int(rows[0][0])


def _state(answer: str | None) -> State | None:
    return None if answer is None else State(answer)
