"""What Postgres spends per job when workers are bound by their slots: 20 × 10 slots, jobs of 50 to 500 ms.

Once with one dispatcher for all 200 slots (one worker process, as the product does it), once with twenty workers of
ten slots each. 200 slots and 275 ms a job make 727 jobs a second at most.
"""

from __future__ import annotations

import asyncio
import random
import sys
from uuid import uuid4

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import NewJob
from benchmarks import report
from benchmarks.clients import Client, Drained, drain
from benchmarks.report import Options, Table, number, share
from benchmarks.seed import BATCH
from benchmarks.server import Server

JOBS = 6_000
"""About 8 seconds of work."""
SHAPES = ((1, 200), (20, 10))


async def enqueue(dsn: str, jobs: int) -> None:
    chance = random.Random(1)
    async with await Queue.open(dsn) as queue:
        for start in range(0, jobs, BATCH):
            n = min(BATCH, jobs - start)
            await queue.enqueue([NewJob(uuid4(), {"v": 1, "s": chance.uniform(0.05, 0.5)}) for _ in range(n)])


def measure(server: Server, workers: int, slots: int, jobs: int) -> Drained:
    """``workers`` in one process, until ``jobs`` are acknowledged; more wait, so that all slots stay taken."""
    with server.database() as dsn:
        asyncio.run(enqueue(dsn, jobs + BATCH))
        server.checkpoint()
        command = [sys.executable, "-m", "benchmarks.hollow_client", dsn]
        client = Client([*command, "--workers", str(workers), "--slots", str(slots)])
        return drain([client], jobs, server.pid, limit_seconds=60)


def run(options: Options) -> list[Table]:
    jobs = options.count(JOBS, 500)
    rows = []
    with Server() as server:
        for workers, slots in SHAPES:
            runs = [measure(server, workers, slots, jobs) for _ in range(min(2, options.rounds))]
            rows.append(
                (
                    f"{workers} × {slots} slots",
                    number(report.median([r.rate for r in runs])),
                    number(report.median([r.postgres_us for r in runs]) / 1000),
                    number(report.median([r.client_us for r in runs]) / 1000),
                    share(max(r.foreign_share for r in runs)),
                )
            )
    return [
        Table(
            "Bound by slots: jobs of 50 to 500 ms",
            "python -m benchmarks.slots",
            ("workers", "jobs/s", "Postgres CPU ms/job", "worker CPU ms/job", "foreign CPU"),
            rows,
            "Aim: ≤ 0.25 ms of Postgres CPU per job with one dispatcher a process",
        )
    ]


if __name__ == "__main__":
    report.main(run, __doc__)
