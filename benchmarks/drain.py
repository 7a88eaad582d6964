"""How fast no-op jobs drain, and what each costs, beside other Postgres queues in the same rounds.

Per run: a fresh database, all jobs enqueued first (not timed), then one or two client processes, on larger machines up
to sixteen, from ``go`` to the last job. Ours claims 500 jobs a call, runs each as an asyncio task and acknowledges it with its outcome kept; a job
counts once acknowledged. Peers count a job when its handler ran. The server is stock Postgres: fsync and
synchronous_commit on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import report, seed
from benchmarks.clients import ROOT, Client, Drained, drain
from benchmarks.peers import install
from benchmarks.report import Options, Table, number, share, spread
from benchmarks.server import Server

LIMIT_SECONDS = 60.0
OURS, GRAPHILE = "agentjobs", "graphile-worker"
# jobs per run: a few seconds of work each; and how many rounds at most
SIZES = {
    OURS: (100_000, 99),
    GRAPHILE: (100_000, 99),
    "pgqueuer": (20_000, 2),
    "oban-py": (4_000, 2),
    "procrastinate": (1_500, 2),
}
PROCESSES = tuple(n for n in (1, 2, 4, 8, 12, 16) if n <= max(2, os.cpu_count() or 1))
"""How many clients; not more than there are cores."""


@dataclass(frozen=True, slots=True)
class System:
    """One queue under test. ``peer`` None: ours."""

    key: str
    label: str
    peer: install.Peer | None = None

    def seed(self, dsn: str, jobs: int) -> None:
        if self.peer is None:
            seed.seed(dsn, jobs)
        else:
            self._call("seed", dsn, str(jobs))

    def client(self, dsn: str) -> Client:
        if self.peer is None:
            return Client([sys.executable, "-m", "benchmarks.drain_client", dsn])
        return Client([*self.peer.command, "drain", dsn], self.peer.env)

    def _call(self, *arguments: str) -> None:
        assert self.peer is not None
        subprocess.run(
            [*self.peer.command, *arguments],
            env={**os.environ, **self.peer.env},
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=300,
        )


def systems() -> tuple[list[System], list[str]]:
    """All that this machine can run, and a word about each that it cannot."""
    found, missing = [System(OURS, "**agentjobs**")], []
    for key, get in (
        (GRAPHILE, install.graphile),
        ("pgqueuer", install.pgqueuer),
        ("oban-py", install.oban),
        ("procrastinate", install.procrastinate),
    ):
        try:
            peer = get()
            found.append(System(key, peer.name, peer))
        except install.Missing as error:
            missing.append(f"{key} was left out: {error}.")
    return found, missing


def measure(server: Server, system: System, jobs: int, processes: int) -> Drained:
    """One run on a fresh database."""
    with server.database(migrated=system.peer is None) as dsn:
        system.seed(dsn, jobs)
        server.checkpoint()
        clients = [system.client(dsn) for _ in range(processes)]
        drained = drain(clients, jobs, server.pid, LIMIT_SECONDS)
        if system.peer is None and (stored := seed.completed(dsn)) != jobs:
            raise RuntimeError(f"{jobs} jobs were to be completed, and {stored} are")
        return drained


def rounds(
    server: Server, candidates: Sequence[System], options: Options
) -> Mapping[tuple[str, int], Sequence[Drained]]:
    """Interleaved, so that what the machine does meanwhile hits all alike."""
    runs: dict[tuple[str, int], list[Drained]] = defaultdict(list)
    for number_ in range(options.rounds):
        for processes in PROCESSES:
            for system in candidates:
                jobs, most = SIZES[system.key]
                if number_ < most:
                    run = measure(
                        server, system, options.count(jobs * max(1, processes // 2), 500), processes
                    )
                    runs[system.key, processes].append(run)
                    print(f"  {system.key} x{processes}: {number(run.rate)}/s", file=sys.stderr, flush=True)
    return runs


def table(
    candidates: Sequence[System], runs: Mapping[tuple[str, int], Sequence[Drained]], notes: Sequence[str]
) -> Table:
    rows = []
    for system in candidates:
        for processes in PROCESSES:
            mine = runs[system.key, processes]
            base = runs.get((GRAPHILE, processes), ())
            ratios = [a.rate / b.rate for a, b in zip(mine, base, strict=False)]
            rows.append(
                (
                    system.label if processes == PROCESSES[0] else "",
                    str(processes),
                    spread([run.rate for run in mine]),
                    spread(ratios) if ratios else "–",
                    spread([run.cpu_us for run in mine]),
                    f"{number(report.median([run.client_us for run in mine]))} + "
                    f"{number(report.median([run.postgres_us for run in mine]))}",
                    share(max(run.foreign_share for run in mine)),
                )
            )
    return Table(
        "Draining no-op jobs",
        "python -m benchmarks.drain",
        (
            "system",
            "processes",
            "jobs/s",
            "× graphile, same round",
            "CPU µs/job",
            "client + Postgres",
            "foreign CPU",
        ),
        rows,
        "Aim: at least 1.5 × graphile-worker in both, at most 25 µs of CPU per job",
        notes,
    )


def run(options: Options) -> list[Table]:
    candidates, missing = systems()
    with Server() as server:
        return [table(candidates, rounds(server, candidates, options), missing)]


if __name__ == "__main__":
    report.main(run, __doc__)
