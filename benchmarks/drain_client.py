"""One process that drains the queue: what a dispatcher does, with a no-op task per job.

Started by ``drain`` and ``backlog``. A job counts as done once it is acknowledged, not when its task ends.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from uuid import uuid4

import uvloop

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import Ack, AckAnswer, AckKind, ClaimedJob, WorkerInfo
from benchmarks.protocol import Counter, serve

QUEUE = "agents"
_IDLE_SECONDS = 0.005


async def handle(job: ClaimedJob) -> Ack:
    """The job itself: nothing."""
    return Ack(job.id, job.token, AckKind.COMPLETE)


async def run_all(jobs: Sequence[ClaimedJob]) -> list[Ack]:
    """Each job in a task of its own, all at once."""
    acks: list[Ack] = []
    loop = asyncio.get_running_loop()
    all_done = loop.create_future()

    async def run(job: ClaimedJob) -> None:
        acks.append(await handle(job))
        if len(acks) == len(jobs):
            all_done.set_result(None)

    tasks = [loop.create_task(run(job)) for job in jobs]
    await all_done
    del tasks  # held until here: the loop alone does not keep them alive
    return acks


async def drain(queue: Queue, batch: int, lanes: int, done: Callable[[int], None]) -> None:
    """Until cancelled. ``lanes``: claims in flight at once, each with jobs of its own."""
    worker, tokens = uuid4(), count(1)
    await queue.register(WorkerInfo(worker, "bench", {QUEUE: batch}, "bench"))

    async def beat() -> None:
        while True:
            await queue.beat(worker, (), ())
            await asyncio.sleep(5)

    async def lane() -> None:
        acks: list[Ack] = []
        while True:
            result = await queue.step(worker, next(tokens), acks, {QUEUE: batch}, max_jobs=batch)
            if not result.alive or any(a is not AckAnswer.OK for a in result.answers.values()):
                raise RuntimeError("the worker expired, or an acknowledgement was refused")
            done(len(acks))
            if result.jobs:
                acks = await run_all(result.jobs)
            else:
                acks = []
                await asyncio.sleep(_IDLE_SECONDS)

    async with asyncio.TaskGroup() as group:
        group.create_task(beat())
        for _ in range(lanes):
            group.create_task(lane())


async def main(dsn: str, batch: int, lanes: int) -> None:
    counter = Counter()
    async with await Queue.open(dsn, connections=lanes) as queue:
        await queue.queues()  # connected
        await serve(lambda: drain(queue, batch, lanes, counter.add))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dsn")
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--lanes", type=int, default=2)
    args = parser.parse_args()
    uvloop.run(main(args.dsn, args.batch, args.lanes))
