"""The leader: the parts that an operator runs while it holds the Lease, and how watch events reach them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from uuid import UUID

from agentjobs.controller.agentjob.input_reader import InputReader
from agentjobs.controller.agentjob.intake import Intake
from agentjobs.controller.agentjob.object_change import Gate
from agentjobs.controller.agentjob.status_audit import StatusAudit
from agentjobs.controller.agentjob.status_writer import StatusWriter
from agentjobs.controller.agentjob.sweep import AgentJobSweep
from agentjobs.controller.agentjob.ttl_after_finished import TtlAfterFinished
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.listing import version_of
from agentjobs.controller.apiserver.resources import AGENT_JOBS, SCHEDULED_AGENT_JOBS, Resource
from agentjobs.controller.apiserver.watch import ObjectWatch
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.config import OperatorConfig
from agentjobs.controller.kit.event_recorder import EventRecorder, post_event
from agentjobs.controller.kit.ownership import Ownership
from agentjobs.controller.kit.sweep import Sweep
from agentjobs.controller.metrics.counters import Counters
from agentjobs.controller.runs_api.runs_api import RunsApi
from agentjobs.controller.scheduledagentjob.apiserver_objects import ApiServerObjects
from agentjobs.controller.scheduledagentjob.scheduler import Scheduler
from agentjobs.controller.scheduledagentjob.sweep import ScheduleSweep
from agentjobs.queue.errors import QueueError
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State
from agentjobs.telemetry.job_ends import JobEnds
from agentjobs.telemetry.loops import LoopHealth
from agentjobs.telemetry.tracing import Tracing

log = logging.getLogger(__name__)

KINDS = (AGENT_JOBS, SCHEDULED_AGENT_JOBS)
"""Watched kinds."""
SCHEDULES_SETTLE_SECONDS = 5.0
"""After a listing of the watch: the scheduler has stored by then what the watch has shown."""


class Leader:
    """One term: made anew each time that the operator begins to lead, or starts again after a failure."""

    def __init__(
        self,
        config: OperatorConfig,
        api: ApiServer,
        queue: Queue,
        cluster_id: str,
        meter: Counters,
        tracing: Tracing | None,
        installation: UUID,
        given_revision: int,
    ) -> None:
        every, namespaces = config.intervals, frozenset(config.namespaces)
        self._explain_seconds = every.explain
        self._versions: dict[str, int] = {}
        """The resourceVersion in which the watch has shown each object last."""
        self._explaining = LoopHealth("reasons of waiting jobs")
        self.queue = queue
        self.watch = ObjectWatch(api, KINDS, config.namespaces, self.take, self._waiting)
        self.recorder = EventRecorder(partial(post_event, api), meter, held=self._held)
        self.scheduler = Scheduler(
            queue,
            ApiServerObjects(api),
            cluster_id,
            meter,
            self.recorder.record,
            clock=config.clock,
            coalesce_seconds=every.coalesce,
            orphans_seconds=every.orphans,
            access=config.queue_access,
        )
        self.runs_api = (
            RunsApi(api, config.runs_api, installation, self.recorder.record, meter)
            if config.runs_api is not None
            else None
        )
        self.ownership = Ownership(
            api,
            installation,
            cluster_id,
            self._take,
            on_elsewhere=self._let_go,
            record=self.recorder.record,
            release=queue.release_objects,
        )
        # the worker exports the spans of jobs that a run's ack ended
        self.ends = JobEnds(tracing, queue.timelines, unavailable=QueueError, only=lambda job: not job.acked)
        self.statuses = StatusWriter(
            queue,
            api,
            self.recorder,
            every.coalesce,
            every.outbox_poll,
            every.progress,
            config.parallel_writes,
            config.status_output,
            on_ended=self.ends.put,
            is_elsewhere=self.ownership.is_elsewhere,
            overloaded=lambda: self.scheduler.gate.overloaded,
        )
        self.intake = Intake(
            queue,
            Gate(cluster_id, config.queue_access, config.restored_label),
            meter,
            InputReader(api, config.readable_kinds, every.missing_input),
            on_wiped=self.statuses.forget,
            on_refused=self.recorder.record,
            on_gone=self.statuses.gone,
        )
        self.audit = StatusAudit(
            queue,
            api,
            self.statuses.wrote,
            self.statuses.forget,
            self.statuses.written_elsewhere,
            given_revision,
            config.status_output,
        )
        self.ttl = TtlAfterFinished(
            api,
            queue.settled_children,
            config.default_ttl_seconds,
            clock=self.scheduler.cache.database_now,  # whose clock has told when jobs finished
        )
        self.job_sweep = Sweep(
            AgentJobSweep(
                queue,
                api,
                cluster_id,
                namespaces,
                self._has,
                self.intake.has_settled,
                config.mass_vanish_limit,
            ),
            api,
            AGENT_JOBS,
            self.take,
            namespaces,
            every.sweep,
            every.first_sweep,
            watched_version=self._version,
            listing=partial(self.watch.listing, AGENT_JOBS),
        )
        self.schedule_sweep = Sweep(
            ScheduleSweep(self.scheduler, namespaces, self.ownership.is_elsewhere),
            api,
            SCHEDULED_AGENT_JOBS,
            self.take,
            namespaces,
            every.sweep,
            every.first_sweep,
            SCHEDULES_SETTLE_SECONDS,
            watched_version=self._version,
            listing=partial(self.watch.listing, SCHEDULED_AGENT_JOBS),
        )

    @property
    def loops(self) -> list[LoopHealth]:
        """The health of its loops."""
        return [
            self.intake.health,
            self.statuses.reading,
            self.statuses.confirming,
            self.scheduler.health,
            self.job_sweep.health,
            self.schedule_sweep.health,
            self.ends.health,
            self._explaining,
        ]

    async def run(self) -> None:
        """Runs all parts until cancelled; raises where one of them ends."""
        parts = (
            self.intake,
            self.watch,
            self.ownership,
            self.statuses,
            self.audit,
            self.job_sweep,
            self.ttl,
            self.scheduler,
            self.schedule_sweep,
            self.ends,
            self.recorder,
        )
        try:
            async with asyncio.TaskGroup() as group:
                if self.runs_api is not None:
                    group.create_task(self.runs_api.run(), name="RunsApi")
                for part in parts:
                    group.create_task(part.run(), name=type(part).__name__)
                group.create_task(self._listen())
                group.create_task(self._explain())
        finally:
            with contextlib.suppress(QueueError, TimeoutError):
                async with asyncio.timeout(2):
                    await self.intake.flush()
            await self.ends.flush()

    def take(self, batch: list[WatchEvent]) -> None:
        """Hands watch events, and what the sweeps have read, to the parts; never waits."""
        for one in batch:
            meta = one.object["metadata"]
            if one.deleted:
                self._versions.pop(meta["uid"], None)
            elif one.read_at is None:
                self._versions[meta["uid"]] = version_of(meta)
        self._take(self.ownership.mine(batch))
        if any(one.listed and one.kind == SCHEDULED_AGENT_JOBS for one in batch):
            self.schedule_sweep.trigger()
        if any(one.listed and one.kind == AGENT_JOBS for one in batch):
            self.job_sweep.trigger()

    def _take(self, batch: list[WatchEvent]) -> None:
        """Takes events of objects that belong to this installation."""
        self.scheduler.enqueue(batch)
        jobs = [one for one in batch if one.kind == AGENT_JOBS]
        self.intake.enqueue(jobs)
        self.ttl.enqueue(jobs)
        self.audit.enqueue(jobs)
        self.statuses.found_running(running_in(jobs))

    def _let_go(self, event: WatchEvent) -> None:
        """Forgets an object that belongs to another installation, as if it were deleted; its job is released."""
        gone = WatchEvent(event.object, deleted=True, kind=event.kind)
        self.scheduler.enqueue([gone])
        if event.kind == AGENT_JOBS:
            self.ttl.enqueue([gone])
            self.audit.enqueue([gone])
            uid = event.object["metadata"]["uid"]
            self.intake.forget(uid)
            self.statuses.gone([UUID(uid)])

    def _waiting(self, kind: Resource) -> int:
        """How many objects are to be taken in. The scheduler keeps all that it is given."""
        return self.intake.waiting + self.ownership.waiting() if kind == AGENT_JOBS else 0

    def _version(self, uid: str) -> int:
        return self._versions.get(uid, 0)

    def _has(self, uid: str, generation: int) -> bool:
        return self.ownership.is_elsewhere(uid) or self.ownership.has(uid) or self.intake.has(uid, generation)

    def _held(self, kind: Resource) -> bool:
        """Events of schedules wait while many children are created."""
        return kind == SCHEDULED_AGENT_JOBS and self.scheduler.gate.overloaded

    async def _listen(self) -> None:
        async for _ in self.queue.listen(("outbox",)):  # and polls
            self.statuses.wake()

    async def _explain(self) -> None:
        """Has the queue find out why jobs wait, every few seconds."""
        while True:
            try:
                with self._explaining.attempt():
                    await self.queue.explain()
            except QueueError as error:
                log.debug("why jobs wait is found out later: the database does not answer: %s", error)
            await asyncio.sleep(self._explain_seconds)


def running_in(batch: list[WatchEvent]) -> list[UUID]:
    """Objects of a listing that show a running job."""
    return [
        UUID(one.object["metadata"]["uid"])
        for one in batch
        if one.listed and (one.object.get("status") or {}).get("state") == State.RUNNING
    ]
