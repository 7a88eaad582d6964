"""What the operator adds: from a created object to Complete in its status, and its CPU per job.

A real API server, the operator in a process of its own, and a hand that claims and acks at once in place of
workers (an executor's own cost is ``attempt``'s). One at a time in an idle system, then many at once; then an
operator that finds many AgentJobs that nobody works on (50,000 with ``--full``), and one that takes over from it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import aiohttp
import psycopg

from agentjobs.controller.apiserver.client import METADATA_LIST, ApiServer
from agentjobs.controller.apiserver.resources import AGENT_JOBS, NAMESPACES
from agentjobs.controller.metrics.counters import Counters
from agentjobs.local.controlplane import ControlPlane
from agentjobs.local.process import free_port
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import Ack, AckKind, WorkerInfo
from agentjobs.values.json import JsonObject
from benchmarks import report
from benchmarks.cluster import NoControlPlane, control_plane
from benchmarks.machine import Meter
from benchmarks.report import Options, Table, number, percentile, share
from benchmarks.server import Server
from benchmarks.waiting import until

COMMAND = "python -m benchmarks.operator_load"
IDLE_JOBS, BUSY_JOBS = 30, 1000
MANY_JOBS, FULL_MANY_JOBS = 2000, 50_000
LIMIT_SECONDS, MANY_LIMIT_SECONDS = 300.0, 1200.0
IDLE_SECONDS = 20
SPEC = {"agent": {"module": "bench.agent"}, "message": "hello"}


@contextmanager
def operator(dsn: str, kubeconfig: Path, **settings: str) -> Iterator[int]:
    """``agentjobs operator``; its pid."""
    settings |= {"AGENTJOBS_DATABASE_URL": dsn, "AGENTJOBS_KUBECONFIG": str(kubeconfig)}
    environment = os.environ | settings
    process = subprocess.Popen(
        [sys.executable, "-m", "agentjobs.cli", "operator", "--log-level", "error"], env=environment
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


async def complete_all(queue: Queue) -> None:
    """Claims and completes whatever comes, woken as a worker is."""
    worker, tokens, wake = uuid4(), itertools.count(1), asyncio.Event()
    await queue.register(WorkerInfo(worker, "bench", {"agents": 1000}, "bench"))

    async def listen() -> None:
        async for _ in queue.listen():
            wake.set()

    async def beat() -> None:
        while True:
            await queue.beat(worker, (), ())
            await asyncio.sleep(3)

    async def work() -> None:
        acks: list[Ack] = []
        while True:
            wake.clear()
            step = await queue.step(worker, next(tokens), acks, {"agents": 64})
            acks = [
                Ack(job.id, job.token, AckKind.COMPLETE, result="done", event_count=2) for job in step.jobs
            ]
            if not acks:
                with suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), 1)

    async with asyncio.TaskGroup() as group:
        for part in (listen(), beat(), work()):
            group.create_task(part)


class Objects:
    """AgentJobs of one namespace."""

    def __init__(self, api: ApiServer) -> None:
        self.api, self.namespace = api, f"bench-{uuid4().hex[:8]}"

    async def open(self) -> None:
        await self.api.request(
            "POST", NAMESPACES.collection(), resource="bench", body={"metadata": {"name": self.namespace}}
        )

    async def create(self, name: str) -> None:
        body: JsonObject = {
            "apiVersion": AGENT_JOBS.api_version, "kind": AGENT_JOBS.kind, "metadata": {"name": name}, "spec": SPEC,
        }  # fmt: skip
        reply = await self.api.request(
            "POST", AGENT_JOBS.collection(self.namespace), resource="bench", body=body
        )
        assert reply.ok, reply

    async def state(self, name: str) -> str:
        reply = await self.api.request("GET", AGENT_JOBS.object(self.namespace, name), resource="bench")
        return str((reply.body.get("status") or {}).get("state", ""))

    async def complete(self) -> int:
        reply = await self.api.request(
            "GET",
            AGENT_JOBS.collection(self.namespace),
            resource="bench",
            accept=METADATA_LIST,
            params={"fieldSelector": "status.state=Complete"},
        )
        return len(reply.body["items"])

    async def until_complete(self, name: str) -> None:
        async def complete() -> bool:
            return await self.state(name) == "Complete"

        await until(complete, f"{name} is Complete", every=0.003)  # what a user does, too


async def one_at_a_time(objects: Objects, jobs: int) -> list[float]:
    """Milliseconds from the create's call to Complete, each."""
    waits = []
    for n in range(jobs):
        started = time.perf_counter()
        await objects.create(f"idle-{n}")
        await objects.until_complete(f"idle-{n}")
        waits.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(0.05)
    return waits


async def create_all(objects: Objects, names: Iterable[str]) -> None:
    """Creates an AgentJob of each name, sixteen at a time."""
    gate = asyncio.Semaphore(16)

    async def one(name: str) -> None:
        async with gate:
            await objects.create(name)

    await asyncio.gather(*map(one, names))


async def all_at_once(objects: Objects, jobs: int) -> float:
    """Seconds until all are Complete."""
    done = await objects.complete()
    started = time.perf_counter()
    await create_all(objects, (f"busy-{n}" for n in range(jobs)))

    async def all_complete() -> bool:
        return await objects.complete() >= done + jobs

    return await until(all_complete, f"{jobs} jobs are Complete", within=LIMIT_SECONDS, every=0.1) - started


def peak_mib(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) // 1024 if found else 0


async def started_anew(
    dsn: str, kubeconfig: Path, objects: int, settings: Mapping[str, str]
) -> tuple[str, ...]:
    """An operator that finds them all there, until it has told the queue of each."""
    with operator(dsn, kubeconfig, AGENTJOBS_HEALTH_PORT=str(port := free_port()), **settings) as pid:
        meter = Meter(operator=pid).start()
        async with aiohttp.ClientSession() as session:

            async def all_applied() -> bool:
                return await applied(session, port) >= objects

            await until(all_applied, f"{objects} objects are applied", within=LIMIT_SECONDS, every=0.1)
        meter.stop()
        peak = peak_mib(pid)
    return (
        f"started anew, {peak} MiB at most", str(objects), "",
        number(objects / meter.wall_seconds), number(meter.cpu_seconds["operator"] / objects * 1000),
        share(meter.foreign_share),
    )  # fmt: skip


async def found_waiting(
    dsn: str, kubeconfig: Path, jobs: int, settings: Mapping[str, str], idle_seconds: int = 0
) -> list[tuple[str, ...]]:
    """A row until an operator has told the queue of all, one until all show a status, and where that is wanted one of it idle."""
    rows: list[tuple[str, ...]] = []
    with operator(dsn, kubeconfig, AGENTJOBS_HEALTH_PORT=str(port := free_port()), **settings) as pid:
        meter = Meter(operator=pid).start()
        async with (
            aiohttp.ClientSession() as session,
            await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn,
        ):

            async def all_applied() -> bool:
                return await applied(session, port) >= jobs

            async def all_shown() -> bool:
                found = await conn.execute("select exists (select from agentjobs.outbox)")
                return (await found.fetchone()) == (False,)

            def row(what: str) -> tuple[str, ...]:
                meter.stop()
                cpu = meter.cpu_seconds["operator"]
                return (
                    what, str(jobs), number(meter.wall_seconds), number(cpu), f"{cpu / meter.wall_seconds:.1%}",
                    str(peak_mib(pid)), share(meter.foreign_share),
                )  # fmt: skip

            await until(all_applied, f"{jobs} objects are applied", within=MANY_LIMIT_SECONDS, every=0.1)
            rows.append(row("an operator that finds them, all stored"))
            await until(all_shown, f"{jobs} objects have a status", within=MANY_LIMIT_SECONDS, every=0.1)
            rows.append(row("all of them show a status"))
            if idle_seconds:
                await settled(all_shown, idle_seconds / 2)
                meter.start()
                await asyncio.sleep(idle_seconds)
                rows.append(row("idle"))
    return rows


async def settled(all_shown: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Waits until nothing was to be shown for so long: why a job waits is found out, and shown, after its first status."""
    quiet = 0

    async def for_a_while() -> bool:
        nonlocal quiet
        quiet = quiet + 1 if await all_shown() else 0
        return quiet >= seconds

    await until(for_a_while, "nothing is to be shown", within=MANY_LIMIT_SECONDS, every=1)


async def measure_many(server: Server, plane: ControlPlane, dsn: str, options: Options) -> Table:
    jobs = options.count(FULL_MANY_JOBS if options.full else MANY_JOBS, 20)
    async with ApiServer(str(plane.kubeconfig), Counters()) as api:
        objects = Objects(api)
        await objects.open()
        await create_all(objects, (f"many-{n}" for n in range(jobs)))
    namespace = {"AGENTJOBS_NAMESPACES": objects.namespace}
    rows = await found_waiting(dsn, plane.kubeconfig, jobs, namespace, options.count(IDLE_SECONDS, 1))
    (_, *in_step), *_ = await found_waiting(dsn, plane.kubeconfig, jobs, namespace)
    rows.append(("the next operator, in step", *in_step))
    return Table(
        f"{jobs:,} AgentJobs that wait",
        COMMAND + (" --full" if options.full else ""),
        ("what", "AgentJobs", "seconds", "operator CPU s", "of one core", "peak MiB", "foreign CPU"),
        rows,
        "created while no operator was there. Aim, of 50,000: first statuses ≤ 45 s, in step after a restart ≤ 20 s",
    )


async def applied(session: aiohttp.ClientSession, port: int) -> int:
    with suppress(aiohttp.ClientError):
        async with session.get(f"http://127.0.0.1:{port}/metrics") as reply:
            found = re.findall(
                r"^agentjobs_operator_changes_applied_total\S* (\d+)", await reply.text(), re.M
            )
            return sum(map(int, found))
    return 0


async def measure(server: Server, plane: ControlPlane, dsn: str, options: Options) -> Table:
    idle, busy = options.count(IDLE_JOBS, 5), options.count(BUSY_JOBS, 20)
    rows: list[tuple[str, ...]] = []
    async with ApiServer(str(plane.kubeconfig), Counters()) as api, await Queue.open(dsn) as queue:
        objects = Objects(api)
        await objects.open()
        hand = asyncio.create_task(complete_all(queue))
        namespace = {"AGENTJOBS_NAMESPACES": objects.namespace}
        with operator(dsn, plane.kubeconfig, **namespace) as pid:
            await objects.create("first")
            await objects.until_complete("first")
            meter = Meter(operator=pid).start()
            waits = await one_at_a_time(objects, idle)
            meter.stop()
            rows.append(
                (
                    "one at a time", str(idle), f"{number(percentile(waits, 0.5))} / {number(percentile(waits, 0.99))}",
                    "", number(meter.cpu_seconds["operator"] / idle * 1000), share(meter.foreign_share),
                )
            )  # fmt: skip
            meter = Meter(operator=pid).start()
            seconds = await all_at_once(objects, busy)
            meter.stop()
            rows.append(
                (
                    "all at once", str(busy), "", number(busy / seconds),
                    number(meter.cpu_seconds["operator"] / busy * 1000), share(meter.foreign_share),
                )
            )  # fmt: skip
        rows.append(await started_anew(dsn, plane.kubeconfig, idle + busy + 1, namespace))
        hand.cancel()
        with suppress(asyncio.CancelledError, ExceptionGroup):
            await hand
    return Table(
        "The operator's part",
        COMMAND,
        (
            "load",
            "jobs",
            "create → Complete, p50 / p99 ms",
            "jobs/s",
            "operator CPU ms per job",
            "foreign CPU",
        ),
        rows,
        "jobs complete at once, without an executor. Aim: apply → Complete p50 ≤ 150 ms, ≥ 100 jobs/s, ≤ 3 ms of CPU",
    )


def run(options: Options) -> list[Table]:
    try:
        with control_plane() as plane, Server() as server, server.database() as dsn:
            tables = [asyncio.run(measure(server, plane, dsn, options))]
            with server.database() as another:
                return [*tables, asyncio.run(measure_many(server, plane, another, options))]
    except NoControlPlane as error:
        return [Table("The operator's part", COMMAND, ("left out",), [(str(error),)])]


if __name__ == "__main__":
    report.main(run, __doc__)
