"""Many schedules at once hold nothing else up: their next times are computed in slices."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import cast

from agentjobs.controller.apiserver.resources import SCHEDULED_AGENT_JOBS
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.metrics.counters import Counters
from agentjobs.controller.scheduledagentjob.cluster_objects import ClusterObjects
from agentjobs.controller.scheduledagentjob.scheduler import Scheduler
from agentjobs.queue.schedules import Found, Schedules, SeenSchedule, Waiting
from scheduler_builders import HOUR, NOON, row, schedule_object

MANY = 1500


class HollowQueue:
    """Answers at once, as for objects that were not seen before."""

    async def save_schedules(self, seen: Iterable[SeenSchedule], now: datetime) -> Found:
        return Found(NOON, {one.uid: row(uid=one.uid, created_at=NOON) for one in seen})

    async def waiting_schedules(self, cluster_id: str) -> Waiting:
        return Waiting(NOON, (), ())


class HollowObjects:
    async def write_status(self, *_: object) -> bool:
        return True


async def test_other_tasks_go_on_while_an_operator_that_starts_computes_the_next_time_of_each_schedule() -> (
    None
):
    """Each has a text of its own, 0.1 ms and more: without slices other tasks would not run until all are done."""
    scheduler = Scheduler(
        cast(Schedules, HollowQueue()),
        cast(ClusterObjects, HollowObjects()),
        "cluster-1",
        Counters(),
        lambda event: None,
        clock=lambda: NOON,
        coalesce_seconds=60,
    )
    cache = scheduler.cache
    scheduler.enqueue(
        WatchEvent(
            schedule_object(
                {"schedule": f"{n % 60} {n // 60 % 24} 1-{2 + n // 1440} 3 *"},
                name=f"s-{n}",
                uid=f"00000000-0000-0000-0000-{n:012}",
            ),
            deleted=False,
            kind=SCHEDULED_AGENT_JOBS,
        )
        for n in range(1, MANY)
    )
    running = asyncio.create_task(scheduler.run())
    seen: set[int] = set()
    async with asyncio.timeout(60):
        while len(seen) == 0 or max(seen) < MANY - 1:
            await asyncio.sleep(0)
            seen.add(sum(entry.next_tick is not None for entry in cache.entries.values()))
    running.cancel()
    await asyncio.wait([running])
    assert len(seen - {0, MANY - 1}) >= 3, "it ran in between, several times"
    assert all(entry.next_tick > NOON + HOUR for entry in cache.entries.values() if entry.next_tick)
