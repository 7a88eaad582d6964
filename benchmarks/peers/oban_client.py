"""oban-py: ``seed DSN JOBS`` or ``drain DSN``. Fifty jobs at once: its fastest setting in our trials."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import ClassVar

import uvloop
from oban import Oban, worker
from oban.schema import install_sql
from psycopg_pool import AsyncConnectionPool

from benchmarks.protocol import Counter, serve

counter = Counter()


@worker(queue="default")
class Noop:
    new: ClassVar[Callable[[dict[str, int]], object]]  # the decorator's

    async def process(self, job: object) -> None:
        counter.add(1)


async def seed(dsn: str, jobs: int) -> None:
    async with AsyncConnectionPool(dsn, open=False) as pool:
        async with pool.connection() as connection:
            await connection.execute(install_sql())
        oban = Oban(pool=pool)
        for start in range(0, jobs, 1000):
            await oban.enqueue_many(Noop.new({"n": n}) for n in range(start, min(start + 1000, jobs)))


async def drain(dsn: str) -> None:
    async with AsyncConnectionPool(dsn, min_size=4, max_size=10, open=False) as pool:
        await pool.wait()

        async def work() -> None:
            async with Oban(pool=pool, queues={"default": 50}):
                await asyncio.Event().wait()

        await serve(work)


if __name__ == "__main__":
    command, target, *rest = sys.argv[1:]
    uvloop.run(seed(target, int(rest[0])) if command == "seed" else drain(target))
