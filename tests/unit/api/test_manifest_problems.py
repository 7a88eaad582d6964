"""The second gate refuses what the API server refuses, and what schema and CEL cannot say."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from agentjobs.api.agentjob import AgentJob
from agentjobs.api.validation import Problem, problems_of
from agentjobs.values.reasons import Reason
from manifests import BASES, Case, changed, name_of, table

BAD = [*table("bad_manifests.yaml", "create"), *table("bad_manifests.yaml", "later")]


def problems(resource: str = "job", **changes: Any) -> list[Problem]:
    return problems_of(changed(BASES[resource], {k.replace("__", "."): v for k, v in changes.items()}))


def test_the_table_has_at_least_sixty_bad_manifests() -> None:
    assert len(BAD) + len(table("bad_manifests.yaml", "update")) >= 60


@pytest.mark.parametrize("case", BAD, ids=name_of)
def test_invariant_13_a_bad_manifest_is_refused_and_its_field_named(case: Case) -> None:
    found = problems_of(case.manifest())
    assert any(case.field in problem.field and case.says in problem.message for problem in found), found


@pytest.mark.parametrize("case", table("good_manifests.yaml", "create"), ids=name_of)
def test_a_good_manifest_has_no_problems(case: Case) -> None:
    assert problems_of(case.manifest()) == []


def test_all_problems_are_told_at_once() -> None:
    found = problems(spec__priority=10, spec__queue="A", spec__prompt="x", metadata__name="B")
    assert {p.field for p in found} == {"metadata.name", "spec.priority", "spec.queue", "spec.prompt"}


def test_a_problem_reads_as_field_wish_and_value() -> None:
    assert [str(p) for p in problems(spec__priority=10)] == ["spec.priority: wants at most 9, got 10"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sessionId", "sessionID"),
        ("session_id", "sessionID"),
        ("mesage", "message"),
        ("maxAttempt", "maxAttempts"),
    ],
)
def test_an_unknown_field_is_answered_with_the_one_that_was_meant(written: str, meant: str) -> None:
    assert problems(**{f"spec__{written}": "x"}) == [
        Problem(f"spec.{written}", f"unknown field; did you mean {meant}?")
    ]


def test_a_field_of_a_newer_definition_is_no_problem_in_a_stored_object() -> None:
    newer = changed(BASES["job"], {"spec.notifyURL": "x", "spec.agent.remote": "y"})
    assert problems_of(newer, stored=True) == []
    assert AgentJob.model_validate(newer).spec.message == "hello"


def test_texts_of_the_conversation_are_never_repeated() -> None:
    secret = "my-secret"
    inline = {
        "name": "a",
        "model": "echo",
        "instruction": [secret],
        "generateContentConfig": {"stopSequences": secret},
    }
    found = problems(spec__agent={"inline": inline}, spec__message={"text": secret})
    assert len(found) == 3
    assert secret not in str(found)


def test_nulls_are_absent_fields_as_for_the_api_server() -> None:
    manifest = changed(BASES["job"], {})
    manifest["spec"] |= {"queue": None, "sessionID": None, "budget": None}
    assert problems_of(manifest) == []


def test_a_time_that_yaml_loaded_as_a_datetime_is_a_time() -> None:
    moment = datetime.datetime(2026, 12, 1, 9, tzinfo=datetime.UTC)
    manifest = changed(BASES["job"], {"spec.scheduledTime": moment})
    assert problems_of(manifest) == []
    assert AgentJob.model_validate(manifest).spec.scheduled_time == "2026-12-01T09:00:00Z"


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        ({}, "apiVersion"),
        ({"apiVersion": "batch/v1", "kind": "Job"}, "apiVersion"),
        ({"apiVersion": "agentjobs.dev/v1alpha1", "kind": "Agent"}, "kind"),
        ({"apiVersion": "agentjobs.dev/v1alpha1", "kind": ["AgentJob"]}, "kind"),
        (changed(BASES["job"], {"metadata": "x"}), "metadata"),
        (changed(BASES["job"], {"metadata": {}}), "metadata.name"),
        (changed(BASES["job"], {"metadata.labels": {"a": 1}}), "metadata.labels.a"),
        (changed(BASES["job"], {"spec": "x"}), "spec"),
        (changed(BASES["schedule"], {"spec.jobTemplate": []}), "spec.jobTemplate"),
    ],
)
def test_what_is_no_manifest_is_refused_too(manifest: dict[str, Any], field: str) -> None:
    assert field in [problem.field for problem in problems_of(manifest)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"spec__schedule": "60 * * * *"}, Reason.UNPARSEABLE_SCHEDULE),
        ({"spec__timeZone": "Mars/Phobos"}, Reason.UNKNOWN_TIME_ZONE),
        ({"spec__failedJobsHistoryLimit": -1}, Reason.INVALID_SPEC),
    ],
)
def test_a_schedules_problem_has_the_reason_of_its_condition(changes: dict[str, Any], reason: Reason) -> None:
    assert [problem.reason for problem in problems("schedule", **changes)] == [reason]


def test_a_long_value_is_shown_shortened() -> None:
    (problem,) = problems(spec__userID=" " * 60 + "x" * 3, spec__queue="agents")
    assert len(problem.message) < 250
