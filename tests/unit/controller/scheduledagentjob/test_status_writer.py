"""A schedule's status shows one generation of its object, never an edited spec beside the decision before the edit; what
fails to be written is written later."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast
from uuid import UUID

import pytest

from agentjobs.controller.metrics.counters import TASK_FAILURES, Counters
from agentjobs.controller.scheduledagentjob.cache import ScheduleCache
from agentjobs.controller.scheduledagentjob.cached_schedule import CachedSchedule
from agentjobs.controller.scheduledagentjob.children import Children
from agentjobs.controller.scheduledagentjob.cluster_objects import ClusterObjects
from agentjobs.controller.scheduledagentjob.status_writer import ScheduleStatusWriter
from agentjobs.controller.scheduledagentjob.write_gate import WriteGate
from agentjobs.queue.records import ObjectRef
from controller_builders import until
from scheduler_builders import HOUR, NOON, UID, reading, row, schedule_object


def wanted(entry: CachedSchedule) -> dict[str, Any] | None:
    cache = ScheduleCache(lambda: NOON)
    cache.entries[UID] = entry
    writer = ScheduleStatusWriter(cache, WriteGate(), cast(ClusterObjects, None), Counters())
    return writer._wanted(entry)


def test_an_edited_schedule_is_shown_once_it_is_decided() -> None:
    entry = CachedSchedule.of(reading(), schedule_object())
    entry.row, entry.next_tick, entry.decided_generation = row(), NOON + HOUR, entry.parsed.generation
    shown = wanted(entry)
    assert shown is not None
    assert "nextScheduleTime" in shown

    edited = reading({"schedule": "0 * * * *", "suspend": True}, generation=entry.parsed.generation + 1)
    entry.parsed, entry.row = edited, row(generation=edited.generation)
    assert wanted(entry) is None, "its child is being created: the decision is that of the spec before"

    entry.next_tick, entry.decided_generation = None, edited.generation
    shown = wanted(entry)
    assert shown is not None
    assert "nextScheduleTime" not in shown


class FailingObjects:
    """Writes statuses after some unexpected errors."""

    def __init__(self, failures: int) -> None:
        self.failures, self.written = failures, 0

    async def write_status(self, ref: ObjectRef, uid: UUID, status: dict[str, object], refusals: int) -> bool:
        if self.failures:
            self.failures -= 1
            raise ValueError("an error in a projection")
        self.written += 1
        return True


@pytest.mark.parametrize("where", ["in the write", "before it"])
async def test_a_status_that_an_unexpected_error_held_up_is_tried_again_with_a_back_off(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, objects, meter = ScheduleCache(lambda: NOON), FailingObjects(2), Counters()
    if where == "before it":
        failures, objects.failures = [ValueError(), ValueError()], 0
        active = Children.active

        def failing(self: Children, schedule: UUID) -> object:
            if failures:
                raise failures.pop()
            return active(self, schedule)

        monkeypatch.setattr(Children, "active", failing)
    entry = CachedSchedule.of(reading(), schedule_object())
    entry.row, entry.next_tick, entry.decided_generation = row(), NOON + HOUR, entry.parsed.generation
    cache.entries[UID] = entry
    writer = ScheduleStatusWriter(
        cache, WriteGate(), cast(ClusterObjects, objects), meter, coalesce_seconds=0.0
    )
    running = asyncio.create_task(writer.run())
    started = time.monotonic()
    writer.enqueue(UID)
    await until(lambda: objects.written == 1, within=60.0)
    assert time.monotonic() - started > 0.4 + 0.8, "half a second, then a second, less the jitter"
    assert meter.total(TASK_FAILURES, part="scheduler") == 2
    assert not writer._backoff._namespaces
    running.cancel()
