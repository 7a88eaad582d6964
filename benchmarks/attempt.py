"""What an attempt in a process of its own costs over a bare ADK run, and the private memory of a running job.

The job: an agent on the ``echo`` model, two model calls and a tool. *Bare* is ``Runner.run_async`` over ADK's own
session service in one process, run after run. *Ours* is the worker's executor: from handing the run over to the end
that the supervisor acknowledges, with a standby ready (idle worker) and without one (back to back). Beside it a
process per job by ``multiprocessing``.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.verdict.outcome import AgentEvent, Verdict
from agentjobs.worker.process.pool import ExecutorPool, ExecutorSettings
from benchmarks import report
from benchmarks.clients import ROOT
from benchmarks.machine import Meter, tree_cpu_seconds
from benchmarks.report import Options, Table, number, percentile, share
from benchmarks.server import Server

RUNS, SPAWNED = 40, 3
TOGETHER = (10, 50)
KEPT = ("in memory", "in Postgres")
"""The sessions."""
MODULE = "benchmarks.agents"
MESSAGES = {
    "note": 'hello\necho:call note {"text": "noted"}',
    "wait": 'hello\necho:call wait {"seconds": 600}',
}
"""Those of ``benchmarks.agents``, which must not be imported here: it would bring ADK into the supervisor."""
_TIMEOUT = 240


@dataclass(frozen=True, slots=True)
class Took:
    """Wall milliseconds of each run, CPU milliseconds per run of all its processes (Postgres apart)."""

    ms: Sequence[float]
    cpu_ms: float
    resident_mib: float = 0.0
    """Of the process, where it was one that runs share."""


def spec(message: str) -> AttemptSpec:
    return AttemptSpec(
        uid=str(uuid4()),
        namespace="bench",
        name="job",
        queue="agents",
        run=1,
        attempt=1,
        max_attempts=1,
        round=1,
        agent={"module": MODULE},
        message=message,
    )


def executors(dsn: str | None, standbys: int) -> ExecutorPool:
    return ExecutorPool(
        ExecutorSettings(
            agents=AgentSettings(modules=(MODULE,), preload=(MODULE,), session_dsn=dsn),
            standbys=standbys,
            path=(str(ROOT),),
            environment={k: v for k, v in os.environ.items() if not k.startswith("AGENTJOBS_")},
        )
    )


async def ours(dsn: str | None, runs: int, *, idle: bool) -> Took:
    """``idle``: each run waits until a standby is ready; else back to back without standbys."""
    took: list[float] = []
    async with executors(dsn, standbys=1 if idle else 0) as pool:
        await pool.wait_ready()
        cpu = 0.0
        for n in range(-3, runs):
            while idle and pool.idle_standbys < 1:  # noqa: ASYNC110 - it has no event for that
                await asyncio.sleep(0.002)
            if n == 0:
                cpu = tree_cpu_seconds(os.getpid())
            begin = time.perf_counter()
            executor = await pool.spawn(spec(MESSAGES["note"]), lambda _: None)
            ended = await executor.ended()
            if n >= 0:
                took.append((time.perf_counter() - begin) * 1000)
            if ended.outcome is None or ended.outcome.verdict is not Verdict.COMPLETE:
                raise RuntimeError(f"the attempt ended otherwise than with an answer: {ended}")
        cpu = tree_cpu_seconds(os.getpid()) - cpu
    return Took(took, cpu / runs * 1000)


def timed(dsn: str | None, runs: int, *, idle: bool) -> Took:
    return asyncio.run(ours(dsn, runs, idle=idle))


def other(module: str, *arguments: str, dsn: str | None) -> Took:
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments, *([dsn] if dsn else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_TIMEOUT)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-1000:]}")
    said = json.loads(done.stdout.strip().rsplit("\n", 1)[-1])
    return Took(said["ms"], said["cpu_ms"], said.get("resident_mib", 0.0))


def private_mib(pid: int) -> tuple[float, float]:
    """Private and proportional memory of a process."""
    sizes = {
        line.split(":")[0]: int(line.split()[1])
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    }
    return (sizes["Private_Clean"] + sizes["Private_Dirty"]) / 1024, sizes["Pss"] / 1024


async def memory(dsn: str | None, jobs: int) -> tuple[float, float]:
    """Mean private and proportional MiB of ``jobs`` runs that sleep in a tool."""
    async with executors(dsn, standbys=0) as pool:
        await pool.wait_ready()
        began = [asyncio.Event() for _ in range(jobs)]

        def saw(n: int, event: AgentEvent) -> None:
            if event.kind == "tool_call":
                began[n].set()

        running = [await pool.spawn(spec(MESSAGES["wait"]), partial(saw, n)) for n in range(jobs)]
        async with asyncio.timeout(120):
            await asyncio.gather(*(event.wait() for event in began))
        sizes = [private_mib(executor.pid) for executor in running if executor.pid is not None]
        for executor in running:
            executor.kill()
        await asyncio.gather(*(executor.ended() for executor in running))
    return sum(s[0] for s in sizes) / len(sizes), sum(s[1] for s in sizes) / len(sizes)


def _row(label: str, took: Took, bare: Took, foreign: float) -> tuple[str, ...]:
    over = percentile(took.ms, 0.5) - percentile(bare.ms, 0.5)
    return (
        label,
        number(percentile(took.ms, 0.5)),
        number(percentile(took.ms, 0.95)),
        "–" if took is bare else f"{over:+.1f}",
        number(took.cpu_ms),
        share(foreign),
    )


def overhead(server: Server, options: Options) -> Table:
    runs, spawned = options.count(RUNS, 4), options.count(SPAWNED, 1)
    rows = []
    for kept in KEPT:
        with server.database() as dsn_:
            dsn = dsn_ if kept == "in Postgres" else None
            bare: Took | None = None
            ways: Sequence[tuple[str, Callable[[], Took]]] = (
                ("bare ADK, one process", partial(other, "bare_adk", str(runs), dsn=dsn)),
                ("**agentjobs**, idle worker", partial(timed, dsn, runs, idle=True)),
                ("**agentjobs**, back to back", partial(timed, dsn, runs, idle=False)),
                ("forkserver, preloaded", partial(other, "forked_adk", "forkserver", str(runs), dsn=dsn)),
                ("spawn", partial(other, "forked_adk", "spawn", str(spawned), dsn=dsn)),
            )
            for label, one in ways:
                meter = Meter().start()
                took = one()
                meter.stop()
                bare = bare or took
                rows.append(_row(f"{label}, sessions {kept}", took, bare, meter.foreign_share))
    return Table(
        "An attempt in a process of its own",
        "python -m benchmarks.attempt",
        ("how", "p50 ms", "p95 ms", "p50 over bare, ms", "CPU ms/job", "foreign CPU"),
        rows,
        "Two model calls of `echo` and a tool. Aim: at most 15 ms (in memory) and 50 ms (in Postgres) over the bare run",
    )


def memories(server: Server, options: Options) -> Table:
    rows = []
    for kept in KEPT:
        for n in sorted({options.count(n, 2) for n in TOGETHER}):
            with server.database() as dsn:
                private, proportional = asyncio.run(memory(dsn if kept == "in Postgres" else None, n))
            rows.append((kept, str(n), number(private), number(proportional)))
    return Table(
        "Memory of a running job",
        "python -m benchmarks.attempt",
        ("sessions", "jobs at once", "private MiB per job", "proportional MiB per job"),
        rows,
        "`smaps_rollup` of executors that sleep in a tool. Aim: at most 20 MiB private per job",
    )


def run(options: Options) -> list[Table]:
    with Server() as server:
        return [overhead(server, options), memories(server, options)]


if __name__ == "__main__":
    report.main(run, __doc__)
