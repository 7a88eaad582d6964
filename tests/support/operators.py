"""An operator and a hand-driven worker for tests on a real API server."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.controller.apiserver.resources import AGENT_JOBS, EVENTS, NAMESPACES
from agentjobs.controller.config import Intervals, OperatorConfig
from agentjobs.controller.metrics.counters import API_REQUESTS, Counters
from agentjobs.controller.operator import Operator
from agentjobs.dsn import current
from agentjobs.queue.errors import QueueError, QueueUnavailable
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import Ack, AckKind, ClaimedJob, WorkerInfo
from agentjobs.values.json import JsonObject
from agentjobs.values.usage import Usage
from clusters import Cluster

DEADLINE_SECONDS = 90.0
QUICK = Intervals(
    coalesce=0.3, outbox_poll=2.0, sweep=3600, first_sweep=1.0, explain=0.5, beat=1.0, orphans=0.5, tick=0.5
)


async def eventually(
    look: Callable[[], Awaitable[Any]], accept: Callable[[Any], bool] = bool, within: float = DEADLINE_SECONDS
) -> Any:
    """The first answer that is accepted; fails with the last one after the deadline."""
    deadline = time.monotonic() + within
    while True:
        answer = await look()
        if accept(answer):
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within} s; the last answer was {answer!r}")
        await asyncio.sleep(0.03)


@dataclass
class Objects:
    """AgentJobs of one namespace, over a connection of the test's own (uncounted by the operator)."""

    api: ApiServer
    namespace: str

    async def create(self, name: str, spec: Mapping[str, Any] | None = None, **metadata: Any) -> JsonObject:
        body = agent_job(name, spec, **metadata)
        return await self._do("POST", AGENT_JOBS.collection(self.namespace), body=body)

    async def get(self, name: str) -> JsonObject:
        return (await self._get(name)).body

    async def _get(self, name: str, **kwargs: Any) -> Reply:
        return await self.api.request("GET", AGENT_JOBS.object(self.namespace, name), resource="test")

    async def exists(self, name: str) -> bool:
        return (await self._get(name)).status == 200

    async def status(self, name: str) -> JsonObject:
        found: JsonObject = (await self.get(name)).get("status") or {}
        return found

    async def patch(self, name: str, body: JsonObject, subresource: str = "") -> JsonObject:
        return await self._do(
            "PATCH",
            AGENT_JOBS.object(self.namespace, name, subresource),
            body=body,
            content_type="application/merge-patch+json",
        )

    async def delete(self, name: str) -> None:
        await self._do("DELETE", AGENT_JOBS.object(self.namespace, name))

    async def wipe_status(self, name: str) -> None:
        await self._do(
            "PATCH",
            AGENT_JOBS.object(self.namespace, name, "status"),
            body=[{"op": "remove", "path": "/status"}],
            content_type="application/json-patch+json",
        )

    async def _do(self, verb: str, path: str, **more: Any) -> JsonObject:
        """Asks again while the API server answers 429, as it does for a moment with definitions that are new."""

        async def ask() -> Reply:
            return await self.api.request(verb, path, resource="test", **more)

        reply: Reply = await eventually(ask, lambda reply: reply.status != 429)
        assert reply.ok, reply
        return reply.body

    async def until(self, name: str, state: str, within: float = DEADLINE_SECONDS) -> JsonObject:
        """The status once it shows ``state``."""
        found: JsonObject = await eventually(
            lambda: self.status(name), lambda status: status.get("state") == state, within
        )
        return found

    async def events(self, name: str) -> list[JsonObject]:
        reply = await self.api.request("GET", EVENTS.collection(self.namespace), resource="test")
        return [item for item in reply.body["items"] if item["involvedObject"]["name"] == name]


def agent_job(name: str, spec: Mapping[str, Any] | None = None, **metadata: Any) -> JsonObject:
    return {
        "apiVersion": AGENT_JOBS.api_version,
        "kind": AGENT_JOBS.kind,
        "metadata": {"name": name, **metadata},
        "spec": {"agent": {"module": "agents.hello"}, "message": "hello", **(spec or {})},
    }


def condition(status: JsonObject, kind: str) -> JsonObject | None:
    return next((c for c in status.get("conditions", ()) if c["type"] == kind), None)


@dataclass
class HandWorker:
    """A worker as the queue sees one: it claims and acks when the test says so."""

    queue: Queue
    queues: Mapping[str, int] = field(default_factory=lambda: {"agents": 20})
    id: UUID = field(default_factory=uuid4)
    name: str = "hand-worker"
    _tokens: Any = field(default_factory=lambda: itertools.count(1))
    _held: list[ClaimedJob] = field(default_factory=list)

    async def register(self) -> HandWorker:
        await self.queue.register(WorkerInfo(self.id, self.name, self.queues, "test"))
        return self

    async def claim(self, n: int = 1, within: float = DEADLINE_SECONDS) -> list[ClaimedJob]:
        """Exactly ``n`` jobs, waited for."""
        jobs: list[ClaimedJob] = []

        async def more() -> bool:
            jobs.extend(await self.claim_ready(n - len(jobs)))
            return len(jobs) >= n

        await eventually(more, within=within)
        return jobs

    async def claim_ready(self, n: int = 20) -> list[ClaimedJob]:
        """What is ready now."""
        result = await self.queue.step(
            self.id, next(self._tokens), (), self.queues, total=n, idle=not self._held
        )
        self._held += result.jobs
        return list(result.jobs)

    async def one(self) -> ClaimedJob:
        (job,) = await self.claim(1)
        return job

    async def ack(self, job: ClaimedJob, kind: AckKind = AckKind.COMPLETE, **fields: Any) -> str:
        if kind is AckKind.COMPLETE:
            fields = {"result": "the answer", "event_count": 2, "usage": Usage(5, 7, 12, 1, 0)} | fields
        result = await self.queue.step(
            self.id, next(self._tokens), [Ack(job.id, job.token, kind, **fields)], {}
        )
        self._held = [held for held in self._held if held.id != job.id]
        return result.answers[job.id].value

    async def beat(self) -> Any:
        return await self.queue.beat(self.id, [(job.id, job.token) for job in self._held], ())

    async def live(self) -> None:
        """Beats until cancelled: between two steps of a test more time may pass than a worker's lease lasts."""
        while True:
            with suppress(QueueError):
                await self.beat()
            await asyncio.sleep(1)

    async def serve(self) -> None:
        """Completes whatever comes, until cancelled; answers requests to stop."""
        while True:
            with suppress(QueueUnavailable):
                for job in await self.claim_ready():
                    await self.ack(job)
                await self.beat()
            await asyncio.sleep(0.02)


@dataclass
class Bench:
    """One namespace, one database, one operator."""

    cluster: Cluster
    objects: Objects
    queue: Queue
    config: OperatorConfig
    operator: Operator | None = None
    lives: dict[UUID, asyncio.Task[None]] = field(default_factory=dict)
    """The heartbeats of the workers; who cancels one has killed its worker."""

    @property
    def meter(self) -> Counters:
        assert self.operator is not None
        return self.operator.meter

    def writes(self) -> int:
        """Status writes that the operator asked for."""
        return self.meter.total(API_REQUESTS, verb="PATCH", resource="agentjobs/status")

    def posts(self) -> int:
        return self.meter.total(API_REQUESTS, verb="POST", resource="events")

    async def worker(self, **fields: Any) -> HandWorker:
        """Registered (waited for, where the database has just come back). It beats, as real ones do, until the end."""
        worker = HandWorker(self.queue, **fields)

        async def registered() -> bool:
            with suppress(QueueUnavailable):
                await worker.register()
                return True
            return False

        await eventually(registered)
        self.lives[worker.id] = asyncio.create_task(worker.live())
        return worker

    async def close(self) -> None:
        for life in self.lives.values():
            life.cancel()
        await asyncio.gather(*self.lives.values(), return_exceptions=True)

    @asynccontextmanager
    async def running(self, **settings: Any) -> AsyncIterator[Operator]:
        """An operator in this process, ended at the end."""
        operator = Operator(replace(self.config, **settings))
        task = asyncio.create_task(operator.run())
        self.operator = operator
        try:
            yield operator
        finally:
            operator.stop()
            async with asyncio.timeout(90):
                assert await task == 0


@asynccontextmanager
async def bench(
    cluster: Cluster, dsn: str, namespace: str | None = None, **settings: Any
) -> AsyncIterator[Bench]:
    """In a namespace of its own (by a request: kubectl takes seconds on a busy machine), or in the given one."""
    async with (
        ApiServer(str(cluster.kubeconfig), Counters()) as api,
        await Queue.open(dsn, application_name="test") as queue,
    ):
        name = namespace or f"test-{uuid4().hex[:10]}"
        if namespace is None:
            made = await api.request(
                "POST", NAMESPACES.collection(), resource="test", body={"metadata": {"name": name}}
            )
            assert made.ok, made
        config: dict[str, Any] = {
            "dsn": dsn,
            "kubeconfig": str(cluster.kubeconfig),
            "namespaces": (name,),
            "lease": None,
            "intervals": QUICK,
        }
        made_bench = Bench(cluster, Objects(api, name), queue, OperatorConfig(**(config | settings)))
        try:
            yield made_bench
        finally:
            await made_bench.close()
            if namespace is None:
                with suppress(ApiUnavailable):
                    await api.request("DELETE", NAMESPACES.object(None, name), resource="test")


@asynccontextmanager
async def operator_process(b: Bench, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``agentjobs operator`` as a process of its own; killed at the end if it still runs."""
    settings = {
        "AGENTJOBS_DATABASE_URL": current(b.config.dsn),
        "AGENTJOBS_KUBECONFIG": str(b.cluster.kubeconfig),
        "AGENTJOBS_NAMESPACES": b.objects.namespace,
        "AGENTJOBS_LEASE_NAMESPACE": b.objects.namespace,
    } | environment
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agentjobs.cli", "operator", env=os.environ | settings
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def finish(worker: HandWorker, kinds: Sequence[AckKind]) -> None:
    """Runs one job through these ends."""
    for kind in kinds:
        await worker.ack(await worker.one(), kind)


@asynccontextmanager
async def serving(worker: HandWorker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.serve())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
