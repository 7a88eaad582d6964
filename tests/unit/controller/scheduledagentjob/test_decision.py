"""Which part of a decision is stored before it is carried out, and when to decide again."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from agentjobs.controller.scheduledagentjob.cached_schedule import CachedSchedule
from agentjobs.controller.scheduledagentjob.stored_decision import due_again_at, stored_decision
from agentjobs.queue.schedules import ScheduleDecision
from agentjobs.schedule.decide import Abandon, Action, Create, Decision, Missed, Replace, Skip, Wait, Why
from scheduler_builders import HOUR, NOON, UID, reading, row, schedule_object

WAIT = Wait(NOON + HOUR, Why.NOT_DUE)


def entry(confirmed_absent: str | None = None) -> CachedSchedule:
    made = CachedSchedule.of(reading(), schedule_object())
    made.row = row(version=3)
    made.confirmed_absent = confirmed_absent
    return made


def stored(*actions: Action, absent: str | None = None, **fields: datetime | str) -> ScheduleDecision | None:
    return stored_decision(entry(absent), Decision((*actions, WAIT), **fields))  # type: ignore[arg-type]


def test_a_decision_that_only_waits_is_not_stored() -> None:
    assert stored() is None
    assert stored(Skip(NOON, Why.JOB_ALREADY_ACTIVE)) is None


@pytest.mark.parametrize("create", [Create(NOON, "brief-1"), Replace(("u",), NOON, "brief-1")])
def test_a_child_is_stored_before_it_is_created(create: Create | Replace) -> None:
    assert stored(create, decided=NOON) == ScheduleDecision(
        UID, 3, last_tick=NOON, child="brief-1", tick=NOON, manual=False
    )


def test_a_requested_run_moves_no_tick() -> None:
    found = stored(Create(NOON, "brief-run", manual=True), run_handled="now")
    assert found is not None
    assert (found.manual, found.last_tick, found.run_handled) == (True, None, "now")


def test_missed_ticks_are_counted() -> None:
    found = stored(Missed(3, NOON), decided=NOON)
    assert found is not None
    assert (found.missed, found.last_tick, found.child) == (3, NOON, None)


@pytest.mark.parametrize(("absent", "abandoned"), [("brief-1", "brief-1"), (None, None)])
def test_a_tick_is_abandoned_only_where_its_child_was_confirmed_absent(
    absent: str | None, abandoned: str | None
) -> None:
    found = stored(Abandon(NOON), Missed(1, NOON), absent=absent)
    assert found is not None
    assert found.abandon == abandoned


@pytest.mark.parametrize(
    ("until", "wanted"),
    [
        (None, None),
        (NOON + HOUR, NOON + HOUR),
        (NOON - HOUR, NOON + timedelta(milliseconds=1)),
        (NOON, NOON + timedelta(milliseconds=1)),
    ],
)
def test_a_schedule_is_decided_again_when_it_is_due_and_never_at_once(
    until: datetime | None, wanted: datetime | None
) -> None:
    assert due_again_at(Decision((Wait(until, Why.NOT_DUE),)), NOON) == wanted
