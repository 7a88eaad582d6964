"""A worker whose jobs are coroutines instead of processes: the product's dispatcher, heartbeat, listener and ticks.

``--workers`` of them in this process, each with ``--slots`` slots. A job sleeps for the ``s`` seconds of its payload;
of one with ``t`` (Unix time of its enqueueing) the time until its start is kept, and printed at the end as one JSON
line, in milliseconds. With ``--calls-alone`` a job whose call is lost is never started. Speaks the protocol of ``clients``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

import uvloop

from agentjobs.queue import numbers
from agentjobs.queue.listen import Note
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import Ack, AckAnswer, AckKind, BeatResult, ClaimedJob, WorkerInfo
from agentjobs.queue.release import RELEASE
from agentjobs.worker.process.ended import Ended
from agentjobs.worker.process.lease import Lease
from agentjobs.worker.supervisor.dispatch import Dispatcher
from agentjobs.worker.supervisor.heartbeat import Heartbeat
from agentjobs.worker.supervisor.identity import Identity
from agentjobs.worker.supervisor.metrics import WorkerMetrics
from agentjobs.worker.supervisor.runs import Run, Runs
from agentjobs.worker.supervisor.ticking import Listener, Ticker
from benchmarks.protocol import Counter, serve

QUEUES = "agents"
NEVER_SECONDS = 3600.0
CALLED_EXPIRY_SECONDS = 120.0
"""With ``--calls-alone``: longer than any pause of a busy machine, and dead lookouts keep their seats."""


class CallsAlone(Queue):
    """The queue, whose beats tell of no work, and whose listeners ask for no poll unless they have just connected."""

    async def beat(self, *args: Any, **kwargs: Any) -> BeatResult:
        return replace(await super().beat(*args, **kwargs), ready=False)

    async def listen(self, *args: Any, **kwargs: Any) -> AsyncGenerator[Note, None]:
        async with aclosing(super().listen(*args, **kwargs)) as notes:
            async for note in notes:
                if note.kind != "poll" or note.payload:
                    yield note


class Unlooked:
    """What a dispatcher asks of a queue; its own looks find nothing."""

    def __init__(self, queue: Queue) -> None:
        self.step, self.pass_on = queue.step, queue.pass_on

    async def anything_for(self, queues: Sequence[str]) -> bool:
        return False


class HollowWorker:
    """One worker as the queue sees it."""

    def __init__(self, queue: Queue, slots: int, counter: Counter, waits: list[float]) -> None:
        self._queue, self._slots, self._counter, self._waits = queue, slots, counter, waits
        self._calls_alone = isinstance(queue, CallsAlone)
        self._identity, self._runs = Identity(), Runs({QUEUES: slots})
        self._metrics = WorkerMetrics({QUEUES: slots})
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        identity = self._identity
        dispatcher = Dispatcher(
            cast(Queue, Unlooked(self._queue)) if self._calls_alone else self._queue,
            identity,
            self._runs,
            poll_seconds=NEVER_SECONDS if self._calls_alone else numbers.POLL_SECONDS,
            ready=lambda: True,
            start=self._start,
            acked=self._acked,
            stepped=lambda: None,
            metrics=self._metrics,
        )
        heartbeat = Heartbeat(
            self._queue,
            identity,
            self._runs,
            Lease(),
            seconds=numbers.HEARTBEAT_SECONDS,
            expiry_seconds=CALLED_EXPIRY_SECONDS if self._calls_alone else numbers.EXPIRY_SECONDS,
            info=lambda: WorkerInfo(identity.uuid, "bench", {QUEUES: self._slots}, "bench"),
            ready=lambda: True,
            lost=self._lost,
            releases=(RELEASE, RELEASE),
            drain=self._broken,
        )
        listener = Listener(self._queue, identity, self._runs, [QUEUES], seconds=numbers.TICK_SECONDS)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(heartbeat.run())
                await identity.reached.wait()
                for loop in (
                    dispatcher,
                    listener,
                    Ticker(self._queue, identity, seconds=numbers.TICK_SECONDS),
                ):
                    group.create_task(loop.run())
        finally:
            await self._queue.unregister(identity.uuid)

    def _start(self, job: ClaimedJob, worker: object) -> None:
        if (enqueued := job.payload.get("t")) is not None:
            self._waits.append((time.time() - enqueued) * 1000)
        run = Run(job, self._identity.uuid)
        self._runs.add(run)
        task = asyncio.ensure_future(self._job(run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _job(self, run: Run) -> None:
        seconds = run.job.payload.get("s")
        if seconds:
            await asyncio.sleep(seconds)
        run.ended = Ended(duration_seconds=seconds or 0.0)
        self._runs.end(run, Ack(run.job.id, run.job.token, AckKind.COMPLETE))
        self._identity.work_wanted.set()

    def _acked(self, run: Run, answer: AckAnswer) -> None:
        if answer is not AckAnswer.OK:
            raise RuntimeError(f"job {run.job.id}: the acknowledgement was answered {answer}")
        self._metrics.acked(run, answer)
        self._counter.add(1)

    async def _lost(self) -> None:
        raise RuntimeError("the worker expired: this machine is too busy for a measurement")

    def _broken(self, why: str) -> None:
        raise RuntimeError(why)


async def main(dsn: str, workers: int, slots: int, direct: str | None, calls_alone: bool) -> None:
    counter, waits = Counter(), list[float]()
    kind = CallsAlone if calls_alone else Queue
    expiry = CALLED_EXPIRY_SECONDS if calls_alone else numbers.EXPIRY_SECONDS
    async with await kind.open(
        dsn, direct_dsn=direct, connections=max(2, workers), expiry_seconds=expiry
    ) as queue:
        await queue.queues()  # connected

        async def work() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(HollowWorker(queue, slots, counter, waits).run())

        await serve(work)
    print(json.dumps(waits), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dsn")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--slots", type=int, default=10)
    parser.add_argument("--direct", help="the same database without a pooler, for LISTEN")
    parser.add_argument(
        "--calls-alone",
        action="store_true",
        help="no poll, no beat, no look of a worker without a seat finds work",
    )
    args = parser.parse_args()
    uvloop.run(main(args.dsn, args.workers, args.slots, args.direct, args.calls_alone))
