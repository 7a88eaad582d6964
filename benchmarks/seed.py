"""Waiting jobs, put there fast. As a program (DSN, JOBS) it says in one line of JSON how many seconds that took, and of its own CPU."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from uuid import uuid4

import psycopg

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import NewJob

BATCH = 1000


async def enqueue(dsn: str, jobs: int) -> None:
    """Through the public API, in thousands."""
    async with await Queue.open(dsn) as queue:
        for start in range(0, jobs, BATCH):
            await queue.enqueue(
                [NewJob(uuid4(), {"v": 1, "n": n}) for n in range(start, min(start + BATCH, jobs))]
            )


def seed(dsn: str, jobs: int) -> None:
    asyncio.run(enqueue(dsn, jobs))


def completed(dsn: str) -> int:
    """Jobs that ended well, by the tables."""
    with psycopg.connect(dsn) as conn:
        row = conn.execute("select count(*) from agentjobs.outcome where state = 'c'").fetchone()
    assert row is not None
    return int(row[0])


async def _measured(dsn: str, jobs: int) -> dict[str, float]:
    async with await Queue.open(dsn) as queue:
        await queue.queues()  # connected
        begin, cpu = time.perf_counter(), time.process_time()
        for start in range(0, jobs, BATCH):
            await queue.enqueue(
                [NewJob(uuid4(), {"v": 1, "n": n}) for n in range(start, min(start + BATCH, jobs))]
            )
        return {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measured(sys.argv[1], int(sys.argv[2])))))
