"""The dispatcher, one per worker: acks runs that ended and claims for all free slots, in one round trip."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from uuid import UUID

from agentjobs.queue import numbers
from agentjobs.queue.bisection import why
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckAnswer, AckKind, ClaimedJob, StepResult
from agentjobs.telemetry.log import tell
from agentjobs.worker.supervisor.identity import Identity, wait_for
from agentjobs.worker.supervisor.metrics import WorkerMetrics
from agentjobs.worker.supervisor.outage import Outage
from agentjobs.worker.supervisor.runs import Run, Runs

log = logging.getLogger(__name__)

_ACKS = 256
"""The most acks in one step: each may carry 1 MiB of result and 64 KiB of log."""
_REST = 12
"""How many times as long a worker waits for its next poll as it would if calls, beats and looks did not tell it of work."""
_LOOKS_A_SECOND, _LOOKS_A_SECOND_DEAF = 20, 64
"""How often a second all workers together look for jobs that hear of none, which is cheaper than a claim of nothing: those that look out
for no queue, and those whose notifications do not arrive."""
_LOOK_SECONDS, _LOOK_SECONDS_DEAF = 1.0, 0.25
"""The shortest pause between two such looks of one worker."""
_GATHER_SECONDS = 0.003
"""The pause between two steps, so that runs that end close together are acked, and their slots filled, in one
commit. The first step after an idle time does not wait."""


class AckRefused(Exception):
    """The database refuses these jobs' acks, and the failures that would take their place."""

    def __init__(self, refused: Mapping[int, Exception]) -> None:
        id_, error = next(iter(refused.items()))
        super().__init__(f"job {id_}: neither its ack nor its failure can be stored: {why(error)}")


def look_seconds(workers: int, poll_seconds: float, *, deaf: bool) -> float | None:
    """The pause between two looks for jobs of a worker that hears of none; None: its beats look often enough. Pure.

    :param workers: how many there are, as far as this one was told.
    :param deaf: no worker can be presumed to hear anything.
    """
    if deaf:
        return min(poll_seconds, max(_LOOK_SECONDS_DEAF, workers / _LOOKS_A_SECOND_DEAF))
    pause = max(_LOOK_SECONDS, workers / _LOOKS_A_SECOND)
    return pause if pause < poll_seconds else None


class Dispatcher:
    """The loop of acks and claims. Ended runs and notifications wake it, else ``poll_seconds``.

    It sends an ack again until the queue answers; a repeat is answered ``already`` (H9). Where the reply to a
    claim is lost, the heartbeat finds the run and gives it back (H8).
    """

    def __init__(
        self,
        queue: Queue,
        identity: Identity,
        runs: Runs,
        *,
        poll_seconds: float,
        ready: Callable[[], bool],
        start: Callable[[ClaimedJob, UUID], None],
        acked: Callable[[Run, AckAnswer], None],
        stepped: Callable[[], None],
        metrics: WorkerMetrics,
    ) -> None:
        """
        :param start: starts a claimed job.
        :param acked: called with each run that the queue has answered.
        :param stepped: called after each step, when its jobs have been started.
        """
        self._queue = queue
        self._identity = identity
        self._runs = runs
        self._poll_seconds = poll_seconds
        self._ready = ready
        self._start = start
        self._acked = acked
        self._stepped = stepped
        self._metrics = metrics
        self.outage = Outage("dispatch", log)
        self._refused: Mapping[int, Exception] = {}
        """Acks that the database refuses, by job id. They are sent again with each step."""

    async def run(self) -> None:
        more, ended = True, 0.0
        while True:
            try:
                if not more:
                    await self._wait()
                await asyncio.sleep(max(0.0, ended + _GATHER_SECONDS - time.monotonic()))
                more = await self._once()
                ended = time.monotonic()
                if self._refused:  # all others are acked, and claims go on: no pause
                    self.outage.failed(AckRefused(self._refused))
                else:
                    self.outage.over()
            except Exception as error:  # of whatever kind: executors go on, acks are kept
                await asyncio.sleep(self.outage.failed(error))
                more = True

    async def _wait(self) -> None:
        """Waits for something to do: an ended run, a call, a beat that tells of work, a look that finds some, the next poll."""
        identity = self._identity
        until = time.monotonic() + _REST * self._poll_seconds * random.uniform(0.9, 1.1)
        while (left := until - time.monotonic()) > 0:
            look = None
            if not identity.seats:
                look = look_seconds(identity.workers, self._poll_seconds, deaf=identity.deaf)
            if await wait_for(
                identity.work_wanted, left if look is None else min(left, look * random.uniform(0.8, 1.2))
            ):
                return
            free = self._runs.free() if look is not None and self._can_claim() else {}
            if free and await self._queue.anything_for(list(free)):
                return

    def _can_claim(self) -> bool:
        return self._identity.may_claim and self._ready()

    async def _once(self) -> bool:
        """Makes one step. True: the next one has work already."""
        await self._ack_for_others()
        identity = self._identity
        worker = identity.uuid
        slots = self._runs.free() if self._can_claim() else {}
        acks = self._runs.acks_of(worker, _ACKS)
        called, identity.called = identity.called, False
        if not acks and not slots:
            return False
        asked = min(sum(slots.values()), numbers.CLAIM_JOBS)
        token = identity.next_token()
        identity.in_flight.add(token)
        began = time.monotonic()
        try:
            result = await self._queue.step(
                worker, token, acks, slots, total=asked, idle=not self._runs.running
            )
            if asked:
                self._metrics.asked(time.monotonic() - began, (job.queue for job in result.jobs))
            self._answers(worker, result)
            self._refused = result.refused
            # Where this worker expired while the reply was under way, others rescue the jobs: it must not
            # start them.
            if identity.registered and identity.uuid == worker:
                for job in result.jobs:
                    self._start(job, worker)
        finally:
            identity.in_flight.discard(token)
            self._stepped()
        if not result.alive:
            # A beat finds out whether the worker's row is gone, or its last heartbeat was merely too old
            # (H11).
            identity.beat_wanted.set()
            return False
        filled = asked > 0 and len(result.jobs) == asked
        if called and filled and not self._runs.free():
            await self._queue.pass_on(list(slots))
        return len(self._runs.unacked) > len(result.refused) or (filled and bool(self._runs.free()))

    async def _ack_for_others(self) -> None:
        """Acks runs of an earlier uuid of this worker, before it expired. Mostly they are lost."""
        for worker in self._runs.workers() - {self._identity.uuid}:
            acks = self._runs.acks_of(worker, _ACKS)
            result = await self._queue.step(worker, self._identity.next_token(), acks, {})
            self._answers(worker, result)
            for job_id, error in result.refused.items():
                log.error(
                    "the ack of job %d, which another worker has by now, is given up", job_id, exc_info=error
                )
                self._runs.forget(worker, job_id)

    def _answers(self, worker: UUID, result: StepResult) -> None:
        by_job = {run.job.id: run for run in reversed(self._runs.unacked.values()) if run.worker == worker}
        for job_id, answer in result.answers.items():
            run = by_job.get(job_id)
            if run is None:
                continue
            self._runs.answered(run.key)
            if job_id in result.blocked and run.ack is not None:
                # A breaker turned the ack into a refunded wait: log and count a snooze.
                run.ack = replace(run.ack, kind=AckKind.SNOOZE, delay_seconds=0.0)
            if answer is AckAnswer.LOST:
                tell(log, "ack.lost", level=logging.WARNING, **run.names())
            self._acked(run, answer)
