"""Waiting jobs, put there fast."""

from __future__ import annotations

import asyncio
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
