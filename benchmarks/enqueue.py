"""How fast jobs are stored in thousands over one connection, beside graphile-worker in the same rounds.

Each thousand is one statement and one commit; stock Postgres, fsync and synchronous_commit on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import report
from benchmarks.clients import ROOT
from benchmarks.drain import GRAPHILE, OURS, System, systems
from benchmarks.machine import Meter
from benchmarks.report import Options, Table, number, share, spread
from benchmarks.server import Server

JOBS = 100_000
LIMIT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Stored:
    """One run. CPU is in µs per job."""

    rate: float
    client_us: float
    postgres_us: float
    foreign_share: float


def measure(server: Server, system: System, jobs: int) -> Stored:
    """One run on a fresh database."""
    command = (
        [sys.executable, "-m", "benchmarks.seed"] if system.peer is None else [*system.peer.command, "seed"]
    )
    environment = {} if system.peer is None else system.peer.env
    with server.database(migrated=system.peer is None) as dsn:
        server.checkpoint()
        meter = Meter(postgres=server.pid).start()
        said = subprocess.run(
            [*command, dsn, str(jobs)], env=os.environ | environment, cwd=ROOT, check=True, capture_output=True,
            timeout=LIMIT_SECONDS,
        ).stdout  # fmt: skip
        meter.stop()
    took = json.loads(said.splitlines()[-1])
    postgres = meter.cpu_seconds["postgres"]
    return Stored(
        jobs / took["seconds"], took["cpu"] / jobs * 1e6, postgres / jobs * 1e6, meter.foreign_share
    )


def table(candidates: Sequence[System], runs: Mapping[str, Sequence[Stored]], notes: Sequence[str]) -> Table:
    rows = []
    for system in candidates:
        mine, base = runs[system.key], runs.get(GRAPHILE, ())
        ratios = [ours.rate / theirs.rate for ours, theirs in zip(mine, base, strict=False)]
        rows.append(
            (
                system.label,
                spread([run.rate for run in mine]),
                spread(ratios),
                f"{number(report.median([run.client_us for run in mine]))} + "
                f"{number(report.median([run.postgres_us for run in mine]))}",
                share(max(run.foreign_share for run in mine)),
            )
        )
    return Table(
        "Storing jobs in thousands",
        "python -m benchmarks.enqueue",
        ("system", "jobs/s", "× graphile, same round", "CPU µs/job, client + Postgres", "foreign CPU"),
        rows,
        "Aim: as many as graphile-worker",
        notes,
    )


def run(options: Options) -> list[Table]:
    candidates, missing = systems()
    candidates = [system for system in candidates if system.key in (OURS, GRAPHILE)]
    runs: dict[str, list[Stored]] = defaultdict(list)
    with Server() as server:
        for _ in range(options.rounds):
            for system in candidates:
                stored = measure(server, system, options.count(JOBS, 2000))
                runs[system.key].append(stored)
                print(f"  {system.key}: {number(stored.rate)}/s", file=sys.stderr, flush=True)
    return [table(candidates, runs, [note for note in missing if note.startswith(GRAPHILE)])]


if __name__ == "__main__":
    report.main(run, __doc__)
