"""Kubernetes Events of a schedule."""

from __future__ import annotations

from uuid import uuid4

import pytest

from agentjobs.controller.kit.event import body_of
from agentjobs.controller.scheduledagentjob import events
from agentjobs.controller.scheduledagentjob.events import ScheduleEventReason
from agentjobs.queue.records import State
from agentjobs.queue.schedules import EndedChild
from scheduler_builders import HOUR, NOON, UID, reading, tick


def ended(state: State, reason: str = "") -> EndedChild:
    return EndedChild(UID, "brief-29", uuid4(), NOON, False, state, reason, NOON, NOON + HOUR / 60)


def test_an_events_name_says_what_it_is_about_so_that_a_repeat_is_refused() -> None:
    body = body_of(events.created(reading(), tick("brief-29"), [], NOON))
    assert body["metadata"] == {"name": f"{UID}.29.successfulcreate", "namespace": "team"}
    assert body["involvedObject"]["kind"] == "ScheduledAgentJob"
    assert body["involvedObject"]["uid"] == str(UID)
    assert body["type"] == "Normal"
    assert body["message"] == "Created brief-29 for 2026-11-23T12:00:00Z"


@pytest.mark.parametrize(
    ("child", "said"),
    [
        (ended(State.COMPLETE, "Completed"), "brief-29: Complete after 60s"),
        (ended(State.FAILED, "ToolFailed"), "brief-29: Failed (ToolFailed) after 60s"),
        (ended(State.CANCELLED, "Cancelled"), "brief-29: Cancelled after 60s"),
    ],
)
def test_an_end_is_told_with_state_and_duration(child: EndedChild, said: str) -> None:
    assert events.completed(reading(), child).message == said


def test_missed_ticks_are_told_in_one_event_with_their_number() -> None:
    one = events.missed(reading(), 1, NOON, NOON)
    assert one.message == "The tick of 2026-11-23T12:00:00Z was missed"
    many = events.missed(reading(), 167, NOON, NOON)
    assert many.message == "167 ticks up to 2026-11-23T12:00:00Z were missed"
    assert body_of(many)["type"] == "Warning"


def test_a_refusal_says_whether_it_is_tried_again() -> None:
    again = events.refused(reading(), tick("brief-29"), "403 quota", NOON, again=True)
    assert again.message == "brief-29 was not created: 403 quota; it is tried again until the next tick"
    final = events.refused(reading(), tick("brief-29"), "422 no", NOON, again=False)
    assert final.message.endswith("; the tick is given up")


def test_what_is_not_accepted_has_cronjobs_reason() -> None:
    for spec, reason in (
        ({"timeZone": "Mars/Phobos"}, ScheduleEventReason.UNKNOWN_TIME_ZONE),
        ({"schedule": "x"}, ScheduleEventReason.UNPARSEABLE_SCHEDULE),
        ({"jobTemplate": {}}, ScheduleEventReason.INVALID_SCHEDULE),
    ):
        found = reading(spec)
        assert found.problem is not None
        event = events.not_accepted(found, found.problem, NOON)
        assert event.reason is reason
        assert event.key == "g1"


def test_a_held_tick_names_who_is_in_its_way() -> None:
    held = events.held(reading(), NOON, ["brief-28"], NOON)
    assert "brief-28 is unfinished" in held.message
    assert body_of(held)["type"] == "Normal"
