"""The status of a ScheduledAgentJob as a function of its row, its object and its children."""

from __future__ import annotations

from typing import Any

import pytest

from agentjobs.api.scheduledagentjob import ScheduledAgentJobStatus
from agentjobs.controller.kit.status_digest import status_digest
from agentjobs.controller.scheduledagentjob.status import schedule_status
from agentjobs.queue.records import State
from agentjobs.schedule.history import Child
from scheduler_builders import HOUR, NOON, reading, row


def child(n: int) -> Child:
    return Child(f"brief-{n}", f"uid-{n}", NOON, None)


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {c["type"]: (c["status"], c["reason"], c["lastTransitionTime"]) for c in status["conditions"]}


def test_a_new_schedule_says_when_it_is_due() -> None:
    status = schedule_status(reading(), row(), [], NOON, finished=False)
    assert status == {
        "observedGeneration": 1,
        "revision": 3,
        "conditions": [
            {
                "type": "Accepted",
                "status": "True",
                "observedGeneration": 1,
                "lastTransitionTime": "2026-11-23T10:00:00Z",
                "reason": "Accepted",
                "message": "",
            }
        ],
        "nextScheduleTime": "2026-11-23T12:00:00Z",
        "activeCount": 0,
    }


def test_what_happened_is_told_and_the_list_of_the_active_is_bounded() -> None:
    known = row(
        last_tick=NOON, last_successful=NOON - HOUR, last_finished=NOON, last_result=State.FAILED, missed=7
    )
    status = schedule_status(reading(), known, [child(n) for n in range(15)], NOON + HOUR, finished=False)
    ScheduledAgentJobStatus.model_validate(status)
    assert status["activeCount"] == 15
    assert [one["name"] for one in status["active"]] == [f"brief-{n}" for n in range(10)]
    assert (status["lastResult"], status["missedRuns"]) == ("Failed", 7)
    assert status["lastSuccessfulTime"] == "2026-11-23T11:00:00Z"


@pytest.mark.parametrize(
    ("spec", "reason"),
    [({"timeZone": "Mars/Phobos"}, "UnknownTimeZone"), ({"schedule": "x"}, "UnparseableSchedule")],
)
def test_what_is_not_accepted_is_due_never(spec: dict[str, Any], reason: str) -> None:
    status = schedule_status(reading(spec), row(accepted=False, accepted_at=NOON), [], NOON, finished=False)
    assert conditions(status)["Accepted"] == ("False", reason, "2026-11-23T12:00:00Z")
    assert "nextScheduleTime" not in status


def test_a_suspension_is_dated_and_leaves_its_mark() -> None:
    slept = schedule_status(reading(), row(suspended=True, suspended_at=NOON), [], None, finished=False)
    assert conditions(slept)["Suspended"] == ("True", "Suspended", "2026-11-23T12:00:00Z")
    woken = schedule_status(reading(), row(unsuspended_at=NOON + HOUR), [], None, finished=False)
    assert conditions(woken)["Suspended"] == ("False", "Resumed", "2026-11-23T13:00:00Z")


def test_a_one_shot_that_is_over_has_fired_or_was_missed() -> None:
    fired = row(last_tick=NOON, last_finished=NOON + HOUR, last_result=State.COMPLETE)
    status = schedule_status(reading(), fired, [], None, finished=True)
    assert conditions(status)["Finished"] == ("True", "OneShotFired", "2026-11-23T13:00:00Z")
    status = schedule_status(reading(), row(last_tick=NOON, missed=1), [], None, finished=True)
    assert conditions(status)["Finished"] == ("True", "OneShotMissed", "2026-11-23T12:00:00Z")


def test_a_digest_is_of_what_the_status_says_and_not_of_its_revision() -> None:
    status = schedule_status(reading(), row(), [], NOON, finished=False)
    assert status_digest(status) == status_digest({**status, "revision": 99})
    assert status_digest(status) != status_digest({**status, "activeCount": 1})


def test_a_message_is_bounded() -> None:
    spec = {"schedule": "x" * 250, "timeZone": "UTC"}
    status = schedule_status(reading(spec), row(accepted=False), [], None, finished=False)
    ScheduledAgentJobStatus.model_validate(status)
