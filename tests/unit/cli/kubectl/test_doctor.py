"""What the doctor says of queues, models and schedules of a namespace, as the runs API and the API server list them."""

from __future__ import annotations

from typing import Any

import pytest

from agentjobs.api.names import WATCHED_NAMESPACES
from agentjobs.cli.kubectl.checks import OK, Check, ready_check, unwatched_check
from agentjobs.cli.kubectl.verbs.doctor import model_checks, queue_checks, schedule_checks


def test_a_queue_that_nobody_serves_is_bad_and_a_paused_one_is_told() -> None:
    queues = [
        {"metadata": {"name": "agents"}, "status": {"byState": {"Queued": 3}, "slots": 10}},
        {"metadata": {"name": "nightly"}, "status": {"byState": {"Queued": 1200, "Scheduled": 1}, "slots": 0}},
        {"metadata": {"name": "scaled-to-zero"}, "status": {"waiting": 2, "byState": {"Scheduled": 2}, "slots": 0}},
        {
            "metadata": {"name": "slow"},
            "status": {"slots": 1, "paused": True, "pausedTime": "2026-01-02T03:04:05Z", "pausedBy": "ada",
                       "pausedReason": "a release"},
        },
    ]  # fmt: skip
    assert [(check.name, check.verdict, check.text) for check in queue_checks(queues)] == [
        ("queue nightly", "bad", "1,200 of its jobs wait here, and no live worker serves it"),
        ("queue slow", "warning", "paused since 2026-01-02T03:04:05Z by ada: a release"),
    ]
    assert [check.verdict for check in queue_checks(queues[:1])] == ["ok"]
    assert list(queue_checks([])) == []


def test_a_model_that_is_held_up_is_told_and_one_that_counts_failures_is_not() -> None:
    models = [
        {
            "status": {
                "model": "gemini-2.5-flash",
                "pool": "default",
                "open": True,
                "reason": "ModelAuthFailed",
            }
        },
        {"status": {"model": "echo", "pool": "default", "open": False, "lastFailure": "ModelTimeout"}},
    ]
    (check,) = model_checks(models)
    assert (check.name, check.verdict) == ("model gemini-2.5-flash of pool default", "warning")
    assert check.text.startswith("its jobs wait: ModelAuthFailed;")


def test_a_schedule_that_is_not_accepted_is_told_with_its_reason() -> None:
    refused = {
        "type": "Accepted",
        "status": "False",
        "reason": "UnknownTimeZone",
        "message": "no Mars/Phobos",
    }
    schedules: list[dict[str, Any]] = [
        {"metadata": {"name": "s-tz"}, "status": {"conditions": [refused]}},
        {"metadata": {"name": "fine"}, "status": {"conditions": [{**refused, "status": "True"}]}},
        {"metadata": {"name": "new"}},
    ]
    (check,) = schedule_checks(schedules)
    assert (check.name, check.verdict) == ("schedule s-tz", "warning")
    assert check.text == "does not fire: UnknownTimeZone: no Mars/Phobos"


def lease(name: str, watched: str | None) -> dict[str, Any]:
    annotations = {} if watched is None else {WATCHED_NAMESPACES: watched}
    return {"metadata": {"namespace": "agentjobs", "name": name, "annotations": annotations}}


def test_a_namespace_that_no_operator_watches_is_bad() -> None:
    found = unwatched_check(
        [lease("a-agentjobs-operator", "x,y"), lease("agentjobs-operator", "a,b,c,d,e,f,g")], "team"
    )
    assert found is not None
    assert (found.name, found.verdict) == ("namespace team", "bad")
    assert found.text == (
        "no operator watches team: agentjobs/a-agentjobs-operator watches x, y; agentjobs/agentjobs-operator watches a, b, c, d, e and 2 more."
        " Use one of those (-n), or have it added (watchNamespaces)"
    )


@pytest.mark.parametrize(
    "leases", [[], [lease("agentjobs-operator", "")], [lease("agentjobs-operator", None)],
               [lease("a-agentjobs-operator", "x"), lease("agentjobs-operator", "y,team")]],
)  # fmt: skip
def test_of_a_namespace_that_one_watches_or_may_watch_nothing_is_said(leases: list[dict[str, Any]]) -> None:
    assert unwatched_check(leases, "team") is None


def test_an_operator_that_holds_its_lease_and_has_no_ready_pod_is_bad() -> None:
    metadata, held = (
        {"namespace": "agentjobs", "name": "agentjobs-operator"},
        Check("operator", OK, "held by a"),
    )
    assert ready_check(metadata, {"status": {"replicas": 2, "readyReplicas": 1}}, held) is held
    found = ready_check(metadata, {"status": {"replicas": 2}}, held)
    assert (found.verdict, found.text) == (
        "bad", "held by a, and no pod of it is ready: kubectl logs -n agentjobs deploy/agentjobs-operator",
    )  # fmt: skip
