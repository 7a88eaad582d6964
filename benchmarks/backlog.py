"""Whether a long backlog, and a snapshot that somebody holds open, slow the claims down.

First the rate of a short queue, as a measure; then a backlog (200,000 jobs, a million with ``--full``) for ten
seconds; then the same while another session holds a snapshot from before, so that no dead row can be removed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from benchmarks import report, seed
from benchmarks.clients import Client, Drained, drain
from benchmarks.report import Options, Table, number, share
from benchmarks.server import Server

SHORT, LONG, LONGEST = 50_000, 200_000, 1_000_000
SECONDS = 10.0


@contextmanager
def pinned_snapshot(dsn: str, wanted: bool) -> Iterator[None]:
    """A transaction that began before the drain and looks no further."""
    if not wanted:
        yield
        return
    with psycopg.connect(dsn) as conn:
        conn.execute("set transaction isolation level repeatable read")
        conn.execute("select count(*) from agentjobs.worker")
        yield
        conn.rollback()


def measure(server: Server, jobs: int, *, pinned: bool, seconds: float = SECONDS) -> Drained:
    """At most ``seconds`` of draining ``jobs``."""
    with server.database() as dsn:
        seed.seed(dsn, jobs)
        server.checkpoint()
        with pinned_snapshot(dsn, pinned):
            client = Client([sys.executable, "-m", "benchmarks.drain_client", dsn])
            return drain([client], jobs, server.pid, seconds, partly=True)


def run(options: Options) -> list[Table]:
    short = options.count(SHORT, 1000)
    long = options.count(LONGEST if options.full else LONG, 1000)
    with Server() as server:
        base = report.median(
            [measure(server, short, pinned=False).rate for _ in range(min(2, options.rounds))]
        )
        rows = [(f"{short:,} waiting", number(base), "100 %", "–", "–", "–")]
        for pinned in (False, True):
            r = measure(server, long, pinned=pinned)
            first, last = (r.by_second[0], r.by_second[-1]) if r.by_second else (r.rate, r.rate)
            rows.append(
                (
                    f"{long:,} waiting" + (", old snapshot pinned" if pinned else ""),
                    number(r.rate),
                    share(r.rate / base),
                    f"{number(first)} → {number(last)}",
                    number(r.cpu_us),
                    share(r.foreign_share),
                )
            )
    return [
        Table(
            "A long backlog",
            "python -m benchmarks.backlog" + (" --full" if options.full else ""),
            (
                "backlog",
                "jobs/s",
                "of the short queue's rate",
                "first → last second",
                "CPU µs/job",
                "foreign CPU",
            ),
            rows,
            "One process, batches of 500. Aim: flat, at least 90 % of the short queue's rate",
        )
    ]


if __name__ == "__main__":
    report.main(run, __doc__)
