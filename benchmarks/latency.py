"""How long a job waits from the call that enqueues it to the start of its handler, in an idle system.

20 jobs a second for 10 seconds, evenly spaced, one worker with 10 slots that is woken by NOTIFY. Our worker is the
product's dispatcher with a coroutine as job (an executor process costs what ``attempt`` measures). graphile-worker
runs as its documentation tunes it for latency: no local queue, no batches.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

import psycopg

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import NewJob
from benchmarks import report
from benchmarks.clients import Client
from benchmarks.drain import GRAPHILE, System
from benchmarks.machine import Meter
from benchmarks.peers import install
from benchmarks.report import Options, Table, number, percentile, share
from benchmarks.server import Server

PER_SECOND, SECONDS = 20, 10
WARM_UP = 10
"""Jobs before the measured ones: the first call of each statement plans it."""
_LAST_SECONDS = 5.0

Enqueue = Callable[[], Awaitable[object]]


async def paced(enqueue: Enqueue, jobs: int) -> None:
    """``jobs`` calls at a steady pace, whatever each takes."""
    begin = time.monotonic()
    for n in range(jobs):
        await asyncio.sleep(max(0.0, begin + n / PER_SECOND - time.monotonic()))
        await enqueue()


async def enqueue_ours(dsn: str, jobs: int) -> None:
    async with await Queue.open(dsn) as queue:

        async def one() -> None:
            await queue.enqueue([NewJob(uuid4(), {"v": 1, "t": time.time()})])

        await paced(one, jobs)


async def enqueue_graphile(dsn: str, jobs: int) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:

        async def one() -> None:
            payload = json.dumps({"t": time.time() * 1000})
            await conn.execute("select graphile_worker.add_job('noop', %s::json)", (payload,))

        await paced(one, jobs)


def measure(server: Server, peer: install.Peer | None, jobs: int) -> tuple[list[float], float]:
    """Milliseconds of each job, and the share of the machine that others took."""
    with server.database(migrated=peer is None) as dsn:
        if peer is None:
            client = Client([sys.executable, "-m", "benchmarks.hollow_client", dsn])
            enqueue = enqueue_ours(dsn, jobs + WARM_UP)
        else:
            System(GRAPHILE, peer.name, peer).seed(dsn, 0)
            client = Client([*peer.command, "latency", dsn], peer.env)
            enqueue = enqueue_graphile(dsn, jobs + WARM_UP)
        try:
            client.wait_ready()
            client.go()
            time.sleep(1.0)  # let it register and listen; there is no sign of that from outside
            meter = Meter(client=client.process.pid, postgres=server.pid).start()
            asyncio.run(enqueue)
            meter.stop()
            client.wait_done(jobs + WARM_UP, _LAST_SECONDS)
        finally:
            said = client.stop()
    waits: list[float] = json.loads(said)
    return waits[WARM_UP:], meter.foreign_share


def run(options: Options) -> list[Table]:
    jobs = options.count(PER_SECOND * SECONDS, 20)
    peers: list[tuple[str, install.Peer | None]] = [("**agentjobs**", None)]
    notes = []
    try:
        peer = install.graphile()
        peers.append((peer.name, peer))
    except install.Missing as error:
        notes.append(f"graphile-worker was left out: {error}.")
    rows = []
    with Server() as server:
        for label, peer_ in peers:
            runs = [measure(server, peer_, jobs) for _ in range(min(2, options.rounds))]
            # of the quieter round: latency is what a busy neighbour spoils first
            waits, foreign = min(runs, key=lambda r: r[1])
            cells = [number(percentile(waits, p)) for p in (0.5, 0.9, 0.99)]
            rows.append((label, *cells, str(len(waits)), share(foreign)))
    return [
        Table(
            "Enqueue to start, idle",
            "python -m benchmarks.latency",
            ("system", "p50 ms", "p90 ms", "p99 ms", "jobs", "foreign CPU"),
            rows,
            "20 jobs/s for 10 s; the quieter of two rounds. Aim: p50 ≤ 3.5 ms, p99 ≤ 6 ms",
            notes,
        )
    ]


if __name__ == "__main__":
    report.main(run, __doc__)
