"""From a ScheduledAgentJob's object to what the scheduler needs of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agentjobs.api.act import ObjectAct, text_of
from agentjobs.api.names import ACT
from agentjobs.controller.scheduledagentjob.parsed_schedule import edited_at, parsed_schedule
from agentjobs.schedule.decide import ConcurrencyPolicy, MissedRunPolicy
from agentjobs.values.reasons import Reason
from agentjobs.values.verbs import Verb
from scheduler_builders import NOON, reading, schedule_object


def test_a_spec_is_read_with_its_defaults() -> None:
    found = reading()
    assert found.problem is None
    assert found.spec is not None
    assert (found.spec.name, found.spec.suspend) == ("brief", False)
    assert (found.spec.concurrency, found.spec.missed_runs) == (
        ConcurrencyPolicy.ALLOW,
        MissedRunPolicy.LATEST,
    )
    assert (found.successful_limit, found.failed_limit) == (3, 1)
    assert found.time_zone == "Europe/Berlin"


@pytest.mark.parametrize(
    ("spec", "reason", "said"),
    [
        ({"schedule": "0 25 * * *"}, Reason.UNPARSEABLE_SCHEDULE, "'25' is not a number from 0 to 23"),
        ({"schedule": "@reboot"}, Reason.UNPARSEABLE_SCHEDULE, "wants five fields"),
        (
            {"timeZone": "Mars/Phobos"},
            Reason.UNKNOWN_TIME_ZONE,
            "such as Europe/Berlin or UTC: got 'Mars/Phobos'",
        ),
        ({"timeZone": "local"}, Reason.UNKNOWN_TIME_ZONE, "name the time zone"),
        ({"concurrencyPolicy": "Perhaps"}, Reason.INVALID_SPEC, "spec.concurrencyPolicy"),
        ({"schedule": None}, Reason.UNPARSEABLE_SCHEDULE, "exactly one of schedule and scheduledTime"),
        ({"jobTemplate": None}, Reason.INVALID_SPEC, "spec.jobTemplate: is required"),
    ],
)
def test_invariant_13_what_cannot_be_read_is_told_by_field_and_is_no_error(
    spec: dict[str, Any], reason: Reason, said: str
) -> None:
    found = reading(spec)
    assert found.spec is None
    assert found.problem is not None
    assert found.problem.reason is reason
    assert said in found.problem.message
    assert not found.remembered.accepted


def test_a_field_of_a_newer_definition_is_no_mistake() -> None:
    assert reading({"jitterSeconds": 5}).problem is None


def test_times_are_the_same_however_they_are_spaced() -> None:
    assert reading({"schedule": " 0  * * * * "}).remembered.times == reading().remembered.times
    assert reading({"timeZone": "UTC"}).remembered.times != reading().remembered.times


def test_what_the_objects_own_status_tells_is_remembered() -> None:
    status = {
        "revision": 9,
        "lastScheduleTime": "2026-11-23T12:00:00Z",
        "missedRuns": 4,
        "conditions": [{"type": "Suspended", "status": "True"}],
    }
    found = parsed_schedule(schedule_object(status=status), "c").remembered
    assert (found.last_tick, found.missed, found.revision, found.was_suspended) == (NOON, 4, 9, True)


def field(manager: str, time: str, *fields: str, **more: Any) -> dict[str, Any]:
    owned: dict[str, dict[str, Any]] = {f"f:{name}": {} for name in fields}
    return {"manager": manager, "time": time, "fieldsV1": {"f:spec": owned}, **more}


def test_the_edit_of_what_decides_is_dated_by_who_owns_it() -> None:
    meta = {
        "managedFields": [
            field("a", "2026-11-23T10:00:00Z", "schedule", "jobTemplate"),
            field("b", "2026-11-23T11:00:00Z", "suspend"),
            field("c", "2026-11-23T12:00:00Z", "jobTemplate"),
            field("d", "2026-11-23T13:00:00Z", "schedule", subresource="status"),
            {"manager": "e", "time": "2026-11-23T14:00:00Z", "fieldsV1": {"f:metadata": {}}},
        ]
    }
    assert edited_at(meta) == datetime(2026, 11, 23, 11, tzinfo=UTC)
    assert edited_at({}) is None


def test_an_edit_that_was_watched_happened_just_now() -> None:
    obj = schedule_object(managedFields=[field("a", "2026-11-23T10:00:00Z", "schedule")])
    assert parsed_schedule(obj, "c").remembered.edited_at is not None
    assert parsed_schedule(obj, "c", watched=True).remembered.edited_at is None


def test_h6_a_request_is_bounded_and_can_be_stored() -> None:
    annotations = {"agentjobs.dev/run-requested-at": "now\x00" + "x" * 1000}
    found = parsed_schedule(schedule_object(annotations=annotations), "c").run_requested
    assert found is not None
    assert found.startswith("now\N{REPLACEMENT CHARACTER}x")
    assert len(found) == 256


@pytest.mark.parametrize(
    ("text", "actor"),
    [
        (text_of(ObjectAct("anna", Verb.SUSPEND, "too dear")), "anna"),
        ('{"by": "anna"', None),
        ("", None),
    ],
)
def test_who_changed_the_schedule_is_handed_on_as_the_annotation_says(text: str, actor: str | None) -> None:
    act = reading(annotations={ACT: text}).remembered.act
    assert (act and act.act and act.act.actor) == actor
    assert (act is None) == (not text)
