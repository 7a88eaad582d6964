"""Schedules of a local run: the operator's scheduler, with the queue in place of an API server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Self
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5
from zoneinfo import ZoneInfo

from agentjobs.api.agentjob import AgentJob
from agentjobs.api.given import InputProblem
from agentjobs.api.meta import GROUP, SCHEDULED_TIME, format_time
from agentjobs.api.scheduledagentjob import ScheduledAgentJob
from agentjobs.cli.errors import BadInput
from agentjobs.cli.local.sources import Sources, given_to
from agentjobs.controller.agentjob.object_change import Gate, change_of
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.scheduledagentjob.cluster_objects import Created, Refused
from agentjobs.controller.scheduledagentjob.embedded_scheduler import (
    EmbeddedScheduler,
    ScheduleEventReason,
    ScheduleView,
    owner_reference,
)
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import JobView, NewJob, ObjectRef
from agentjobs.values.json import JsonObject

CLUSTER = "local"
NO_SOURCES: Sources = MappingProxyType({})
TOLD = frozenset(ScheduleEventReason) - {
    ScheduleEventReason.SUCCESSFUL_CREATE,
    ScheduleEventReason.SAW_COMPLETED_JOB,
}
"""Events that people see. Creations and ends are left out, since the table and the answers show them."""


def new_job(job: AgentJob, uid: UUID | None = None, sources: Sources = NO_SOURCES) -> NewJob:
    """The job that the operator would enqueue for an AgentJob created now, without a status to project.

    :param sources: the ConfigMaps and Secrets that are there.
    :raises BadInput: the operator would reject the AgentJob.
    """
    metadata = {
        **job.metadata.as_json(),
        "uid": str(uid or uuid4()),
        "creationTimestamp": datetime.now(UTC).isoformat(),
    }
    try:
        given = given_to(job.spec, job.metadata.namespace, sources)
    except InputProblem as problem:
        raise BadInput(f"{job.metadata.name}: {problem}") from None
    obj = {**job.as_json(), "metadata": metadata}
    change = change_of(obj, Gate(CLUSTER, restored_label=None), read=given)
    if change.job is None or change.unaccepted is not None:
        _, why = change.rejected or change.unaccepted or ("", "nothing to run")
        raise BadInput(f"{job.metadata.name}: {why}")
    return replace(change.job, ref=None)


@dataclass(slots=True)
class LocalObjects:
    """The scheduler's ``ClusterObjects``: a child is a job in the queue; its uid follows from schedule and
    name."""

    queue: Queue
    on_created: Callable[[UUID, str], None]
    on_deleted: Callable[[UUID], None]
    sources: Sources = field(default_factory=dict)
    statuses: dict[UUID, JsonObject] = field(default_factory=dict)

    async def create(self, manifest: JsonObject, schedule: UUID) -> Created | Refused:
        name = manifest["metadata"]["name"]
        uid = child_uid(schedule, name)
        await self.queue.enqueue([new_job(AgentJob.model_validate(manifest), uid, self.sources)])
        self.on_created(uid, name)
        return Created(uid)

    async def find(self, namespace: str, name: str, schedule: UUID) -> UUID | None:
        uid = child_uid(schedule, name)
        return uid if await self.queue.show(uid) is not None else None

    async def cancel(self, namespace: str, name: str, uid: str) -> None:
        await self.queue.cancel(UUID(uid))

    async def delete(self, namespace: str, name: str, uid: str) -> bool:
        self.on_deleted(UUID(uid))
        return True

    async def write_status(self, ref: ObjectRef, uid: UUID, status: JsonObject, refusals: int = 0) -> bool:
        self.statuses[uid] = status
        return True


class LocalSchedules:
    """The schedules of a run. With a kept database they go on where an earlier run ended."""

    def __init__(
        self,
        queue: Queue,
        schedules: Sequence[ScheduledAgentJob],
        say: Callable[[str], None],
        on_created: Callable[[UUID, str], None],
        on_deleted: Callable[[UUID], None],
        sources: Sources = NO_SOURCES,
    ) -> None:
        self.objects = LocalObjects(queue, on_created, on_deleted, sources)
        self._say = say
        self.scheduler = EmbeddedScheduler(queue, self.objects, CLUSTER, self._record, coalesce_seconds=0.1)
        self.schedules = {_uid(schedule): schedule for schedule in schedules}
        self._firing: asyncio.Task[None] | None = None

    def _record(self, event: ObjectEvent) -> None:
        if event.reason in TOLD:
            self._say(f"{event.ref.name}: {event.message} ({event.reason.value})")

    async def __aenter__(self) -> Self:
        # a generation newer than an earlier run's, so that the present manifests count
        generation = int(time.time())
        for uid, schedule in self.schedules.items():
            self.scheduler.enqueue_schedule(_object(uid, schedule, generation))
        self._firing = asyncio.create_task(self.scheduler.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stops all schedules."""
        if self._firing is not None:
            self._firing.cancel()
            await asyncio.wait([self._firing])

    def check(self) -> None:
        """Raises the error that ended the scheduler, if one did."""
        if self._firing is not None and self._firing.done() and not self._firing.cancelled():
            self._firing.result()

    def saw(self, job: JobView) -> None:
        """Tells the scheduler a job's present state. Jobs of no schedule are ignored."""
        schedule: Mapping[str, str] = (job.payload or {}).get("schedule") or {}
        if not schedule:
            return
        child: JsonObject = {
            "metadata": {
                "name": (job.payload or {}).get("name", ""),
                "uid": str(job.uid),
                "annotations": {SCHEDULED_TIME: schedule.get("time", "")},
                "ownerReferences": [owner_reference(schedule.get("uid", ""))],
            },
            "status": {"state": job.state.value},
        }
        self.scheduler.enqueue_child(child)

    @property
    def over(self) -> bool:
        """Whether no schedule will create another job."""
        views = [self.scheduler.view(uid) for uid in self.schedules]
        return all(view is not None and view.finished for view in views)

    @property
    def missed(self) -> bool:
        """Whether a one shot created no job, because it came too late."""
        views = [self.scheduler.view(uid) for uid in self.schedules]
        return any(view is not None and view.missed for view in views)

    def lines(self) -> list[str]:
        """A line for people about each schedule: its next tick, in its own time zone."""
        return [
            self._line(view, schedule)
            for uid, schedule in self.schedules.items()
            if (view := self.scheduler.view(uid)) is not None
        ]

    def _line(self, view: ScheduleView, schedule: ScheduledAgentJob) -> str:
        name, zone = schedule.metadata.name, schedule.spec.time_zone
        when = schedule.spec.schedule or "once"
        if view.finished:
            return f"{name}: {when}, over"
        if view.next_tick is None:
            return f"{name}: {when}"
        local = view.next_tick.astimezone(ZoneInfo(zone))
        return f"{name}: {when}, next at {local:%Y-%m-%d %H:%M} {zone}"


def child_uid(schedule: UUID, name: str) -> UUID:
    """The uid of a child, which follows from its name: a second creation is the same job, and changes
    nothing."""
    return uuid5(schedule, name)


def _uid(schedule: ScheduledAgentJob) -> UUID:
    return uuid5(NAMESPACE_URL, f"{GROUP}/{schedule.metadata.namespace}/{schedule.metadata.name}")


def _object(uid: UUID, schedule: ScheduledAgentJob, generation: int) -> JsonObject:
    metadata = {
        **schedule.metadata.as_json(),
        "uid": str(uid),
        "generation": generation,
        "creationTimestamp": format_time(datetime.now(UTC)),
    }
    return {**schedule.as_json(), "metadata": metadata}
