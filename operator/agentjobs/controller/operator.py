"""The operator process: heartbeat, health endpoint, election, and the leader's parts while it holds the Lease.

Everything here recovers by itself: where the API server or the database goes away, for however long, the
operator waits and keeps everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.resources import NAMESPACES
from agentjobs.controller.apiserver.writes import get_object
from agentjobs.controller.config import OperatorConfig
from agentjobs.controller.health import health_server
from agentjobs.controller.heartbeat import OperatorHeartbeat
from agentjobs.controller.leader import Leader
from agentjobs.controller.leader_election import Leadership
from agentjobs.controller.metrics.counters import Counters
from agentjobs.controller.metrics.queue_collector import QueueCollector
from agentjobs.queue.errors import QueueError
from agentjobs.queue.queue import Queue
from agentjobs.telemetry.exposition import family, page
from agentjobs.telemetry.loops import LoopHealth, problems
from agentjobs.telemetry.metrics import Metric
from agentjobs.telemetry.tracing import Tracing, open_tracing

log = logging.getLogger(__name__)

SWITCH_SECONDS = 0.0005
"""The watch computes in a thread of its own. At Python's default of 5 ms each answer of the API server
would wait that long for its turn, whenever many objects change at once."""

STUCK_SECONDS = 120.0
"""Each try of the heartbeat is bounded; one that takes longer will never end."""


async def run_operator(config: OperatorConfig) -> int:
    """Runs until SIGTERM or SIGINT; 0: ended in good order."""
    sys.setswitchinterval(SWITCH_SECONDS)
    operator = Operator(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread
            loop.add_signal_handler(number, operator.stop)
    return await operator.run()


@dataclass(slots=True)
class Operator:
    """One operator process; ``_leader`` is there while it leads."""

    config: OperatorConfig
    meter: Counters = field(default_factory=Counters)
    port: int | None = None
    """Of the health endpoint, once it serves."""
    leadership: Leadership | None = None
    tracing: Tracing | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _leader: Leader | None = None
    _beat_at: float = 0.0
    _cluster_id: str = ""

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> int:
        config = self.config
        self.tracing = open_tracing(os.environ, service="agentjobs-operator", instance=config.name)
        async with (
            ApiServer(config.kubeconfig, self.meter) as api,
            await Queue.open(
                config.dsn, direct_dsn=config.direct_dsn, application_name="agentjobs-operator"
            ) as queue,
        ):
            heartbeat = OperatorHeartbeat(queue, config.name, config.intervals.beat, config.intervals.tick)
            # unique: two processes that were given one name must not both believe that they hold the lease
            identity = f"{config.name}_{uuid4().hex[:8]}"
            self.leadership = Leadership(
                api, config.lease, identity, lambda: self._lead(api, queue, heartbeat)
            )
            async with health_server(
                config.health_host,
                config.health_port,
                alive=lambda: self._alive(heartbeat),
                ready=lambda: self._ready(heartbeat),
                degraded=self._degraded,
                metrics=partial(self._metrics, QueueCollector(queue), heartbeat),
            ) as self.port:
                parts = [
                    asyncio.create_task(heartbeat.run(), name="heartbeat"),
                    asyncio.create_task(self.leadership.run(), name="leadership"),
                    asyncio.create_task(self._pulse(), name="pulse"),
                ]
                stopping = asyncio.create_task(self._stopping.wait())
                try:
                    await asyncio.wait([*parts, stopping], return_when=asyncio.FIRST_COMPLETED)
                    failed = [part for part in parts if part.done()]
                finally:
                    for part in (*parts, stopping):
                        part.cancel()
                    await asyncio.gather(*parts, stopping, return_exceptions=True)
                    with contextlib.suppress(QueueError):
                        await heartbeat.leave()
            for part in failed:
                log.error("the part %s ended", part.get_name(), exc_info=part.exception())
            if self.tracing is not None:
                await asyncio.to_thread(self.tracing.close)
            log.info("the operator has ended")
            return 1 if failed else 0

    # while leading -----------------------------------------------------------------------------------

    async def _lead(self, api: ApiServer, queue: Queue, heartbeat: OperatorHeartbeat) -> None:
        await heartbeat.reached()
        cluster_id = await self._cluster(api)
        installation, (given, _) = await queue.installation(), await queue.projections([])
        if self.leadership is not None:
            await self.leadership.tell(installation, self.config.namespaces)
        self._leader = Leader(
            self.config, api, queue, cluster_id, self.meter, self.tracing, installation, given
        )
        try:
            await self._leader.run()
        finally:
            self._leader = None

    async def _cluster(self, api: ApiServer) -> str:
        """The cluster's identity: the uid of the namespace kube-system (H5)."""
        said = ""
        while not self._cluster_id:
            try:
                found = await get_object(api, None, "kube-system", resource=NAMESPACES)
                if found.ok:
                    self._cluster_id = found.body["metadata"]["uid"]
                    break
                problem = "the namespace kube-system does not exist"
            except ApiUnavailable as error:
                problem = str(error)
            if problem != said:
                log.warning(
                    "waiting for the uid of the namespace kube-system, which identifies the cluster"
                    " (by RBAC, `get` on it has to be granted): %s",
                    problem,
                )
                said = problem
            await asyncio.sleep(1)
        return self._cluster_id

    # health ------------------------------------------------------------------------------------------

    async def _pulse(self) -> None:
        while True:
            self._beat_at = time.monotonic()
            await asyncio.sleep(1)

    def _alive(self, heartbeat: OperatorHeartbeat) -> dict[str, str]:
        """What only a restart could mend."""
        now = time.monotonic()
        late, turned = now - self._beat_at, now - heartbeat.turned_at
        refused = now - (heartbeat.login_refused_at or now)
        return {
            "loop": f"stalled for {late:.0f} s" if self._beat_at and late > 30 else "",
            "heartbeat": f"has not tried for {turned:.0f} s"
            if turned > STUCK_SECONDS + self.config.intervals.beat
            else "",
            "login": f"refused by the database for {refused:.0f} s, and the URL comes from the environment"
            if isinstance(self.config.dsn, str) and refused > STUCK_SECONDS
            else "",
        }

    async def _metrics(self, collector: QueueCollector, heartbeat: OperatorHeartbeat) -> str:
        leading = self.leadership is not None and self.leadership.leading
        failing = {(loop.name,): loop.failing_seconds() for loop in self._loops(heartbeat)}
        families = [
            family(Metric.LEADING, leading),
            family(Metric.LOOP_FAILING, {loop: seconds for loop, seconds in failing.items() if seconds}),
        ]
        families += (
            await collector.families()
            if leading
            else [family(Metric.DATABASE_UP, not self._database(heartbeat))]
        )
        if self._leader is not None:
            scopes = self._leader.watch.scopes
            up: dict[tuple[str, ...], float] = {
                (scope.kind.plural, scope.namespace or ""): float(scope.listed) for scope in scopes
            }
            families.append(family(Metric.WATCH_UP, up))
            if self._leader.runs_api is not None:
                families += self._leader.runs_api.families()
        return page([*families, *self.meter.families()])

    def _database(self, heartbeat: OperatorHeartbeat) -> str:
        """What is wrong with the database; empty: nothing."""
        young = (
            heartbeat.beaten_at is not None
            and time.monotonic() - heartbeat.beaten_at < 3 * self.config.intervals.beat + 5
        )
        return "" if young and not heartbeat.problem else heartbeat.problem or "the heartbeat is old"

    def _ready(self, heartbeat: OperatorHeartbeat) -> dict[str, str]:
        leading = self.leadership is not None and self.leadership.leading
        return {
            "database": self._database(heartbeat),
            "tick": heartbeat.tick_problem,
            "watch": self._unwatched() if leading else "",
            "loops": "; ".join(problems(self._loops(heartbeat))),
        }

    def _unwatched(self) -> str:
        """Empty where everything is watched that can be, and that is something."""
        if self._leader is None:
            return "no watch is up yet"
        watch = self._leader.watch
        said = "; ".join(f"{name}: {why or 'not listed yet'}" for name, why in watch.problems.items())
        return "" if watch.ready else said or "no watch is up yet"

    def _degraded(self) -> dict[str, str]:
        """Kinds and namespaces that cannot be watched, while others are; why there is no runs API."""
        if self._leader is None:
            return {}
        runs_api = self._leader.runs_api
        return dict(self._leader.watch.problems) | ({"runs API": runs_api.problem()} if runs_api else {})

    def _loops(self, heartbeat: OperatorHeartbeat) -> Iterator[LoopHealth]:
        yield from (heartbeat.beating, heartbeat.ticking, heartbeat.pruning)
        if self.leadership is not None:
            yield self.leadership.health
        if self._leader is not None:
            yield from self._leader.loops
