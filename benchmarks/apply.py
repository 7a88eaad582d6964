"""From the creation of an AgentJob to its status Complete, on a real API server, operator and worker.

One at a time on an idle system, by HTTP and by ``kubectl apply`` (whose own start and discovery are in its figure), then
30 and 200 created at once. A job's end counts when a watch shows it. Beside it the status writes and the operator's CPU
per job. The worker keeps sessions in Postgres, as by default, and has 30 slots.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from agentjobs.local.controlplane import ControlPlane
from benchmarks import report
from benchmarks.cluster import NoControlPlane, Watched, control_plane, echo_job, kubectl, watched
from benchmarks.machine import Meter
from benchmarks.parts import Part, part
from benchmarks.report import Options, Table, number, percentile, share
from benchmarks.server import Server

ALONE, BY_KUBECTL = 20, 6
TOGETHER = (30, 200)
SLOTS = 30
NAMESPACE = "bench"
_PAUSE_SECONDS = 0.5
"""Between two lone jobs: the next standby gets ready, the operator falls idle."""
_WRITES = "agentjobs_operator_api_requests_total"
_LIMIT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class System:
    """All processes of one run."""

    plane: ControlPlane
    operator: Part
    worker: Part
    postgres: int

    def meter(self) -> Meter:
        return Meter(
            operator=self.operator.process.pid,
            worker=self.worker.process.pid,
            postgres=self.postgres,
            plane=[process.pid for process in self.plane.processes.values()],
        )

    def status_writes(self) -> float:
        return self.operator.metric(_WRITES, verb="PATCH", resource="agentjobs/status")


async def alone(jobs: Watched, n: int) -> list[float]:
    """Milliseconds from the request to Complete."""
    took = []
    for i in range(-2, n):
        name = f"alone-{i + 2}"
        begin = time.perf_counter()
        await jobs.create(name)
        took.append(((await jobs.all_complete([name], _LIMIT_SECONDS))[0] - begin) * 1000)
        await asyncio.sleep(_PAUSE_SECONDS)
    return took[2:]  # the first ones plan statements and open connections


async def by_kubectl(jobs: Watched, plane: ControlPlane, n: int) -> list[float]:
    """Milliseconds from the start of the command to Complete."""
    took = []
    for i in range(n):
        name = f"kubectl-{i}"
        said = json.dumps(echo_job(name))
        begin = time.perf_counter()
        await asyncio.to_thread(
            kubectl, plane, "apply", f"--namespace={NAMESPACE}", "--filename=-", said=said
        )
        took.append(((await jobs.all_complete([name], _LIMIT_SECONDS))[0] - begin) * 1000)
        await asyncio.sleep(_PAUSE_SECONDS)
    return took


async def together(jobs: Watched, n: int) -> float:
    """Seconds from the first request to the last Complete."""
    names = [f"at-once-{n}-{i}" for i in range(n)]
    begin = time.perf_counter()
    await asyncio.gather(*(jobs.create(name) for name in names))
    return max(await jobs.all_complete(names, _LIMIT_SECONDS)) - begin


async def measure(system: System, options: Options) -> Sequence[tuple[str, ...]]:
    rows = []
    async with watched(system.plane.kubeconfig, NAMESPACE) as jobs:
        for label, n, one in (
            ("one at a time, HTTP", options.count(ALONE, 3), alone),
            ("one at a time, `kubectl apply`", options.count(BY_KUBECTL, 2), None),
        ):
            meter = system.meter().start()
            took = await (one(jobs, n) if one else by_kubectl(jobs, system.plane, n))
            meter.stop()
            latencies = number(percentile(took, 0.5)), number(percentile(took, 0.95))
            rows.append((label, str(n), *latencies, "–", "–", "–", "–", share(meter.foreign_share)))
        for n in sorted({options.count(n, 5) for n in TOGETHER}):
            before, meter = system.status_writes(), system.meter().start()
            seconds = await together(jobs, n)
            meter.stop()
            cpu = {name: value / n * 1000 for name, value in meter.cpu_seconds.items()}
            rows.append(
                (
                    "at once",
                    str(n),
                    "–",
                    "–",
                    number(n / seconds),
                    number((system.status_writes() - before) / n),
                    number(cpu["operator"]),
                    f"{number(cpu['worker'])} / {number(cpu['postgres'])} / {number(cpu['plane'])}",
                    share(meter.foreign_share),
                )
            )
    return rows


def table(server: Server, options: Options) -> Table:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentjobs-bench-")))
        plane = stack.enter_context(control_plane())
        kubectl(plane, "create", "namespace", NAMESPACE)
        dsn = stack.enter_context(server.database())
        worker = stack.enter_context(
            part(
                "worker",
                f"--queue=agents={SLOTS}",
                "--model=echo",
                "--drain-seconds=5",
                dsn=dsn,
                folder=folder,
            )
        )
        operator = stack.enter_context(
            part(
                "operator",
                f"--kubeconfig={plane.kubeconfig}",
                f"--namespace={NAMESPACE}",
                dsn=dsn,
                folder=folder,
                env={"AGENTJOBS_LEASE_NAMESPACE": NAMESPACE},
            )
        )
        rows = asyncio.run(measure(System(plane, operator, worker, server.pid), options))
    return Table(
        "From apply to Complete",
        "python -m benchmarks.apply",
        (
            "jobs",
            "n",
            "p50 ms",
            "p95 ms",
            "jobs/s",
            "status writes/job",
            "operator CPU ms/job",
            "worker / Postgres / control plane CPU ms/job",
            "foreign CPU",
        ),
        rows,
        "Aim: p50 ≤ 150 ms; at once ≥ 100 jobs/s; ≤ 3 status writes and ≤ 3 ms of operator CPU per job",
    )


def run(options: Options) -> list[Table]:
    try:
        with Server() as server:
            return [table(server, options)]
    except NoControlPlane as error:
        return [Table("From apply to Complete", "python -m benchmarks.apply", ("left out",), [(str(error),)])]


if __name__ == "__main__":
    report.main(run, __doc__)
