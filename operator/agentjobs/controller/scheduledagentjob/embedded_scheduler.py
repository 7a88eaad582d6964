"""The scheduler outside of an operator: the one module of this package that ``agentjobs local`` imports,
beside ``cluster_objects``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from agentjobs.controller.apiserver.resources import AGENT_JOBS, SCHEDULED_AGENT_JOBS
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.metrics.counters import Counters
from agentjobs.controller.scheduledagentjob.cluster_objects import ClusterObjects
from agentjobs.controller.scheduledagentjob.events import ScheduleEventReason
from agentjobs.controller.scheduledagentjob.scheduler import Scheduler
from agentjobs.queue.schedules import Schedules
from agentjobs.values.json import JsonObject

__all__ = ["EmbeddedScheduler", "ScheduleEventReason", "ScheduleView", "owner_reference"]


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """One schedule, as far as the scheduler knows it now."""

    finished: bool
    """A one shot that has come to its end."""
    missed: bool
    """A one shot that ended without an AgentJob."""
    next_tick: datetime | None


class EmbeddedScheduler:
    """Fires schedules on a queue; objects are whatever ``objects`` makes of them."""

    def __init__(
        self,
        queue: Schedules,
        objects: ClusterObjects,
        cluster_id: str,
        record: Callable[[ObjectEvent], None],
        *,
        coalesce_seconds: float = 1.0,
    ) -> None:
        """``record`` takes each Event over and never waits."""
        self._scheduler = Scheduler(
            queue, objects, cluster_id, Counters(), record, coalesce_seconds=coalesce_seconds
        )

    async def run(self) -> None:
        """Fires until cancelled."""
        await self._scheduler.run()

    def enqueue_schedule(self, obj: JsonObject) -> None:
        """Takes a ScheduledAgentJob, whole, as an API server would send it: new, or changed."""
        self._scheduler.enqueue([WatchEvent(obj, deleted=False, kind=SCHEDULED_AGENT_JOBS)])

    def enqueue_child(self, obj: JsonObject) -> None:
        """Takes an AgentJob: its metadata, with an owner reference to its schedule, and ``status.state``."""
        self._scheduler.enqueue([WatchEvent(obj, deleted=False, kind=AGENT_JOBS)])

    def view(self, uid: UUID) -> ScheduleView | None:
        """None: the schedule's row is not read yet."""
        entry = self._scheduler.cache.entries.get(uid)
        if entry is None or entry.row is None:
            return None
        missed = entry.finished and entry.row.last_result is None
        return ScheduleView(entry.finished, missed, entry.next_tick)


def owner_reference(schedule_uid: str) -> JsonObject:
    """What makes an AgentJob the child of this schedule."""
    return {"controller": True, "kind": SCHEDULED_AGENT_JOBS.kind, "uid": schedule_uid}
