"""A schedule's status shows one generation of its object: never an edited spec beside the decision before the edit."""

from __future__ import annotations

from typing import Any, cast

from agentjobs.controller.metrics.counters import Counters
from agentjobs.controller.scheduledagentjob.cache import ScheduleCache
from agentjobs.controller.scheduledagentjob.cached_schedule import CachedSchedule
from agentjobs.controller.scheduledagentjob.cluster_objects import ClusterObjects
from agentjobs.controller.scheduledagentjob.status_writer import ScheduleStatusWriter
from agentjobs.controller.scheduledagentjob.write_gate import WriteGate
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
