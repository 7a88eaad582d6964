"""pgqueuer: ``seed DSN JOBS`` or ``drain DSN``. asyncpg, batches of 100: its fastest setting in our trials."""

from __future__ import annotations

import asyncio
import sys

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.protocol import Counter, serve

BATCH = 100


async def seed(dsn: str, jobs: int) -> None:
    connection = await asyncpg.connect(dsn)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    for start in range(0, jobs, 1000):
        n = min(1000, jobs - start)
        await queries.enqueue(["noop"] * n, [b'{"n":1}'] * n, [0] * n)
    await connection.close()


async def drain(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    worker, counter = PgQueuer(AsyncpgDriver(connection)), Counter()

    @worker.entrypoint("noop")
    async def noop(job: Job) -> None:
        counter.add(1)

    async def work() -> None:
        running = asyncio.ensure_future(worker.run(batch_size=BATCH))
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            worker.shutdown.set()
            await running

    await serve(work)


if __name__ == "__main__":
    command, target, *rest = sys.argv[1:]
    uvloop.run(seed(target, int(rest[0])) if command == "seed" else drain(target))
