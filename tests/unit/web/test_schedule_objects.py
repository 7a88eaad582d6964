"""A schedule's next times come from its own grammar, and what is wrong with it is said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from agentjobs.queue.records import State
from agentjobs.queue.schedule_list import ListedSchedule, ScheduleRun
from agentjobs.web.schedule_objects import schedule_of

NOON = datetime(2026, 3, 27, 12, tzinfo=UTC)
UID = UUID(int=1)


def listed(times: str, **fields: Any) -> ListedSchedule:
    given: dict[str, Any] = {
        "accepted": True,
        "suspended": False,
        "missed": 0,
        "active": 0,
        "runs": (),
    } | fields
    return ListedSchedule(UID, "team", "brief", times, NOON, **given)


@pytest.mark.parametrize(
    ("times", "found"),
    [
        # the clocks of Berlin go forward on the 29th
        (
            "0 6 * * * in Europe/Berlin",
            ["2026-03-28T05:00:00Z", "2026-03-29T04:00:00Z", "2026-03-30T04:00:00Z"],
        ),
        ("@hourly in UTC", ["2026-03-27T13:00:00Z", "2026-03-27T14:00:00Z", "2026-03-27T15:00:00Z"]),
        ("at 2026-03-27T12:30:00Z", ["2026-03-27T12:30:00Z"]),
        ("at 2026-03-27T11:30:00Z", []),
    ],
)
def test_the_next_times_are_those_of_the_schedules_zone(times: str, found: list[str]) -> None:
    status = schedule_of(listed(times), NOON).status
    assert status.next_times[:3] == found
    assert status.problem is None


@pytest.mark.parametrize(
    "times", ["every day in UTC", "0 6 * * * in Mars/Base", "None in UTC", "at noon", "x"]
)
def test_what_cannot_be_read_is_a_problem_and_no_error(times: str) -> None:
    status = schedule_of(listed(times), NOON).status
    assert status.problem
    assert status.next_times == []


def test_a_schedule_that_is_not_accepted_has_no_next_time_and_says_so() -> None:
    found = schedule_of(listed("0 6 * * * in UTC", accepted=False, suspended=True), NOON)
    assert (found.spec.schedule, found.spec.time_zone, found.spec.suspend) == ("0 6 * * *", "UTC", True)
    assert found.status.problem
    assert not found.status.next_times


def test_the_last_children_come_the_oldest_first() -> None:
    runs = [ScheduleRun(f"brief-{n}", UID, NOON, State.COMPLETE, "", 1.5) for n in (3, 2, 1)]
    assert [run.name for run in schedule_of(listed("@daily in UTC", runs=runs), NOON).status.last] == [
        "brief-1",
        "brief-2",
        "brief-3",
    ]
