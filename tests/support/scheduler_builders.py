"""Small builders for the scheduler's tests: a test names only what it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from agentjobs.controller.scheduledagentjob.parsed_schedule import ParsedSchedule, parsed_schedule
from agentjobs.queue.schedules import ScheduleRow, Tick
from agentjobs.values.json import JsonObject

UID = UUID("11111111-2222-3333-4444-555555555555")
ME = UUID(int=1)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def schedule_object(
    spec: JsonObject | None = None, status: JsonObject | None = None, **meta: Any
) -> JsonObject:
    """As the API server sends it: hourly in Berlin."""
    template = {
        "spec": {"agent": {"module": "agents.hello"}, "message": "hello", "queue": "scheduled", "priority": 0}
    }
    given = {"schedule": "0 * * * *", "timeZone": "Europe/Berlin", "jobTemplate": template} | (spec or {})
    return {
        "metadata": {
            "name": "brief",
            "namespace": "team",
            "uid": str(UID),
            "generation": 1,
            "creationTimestamp": "2026-11-23T10:00:00Z",
        }
        | meta,
        "spec": {key: value for key, value in given.items() if value is not None},
        **({"status": status} if status else {}),
    }


def reading(spec: JsonObject | None = None, **more: Any) -> ParsedSchedule:
    return parsed_schedule(schedule_object(spec, **more), "cluster-1")


def row(**fields: Any) -> ScheduleRow:
    defaults: dict[str, Any] = {
        "uid": UID, "version": 3, "generation": 1, "created_at": NOON - 2 * HOUR, "accepted": True,
        "accepted_at": NOON - 2 * HOUR, "changed_at": None, "suspended": False, "suspended_at": None,
        "unsuspended_at": None, "last_tick": None, "last_successful": None, "last_finished": None, "last_result": None,
        "missed": 0, "run_handled": None, "ticks": (),
    }  # fmt: skip
    return ScheduleRow(**(defaults | fields))


def tick(child: str = "brief-1", **fields: Any) -> Tick:
    defaults: dict[str, Any] = {
        "tick": NOON, "manual": False, "decided_at": NOON, "uid": None, "claimant": ME, "claimed_for_seconds": 15.0,
    }  # fmt: skip
    return Tick(child=child, **(defaults | fields))
