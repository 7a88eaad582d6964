"""What a fleet costs: 1, 20, 100 and 300 workers that idle, that get 100 jobs a second, and that have more than they can do.

Jobs sleep for 50 to 500 ms. Workers of 10 slots (the single one of 200) run the product's dispatcher, heartbeat, listener and ticks, in as
many processes as ``--processes`` says; Postgres sees the same whatever their number.

    python -m benchmarks.fleet --workers 1,20,100 --processes 4
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit
from uuid import uuid4

import psycopg

from agentjobs.local.process import free_port
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import NewJob
from benchmarks import report
from benchmarks.clients import Client, counted
from benchmarks.machine import Meter
from benchmarks.report import Options, Table, number, share
from benchmarks.seed import BATCH
from benchmarks.server import Server

WORKERS = (1, 20, 100, 300)
RATE = 100.0
"""Jobs that arrive in a second, one by one."""
SECONDS = 15.0
SETTLED_SECONDS = 12.0
"""All workers have beaten twice by then, so who looks out is settled."""
MEBIBYTES_A_WORKER = 30
PGBOUNCER = """[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 10000
default_pool_size = 20
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """One phase of one fleet. CPU is in seconds."""

    jobs: int
    seconds: float
    postgres: float
    workers: float
    transactions: int
    claims: int
    wal: int
    foreign: float


class Counts:
    """What Postgres has counted since the last look."""

    def __init__(self, dsn: str) -> None:
        self._conn = psycopg.connect(dsn, autocommit=True)

    def read(self) -> tuple[int, int, int]:
        """Transactions of the database, calls of claim(), bytes of WAL."""
        self._conn.execute("select pg_stat_clear_snapshot()")
        row = self._conn.execute(
            "select (select xact_commit + xact_rollback from pg_stat_database where datname = current_database()),"
            " (select coalesce(sum(calls), 0)::bigint from pg_stat_user_functions where schemaname = 'agentjobs' and funcname = 'claim'),"
            " pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
        ).fetchone()
        assert row is not None
        return int(row[0]), int(row[1]), int(row[2])

    def close(self) -> None:
        self._conn.close()


@contextmanager
def pooled(dsn: str, pgbouncer: str | None) -> Iterator[str]:
    """The same database through this PgBouncer in transaction mode; None: without one."""
    if pgbouncer is None:
        yield dsn
        return
    parts = urlsplit(dsn)
    port = free_port()
    settings = PGBOUNCER.format(
        host=parts.hostname,
        port=parts.port,
        user=parts.username,
        password=unquote(parts.password or ""),
        listen=port,
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "pgbouncer.ini").write_text(settings)
        as_root = ["-u", "nobody"] if os.getuid() == 0 else []  # it runs as anybody but root
        process = subprocess.Popen([pgbouncer, "-q", *as_root, f"{folder}/pgbouncer.ini"])
        try:
            yield urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}"))
        finally:
            process.terminate()
            process.wait()


@contextmanager
def fleet(
    dsn: str, workers: int, slots: int, processes: int, pgbouncer: str | None
) -> Iterator[list[Client]]:
    """So many workers, running; stopped at the end."""
    shares = [workers // processes + (n < workers % processes) for n in range(min(processes, workers))]
    with pooled(dsn, pgbouncer) as url:
        command = [
            sys.executable,
            "-m",
            "benchmarks.hollow_client",
            url,
            *(["--direct", dsn] if pgbouncer else []),
            "--slots",
            str(slots),
        ]
        clients = [Client([*command, "--workers", str(n)]) for n in shares]
        try:
            for client in clients:
                client.wait_ready()
                client.go()
            yield clients
        finally:
            for client in clients:
                if client.process.poll() is None:
                    client.stop()


def phase(server: Server, clients: Sequence[Client], counts: Counts, seconds: float) -> Figures:
    """What is spent, and done, in so many seconds from now on."""
    _done(clients)
    meter = Meter(client=[client.process.pid for client in clients], postgres=server.pid)
    before = counts.read()
    meter.start()
    time.sleep(seconds)
    meter.stop()
    after = counts.read()
    cpu = meter.cpu_seconds
    return Figures(
        _done(clients), meter.wall_seconds, cpu["postgres"], cpu["client"],
        after[0] - before[0], after[1] - before[1], after[2] - before[2], meter.foreign_share,
    )  # fmt: skip


def _done(clients: Sequence[Client]) -> int:
    """Jobs that are done since the last look."""
    outputs = {client.process.stdout: client for client in clients if client.process.stdout is not None}
    total = 0
    while said := select.select(list(outputs), [], [], 0)[0]:
        total += sum(counted(outputs[output].lines()) for output in said)
    return total


def _waits(client: Client) -> list[float]:
    """Stops a client; how long its jobs waited, ms. Empty: it was too busy to end in time."""
    said = client.stop()
    return list(json.loads(said)) if said.startswith(b"[") else []


async def arrive(dsn: str, seconds: float) -> None:
    """Jobs arrive one by one, at random."""
    chance = random.Random(2)
    async with await Queue.open(dsn) as queue:
        begin = at = time.monotonic()
        while at - begin < seconds:
            at += chance.expovariate(RATE)
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            await queue.enqueue([NewJob(uuid4(), {"v": 1, "s": chance.uniform(0.05, 0.5), "t": time.time()})])


async def fill(dsn: str, jobs: int) -> None:
    chance = random.Random(3)
    async with await Queue.open(dsn) as queue:
        for _ in range(0, jobs, BATCH):
            await queue.enqueue(
                [NewJob(uuid4(), {"v": 1, "s": chance.uniform(0.05, 0.5)}) for _ in range(BATCH)]
            )


ARRIVING = "import asyncio, sys; from benchmarks.fleet import arrive; asyncio.run(arrive(sys.argv[1], float(sys.argv[2])))"


def measure(
    server: Server, workers: int, processes: int, seconds: float, pgbouncer: str | None
) -> Sequence[str]:
    """The table's row of one fleet."""
    slots = 200 if workers == 1 else 10
    with server.database() as dsn, fleet(dsn, workers, slots, processes, pgbouncer) as clients:
        counts = Counts(dsn)
        time.sleep(SETTLED_SECONDS)
        idle = phase(server, clients, counts, seconds)
        arriving = Client([sys.executable, "-c", ARRIVING, dsn, str(seconds + 4)])
        time.sleep(2)
        busy = phase(server, clients, counts, seconds)
        arriving.process.wait()
        possible = workers * slots / 0.275
        asyncio.run(fill(dsn, int(possible * (seconds + 6))))
        time.sleep(3)
        full = phase(server, clients, counts, seconds)
        counts.close()
        waits = [wait for client in clients for wait in _waits(client)]
    return (
        f"{workers} × {slots}",
        number(busy.postgres / busy.jobs * 1000),
        number(busy.workers / busy.jobs * 1000),
        number(busy.transactions / busy.jobs),
        number(busy.claims / busy.jobs),
        number(busy.wal / busy.jobs / 1000),
        *(number(report.percentile(waits, p)) if waits else "–" for p in (0.5, 0.99)),
        number(idle.postgres / idle.seconds),
        number(idle.transactions / idle.seconds),
        f"{number(full.jobs / full.seconds)} of {number(possible)}",
        number(full.postgres / max(1, full.jobs) * 1000),
        share(max(busy.foreign, idle.foreign, full.foreign)),
    )


def run(
    options: Options,
    fleets: Sequence[int] = WORKERS,
    processes: int | None = None,
    pgbouncer: str | None = None,
) -> list[Table]:
    processes = processes or 2 * (os.cpu_count() or 1)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") >> 20
    carried = [n for n in fleets if n * MEBIBYTES_A_WORKER < memory]
    with Server(max_connections=4 * max(carried) + 100, track_functions="pl") as server:
        rows = [measure(server, n, processes, SECONDS * options.scale, pgbouncer) for n in carried]
    return [
        Table(
            f"A fleet: {RATE:g} jobs a second, nothing, and more than it can do",
            "python -m benchmarks.fleet",
            (
                "workers", "Postgres CPU ms/job", "worker CPU ms/job", "transactions/job", "claims/job", "WAL kB/job", "start p50 ms", "p99 ms",
                "idle: Postgres cores", "transactions/s", "saturated: jobs/s", "Postgres CPU ms/job", "foreign CPU",
            ),
            rows,
            f"Jobs of 50 to 500 ms, workers in {processes} processes",
            [f"{n} workers: left out, they need {n * MEBIBYTES_A_WORKER} MiB" for n in fleets if n not in carried],
        )
    ]  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", default=",".join(map(str, WORKERS)), help="how many, by commas")
    parser.add_argument("--processes", type=int, help="of the workers; two for each core")
    parser.add_argument("--scale", type=float, default=1.0, help="of the seconds that are measured")
    parser.add_argument(
        "--pgbouncer", help="the program: all but LISTEN goes through it, in transaction mode"
    )
    given = parser.parse_args()
    sizes = [int(n) for n in given.workers.split(",")]
    for table in run(Options(scale=given.scale), sizes, given.processes, given.pgbouncer):
        print(report.markdown(table))
