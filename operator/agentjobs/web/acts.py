"""What the API's handlers do: acts on jobs without an object, on queues and models, and erasures. Each writes its audit rows."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from agentjobs.queue.audit import Act
from agentjobs.queue.bulk_acts import ActedOn
from agentjobs.queue.errors import JobRejected
from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import JobView
from agentjobs.web.identity import Identity
from agentjobs.web.objects.acts import (
    ErasureSpec,
    ErasureStatus,
    QueueActionSpec,
    QueueActionStatus,
    RunActionSpec,
    RunActionStatus,
)
from agentjobs.web.status import ApiError

log = logging.getLogger(__name__)
SOURCE = "web"
"""Of this API's acts, in the audit."""
SLICE = 200
"""Jobs of one transaction."""
ACT_SECONDS = 20.0
"""How long one request goes on with a bulk act, before it answers how to go on: the API server cuts it at 60 s."""
EraseSessions = Callable[[str, str], Awaitable[int]]
"""Erases the conversations of (namespace, user) and answers how many there were. Raises any error of the session store."""
T = TypeVar("T")


def act_of(identity: Identity, reason: str) -> Act:
    """Who acts, and why: the name that the door has proved, never one of the request."""
    return Act(identity.user, reason=reason, source=SOURCE)


class Acts:
    """Each method raises QueueUnavailable where the database is away; what was done by then stays done."""

    def __init__(
        self,
        queue: Queue,
        erase_sessions: EraseSessions | None = None,
        *,
        seconds: float = ACT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``erase_sessions`` None: conversations are kept nowhere."""
        self._queue, self._erase_sessions = queue, erase_sessions
        self._seconds, self._clock = seconds, clock

    async def on_job(self, view: JobView, spec: RunActionSpec, by: Act) -> RunActionStatus:
        """One act on one job without an object."""
        told = await self._queue.act_on_jobs([view.uid], spec.verb, by, spread_seconds=spec.spread_seconds)
        return _told(told, 1, None)

    async def on_jobs(self, which: JobFilter, spec: RunActionSpec, by: Act) -> RunActionStatus:
        """One act on each job without an object that the filter finds, the newest first, for ``seconds`` at most; ``continue``
        of the answer goes on. Raises ApiError (410) for a ``continue`` that is none."""
        mine, after = replace(which, namespace=""), spec.continue_
        matched = None if after else await self._queue.count_jobs(mine)
        told, looked, until = ActedOn(), 0, self._clock() + self._seconds
        while True:
            try:
                page = await self._queue.jobs(mine, after=after, limit=SLICE)
            except JobRejected as error:
                raise ApiError(410, f"spec.continue: {error}") from None
            uids = [row.uid for row in page.jobs]
            if uids:
                told = told.plus(
                    await self._queue.act_on_jobs(uids, spec.verb, by, spread_seconds=spec.spread_seconds)
                )
            looked, after = looked + len(uids), page.next
            if after is None or self._clock() >= until:
                return _told(told, looked if matched is None else matched, after)

    async def on_queue(self, spec: QueueActionSpec, by: Act, *, dry_run: bool) -> QueueActionStatus:
        """Pauses, resumes or limits a queue, or resets a model; ``dry_run``: only says whether that changes anything."""
        if spec.verb == "reset":
            pool, model = _given(spec.pool), _given(spec.model)
            if dry_run:
                found = any(
                    (one.pool, one.model) == (pool, model) for one in await self._queue.model_health()
                )
                return QueueActionStatus(changed=found)
            return QueueActionStatus(changed=await self._queue.reset_model(pool, model, by))
        name = _given(spec.queue)
        known = next((one for one in await self._queue.queues() if one.name == name), None)
        paused, limit = known is not None and known.paused, None if known is None else known.max_running
        match spec.verb:
            case "limit":
                changed = limit != spec.max_running
                if not dry_run:
                    await self._queue.set_queue(name, max_running=spec.max_running, by=by)
            case _:
                wanted = spec.verb == "pause"
                changed = paused != wanted
                if not dry_run:
                    await self._queue.set_queue(name, paused=wanted, by=by)
        return QueueActionStatus(changed=changed)

    async def erase(self, namespace: str, spec: ErasureSpec, by: Act) -> ErasureStatus:
        """Erases what was said by, to and for one person, for ``seconds`` and as long for conversations; ``continue`` of the answer
        goes on. Conversations go once none of the person's jobs runs. Raises ApiError (410) for a ``continue`` that is none."""
        try:
            done = await self._queue.erase(
                namespace, spec.user, by, seconds=self._seconds, resume=spec.continue_
            )
        except JobRejected as error:
            raise ApiError(410, f"spec.continue: {error}") from None
        sessions, problem, more = None, None, done.next
        if more is not None:
            problem = "not all jobs were looked at: go on with spec.continue"
        elif done.running:
            problem = "jobs of this user still run and were asked to stop: erase anew once they have ended"
        elif self._erase_sessions is not None:
            try:
                async with asyncio.timeout(self._seconds):
                    sessions = await self._erase_sessions(namespace, spec.user)
            except TimeoutError:
                more = done.token(namespace, spec.user)
                problem = "not all conversations are erased: go on with spec.continue"
            except Exception as error:
                log.exception("the conversations of erasure %s are not erased", done.id)
                problem = f"the conversations are not erased, erase again: {error}"[:500]
        return ErasureStatus(
            id=str(done.id),
            jobs=done.jobs,
            cancelled=done.cancelled,
            running=done.running,
            sessions=sessions,
            objects=[f"{place}/{name}" for place, name in done.objects],
            problem=problem,
            continue_=more,
        )


def _told(told: ActedOn, matched: int, after: str | None) -> RunActionStatus:
    return RunActionStatus(
        matched=matched,
        changed=told.done,
        finished=told.finished,
        refused=dict(told.refused),
        continue_=after,
    )


def _given(value: T | None) -> T:
    """What the object's own validation has seen to be there."""
    assert value is not None
    return value
