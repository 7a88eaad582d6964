"""The scheduler of a process that has no API server, as `agentjobs local` runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

from agentjobs.api.meta import format_time
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.scheduledagentjob.cluster_objects import ClusterObjects
from agentjobs.controller.scheduledagentjob.embedded_scheduler import EmbeddedScheduler, ScheduleEventReason
from agentjobs.queue.queue import Queue
from agentjobs.queue.schedules import Found, ScheduleDecision
from queue_builders import until
from scheduler_builders import UID, schedule_object


class SlowToStore(Queue):
    """Stores no decision before ``may_store``."""

    may_store: asyncio.Event
    asked: asyncio.Event

    async def decide_schedules(
        self, claimant: UUID, decisions: Iterable[ScheduleDecision]
    ) -> tuple[frozenset[UUID], Found]:
        self.asked.set()
        await self.may_store.wait()
        return await super().decide_schedules(claimant, decisions)


class Objects:
    async def write_status(self, *_: object) -> bool:
        return True


async def test_a_one_shot_is_not_over_before_its_miss_is_stored_and_told(dsn: str) -> None:
    told: list[ObjectEvent] = []
    async with await SlowToStore.open(dsn) as queue:
        queue.may_store, queue.asked = asyncio.Event(), asyncio.Event()
        scheduler = EmbeddedScheduler(queue, cast(ClusterObjects, Objects()), "local", told.append)
        late = format_time(datetime.now(UTC) - timedelta(hours=2))
        spec = {"schedule": None, "timeZone": None, "scheduledTime": late, "startingDeadlineSeconds": 60}
        scheduler.enqueue_schedule(
            schedule_object(spec, creationTimestamp=format_time(datetime.now(UTC) - timedelta(hours=3)))
        )
        running = asyncio.create_task(scheduler.run())
        try:
            await asyncio.wait_for(queue.asked.wait(), 60)
            view = scheduler.view(UID)
            assert view is not None
            assert not view.finished, "it is decided, and nobody knows yet"
            queue.may_store.set()

            async def over() -> bool:
                seen = scheduler.view(UID)
                return seen is not None and seen.finished and seen.missed

            await until(over)
            assert ScheduleEventReason.MISS_SCHEDULE in {event.reason for event in told}
        finally:
            running.cancel()
            await asyncio.wait([running])
