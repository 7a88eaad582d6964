"""Schedules: how late 500 that are due in the same second fire, and what 10,000 cost.

A real API server, and the operator in a process of its own. Nobody runs the children.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from uuid import uuid4

import psycopg

from agentjobs.api.meta import RUN_REQUESTED_AT
from agentjobs.controller.apiserver.client import METADATA_LIST, ApiServer
from agentjobs.controller.apiserver.resources import AGENT_JOBS, NAMESPACES, SCHEDULED_AGENT_JOBS
from agentjobs.controller.metrics.counters import Counters
from agentjobs.local.controlplane import ControlPlane
from agentjobs.local.process import free_port
from benchmarks import report
from benchmarks.cluster import NoControlPlane, control_plane
from benchmarks.machine import Meter
from benchmarks.operator_load import peak_mib
from benchmarks.parts import is_ready
from benchmarks.report import Options, Table, number, percentile, share
from benchmarks.server import Server
from benchmarks.waiting import until

COMMAND = "python -m benchmarks.schedules"
AT_ONCE, MANY = 500, 10_000
ASKED = 20
"""Run-now requests, spread over all schedules: when each has its child, a new operator has read them all."""
IDLE_SECONDS = 30
SETTLE_SECONDS = 20
"""For what follows a start: sweep, statuses, garbage."""
LIMIT_SECONDS = 600.0
LATE = re.compile(r"created \S+/\S+, (\d+\.\d+) s after its time")


@contextmanager
def operator(dsn: str, kubeconfig: Path, namespace: str, port: int = 0) -> Iterator[tuple[int, Path]]:
    """``agentjobs operator`` of one namespace, its health at ``port`` (0: any); its pid and its log."""
    settings = {
        "AGENTJOBS_HEALTH_PORT": str(port),
        "AGENTJOBS_DATABASE_URL": dsn,
        "AGENTJOBS_KUBECONFIG": str(kubeconfig),
        "AGENTJOBS_NAMESPACES": namespace,
    }
    with NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "agentjobs.cli", "operator"],
            env=os.environ | settings,
            stdout=log,
            stderr=log,
        )
        try:
            yield process.pid, Path(log.name)
        finally:
            process.terminate()
            process.wait(30)


class Objects:
    """ScheduledAgentJobs of one namespace; ``last`` is the number of the last one."""

    def __init__(self, api: ApiServer, last: int = 0) -> None:
        self.api, self.namespace, self.last = api, f"bench-{uuid4().hex[:8]}", last
        self._gate = asyncio.Semaphore(16)

    async def open(self) -> None:
        body = {"metadata": {"name": self.namespace}}
        await self.api.request("POST", NAMESPACES.collection(), resource="bench", body=body)

    async def create(self, count: int, when: Mapping[str, str]) -> None:
        """``when``: the fields of the spec that say it."""
        await asyncio.gather(*(self._create(f"s-{n:05}", when) for n in range(count)))

    async def _create(self, name: str, when: Mapping[str, str]) -> None:
        body = {
            "apiVersion": SCHEDULED_AGENT_JOBS.api_version,
            "kind": SCHEDULED_AGENT_JOBS.kind,
            "metadata": {"name": name},
            "spec": {
                **when,
                "jobTemplate": {"spec": {"agent": {"module": "bench.agent"}, "message": "hello"}},
            },
        }
        async with self._gate:
            path = SCHEDULED_AGENT_JOBS.collection(self.namespace)
            reply = await self.api.request("POST", path, resource="bench", body=body)
        assert reply.ok, reply

    async def run_now(self, names: Sequence[str]) -> None:
        for name in names:
            reply = await self.api.request(
                "PATCH",
                SCHEDULED_AGENT_JOBS.object(self.namespace, name),
                resource="bench",
                body={"metadata": {"annotations": {RUN_REQUESTED_AT: "bench"}}},
                content_type="application/merge-patch+json",
            )
            assert reply.ok, reply

    async def children(self) -> int:
        reply = await self.api.request(
            "GET",
            AGENT_JOBS.collection(self.namespace),
            resource="bench",
            accept=METADATA_LIST,
            params={"limit": "1"},
        )
        found = len(reply.body["items"] or ())
        return found + int((reply.body.get("metadata") or {}).get("remainingItemCount") or 0)

    async def shown(self) -> bool:
        """Each shows its next time. All are read only once the last one by name does."""
        reply = await self.api.request(
            "GET", SCHEDULED_AGENT_JOBS.object(self.namespace, f"s-{self.last:05}"), resource="bench"
        )
        if not _shows(reply.body):
            return False
        params = {"limit": "500"}
        while True:
            reply = await self.api.request(
                "GET", SCHEDULED_AGENT_JOBS.collection(self.namespace), resource="bench", params=params
            )
            if not all(_shows(one) for one in reply.body["items"]):
                return False
            if not (more := reply.body["metadata"].get("continue")):
                return True
            params["continue"] = more


def _shows(schedule: Mapping[str, Any]) -> bool:
    return bool((schedule.get("status") or {}).get("nextScheduleTime"))


async def each_minute() -> tuple[Mapping[str, str], float]:
    """What makes a schedule due at the next full minute, and that time; there is half a minute to create them all."""
    if time.time() % 60 > 30:
        await asyncio.sleep(61 - time.time() % 60)
    return {"schedule": "* * * * *"}, (time.time() // 60 + 1) * 60


async def rows(dsn: str, wanted: int) -> None:
    """Until so many schedules are stored."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:

        async def stored() -> bool:
            cursor = await conn.execute("select count(*) from agentjobs.schedule")
            row = await cursor.fetchone()
            return row is not None and row[0] >= wanted

        await until(stored, f"{wanted} schedules are stored", every=0.2)


async def due_at_once(api: ApiServer, dsn: str, plane: ControlPlane, count: int) -> tuple[str, ...]:
    objects = Objects(api)
    await objects.open()
    with operator(dsn, plane.kubeconfig, objects.namespace, port := free_port()) as (pid, log):

        async def up() -> bool:
            return await asyncio.to_thread(is_ready, port)

        await until(up, "the operator is ready", every=0.2)
        when, moment = await each_minute()
        await objects.create(count, when)
        await rows(dsn, count)
        if time.time() > moment - 2:
            raise RuntimeError(f"{count} schedules were not created and stored before they were due")
        await asyncio.sleep(moment - 2 - time.time())
        meter = Meter(operator=pid).start()

        async def all_created() -> bool:
            return len(LATE.findall(log.read_text())) >= count

        await until(all_created, f"{count} children are created", every=0.1)
        meter.stop()
        seconds = [float(text) for text in LATE.findall(log.read_text())]
        children = await objects.children()
    return (
        f"{count} due in one second", number(percentile(seconds, 0.5)), number(percentile(seconds, 0.99)),
        number(max(seconds)), str(children), number(meter.cpu_seconds["operator"] / count * 1000),
        share(meter.foreign_share),
    )  # fmt: skip


async def idle_without(api: ApiServer, dsn: str, plane: ControlPlane) -> tuple[str, ...]:
    """An operator without a schedule, for comparison."""
    objects = Objects(api)
    await objects.open()
    with operator(dsn, plane.kubeconfig, objects.namespace) as (pid, _):
        await asyncio.sleep(SETTLE_SECONDS)
        meter = Meter(operator=pid).start()
        await asyncio.sleep(IDLE_SECONDS)
        meter.stop()
        return _row("none, idle", meter, pid)


async def many(api: ApiServer, dsn: str, plane: ControlPlane, count: int) -> list[tuple[str, ...]]:
    objects = Objects(api, count - 1)
    await objects.open()
    found: list[tuple[str, ...]] = []
    with operator(dsn, plane.kubeconfig, objects.namespace) as (pid, _):
        meter = Meter(operator=pid).start()
        await objects.create(count, {"schedule": "0 6 1 1 *"})
        await until(objects.shown, "each schedule shows its next time", within=LIMIT_SECONDS, every=0.5)
        meter.stop()
        found.append(_row(f"{count:,} created, stored and shown", meter, pid))
    step = max(1, count // ASKED)
    asked = [f"s-{n:05}" for n in range(count - 1, -1, -step)][:ASKED]
    before = await objects.children()
    await objects.run_now(asked)
    with operator(dsn, plane.kubeconfig, objects.namespace) as (pid, _):
        meter = Meter(operator=pid).start()

        async def all_asked() -> bool:
            return await objects.children() >= before + len(asked)

        await until(all_asked, f"{len(asked)} children are created", within=LIMIT_SECONDS, every=0.1)
        meter.stop()
        found.append(_row(f"a new operator that finds {count:,}", meter, pid))
        await asyncio.sleep(SETTLE_SECONDS)
        meter = Meter(operator=pid).start()
        await asyncio.sleep(IDLE_SECONDS)
        meter.stop()
        found.append(_row(f"{count:,}, idle", meter, pid))
    return found


def _row(what: str, meter: Meter, pid: int) -> tuple[str, ...]:
    cpu = meter.cpu_seconds["operator"]
    return (
        what, number(meter.wall_seconds), number(cpu), f"{cpu / meter.wall_seconds * 100:.1f} %",
        str(peak_mib(pid)), share(meter.foreign_share),
    )  # fmt: skip


async def measure(plane: ControlPlane, dsns: tuple[str, str, str], options: Options) -> list[Table]:
    async with ApiServer(str(plane.kubeconfig), Counters()) as api:
        first = await due_at_once(api, dsns[0], plane, options.count(AT_ONCE, 5))
        none = await idle_without(api, dsns[1], plane)
        later = await many(api, dsns[2], plane, options.count(MANY, 20))
    return [
        Table(
            "Schedules that are due in the same second",
            COMMAND,
            (
                "load",
                "p50 s late",
                "p99 s late",
                "last s late",
                "children",
                "operator CPU ms per child",
                "foreign CPU",
            ),
            [first],
            "from the tick to its child's confirmed creation. Aim: all within 2 s",
        ),
        Table(
            "Many schedules",
            COMMAND,
            ("what", "seconds", "operator CPU s", "of one core", "peak MiB", "foreign CPU"),
            [none, *later],
            f"one operator; a new one has read all when {ASKED} run-now requests, spread over them, have their child",
        ),
    ]


def run(options: Options) -> list[Table]:
    try:
        with (
            control_plane() as plane,
            Server() as server,
            server.database() as a,
            server.database() as b,
            server.database() as c,
        ):
            return asyncio.run(measure(plane, (a, b, c), options))
    except NoControlPlane as error:
        return [Table("Schedules", COMMAND, ("left out",), [(str(error),)])]


if __name__ == "__main__":
    report.main(run, __doc__)
