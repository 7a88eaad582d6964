"""What the doctor says of queues, models and schedules of a namespace, as the runs API and the API server list them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from agentjobs.api.names import INSTALLATION_LABEL, MANAGED_BY, WATCHED_NAMESPACES
from agentjobs.cli.kubectl.apiserver import ApiServer
from agentjobs.cli.kubectl.checks import (
    OK,
    Check,
    foreign,
    leader_check,
    left_behind,
    ready_check,
    shared_check,
    unwatched_check,
    without_operator,
)
from agentjobs.cli.kubectl.reply import Reply
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
        "bad", "held by a, and no pod of it is ready: kubectl logs -n agentjobs -l app.kubernetes.io/component=operator --prefix",
    )  # fmt: skip


def test_the_pod_that_leads_has_to_be_ready_not_only_the_one_that_waits() -> None:
    lease = {"metadata": {"namespace": "agentjobs", "name": "agentjobs-operator"}}
    held = Check("operator agentjobs/agentjobs-operator", OK, "held by agentjobs-operator-1_x")

    def pod(ready: str) -> dict[str, Any]:
        conditions = [{"type": "Ready", "status": ready}]
        return {"metadata": {"name": "agentjobs-operator-1"}, "status": {"conditions": conditions}}

    assert leader_check(lease, pod("True"), held) == held
    assert leader_check(lease, {}, held) == held, "it may not be read"
    found = leader_check(lease, pod("False"), held)
    assert found.verdict == "bad"
    assert found.text.endswith(
        "that pod is not ready: one of its loops fails; kubectl logs -n agentjobs agentjobs-operator-1"
    )


@pytest.mark.parametrize(
    ("watched", "told"),
    [
        (("", "team"), "2 operators watch team: one/agentjobs-operator, two/agentjobs-operator"),
        (("team,more", "more"), ""),
        (("", None), ""),  # an older one does not tell
        (("",), ""),
    ],
)
def test_two_operators_of_one_namespace_are_told(watched: tuple[str | None, ...], told: str) -> None:
    leases = [
        {"metadata": {"namespace": name, "name": "agentjobs-operator", "annotations": {} if one is None else {WATCHED_NAMESPACES: one}}}
        for name, one in zip(("one", "two"), watched, strict=False)
    ]  # fmt: skip
    found = shared_check(leases, "team")
    assert (found is not None) == bool(told)
    if found is not None:
        assert found.verdict == "warning"
        assert found.text.startswith(told)


NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
THEIRS, OURS = "0b9d4f7e-0000-4000-8000-000000000001", "0b9d4f7e-0000-4000-8000-000000000002"


def lease_of(installation: str | None, renewed_seconds_ago: float = 3) -> dict[str, Any]:
    renewed = (NOW - timedelta(seconds=renewed_seconds_ago)).isoformat().replace("+00:00", "Z")
    return {
        "metadata": {"name": "agentjobs-operator", "namespace": "agents", "labels": {INSTALLATION_LABEL: installation} if installation else {}},
        "spec": {"holderIdentity": "one", "renewTime": renewed, "leaseDurationSeconds": 15},
    }  # fmt: skip


def marked(installation: str, uid: str = "u1") -> dict[str, Any]:
    annotations = {MANAGED_BY: f"{installation}/{uid}"}
    return {"kind": "AgentJob", "metadata": {"name": "pay", "namespace": "team", "uid": "u1", "annotations": annotations}}  # fmt: skip


def test_an_object_of_an_installation_that_is_gone_is_told_with_how_to_hand_it_over() -> None:
    told = foreign([lease_of(OURS), lease_of(THEIRS, 3600)], [marked(OURS), marked(THEIRS)], NOW)
    assert told.startswith(f"pay belongs to the installation {THEIRS}, of which no operator runs here")
    assert told.endswith(f"kubectl annotate agentjob pay -n team {MANAGED_BY}-")


@pytest.mark.parametrize(
    ("why", "leases", "objects"),
    [
        ("its operator runs", [lease_of(OURS)], [marked(OURS)]),
        ("no operator runs at all", [lease_of(OURS, 3600)], [marked(THEIRS)]),
        ("no Lease can be read", [], [marked(THEIRS)]),
        (
            "an older operator does not tell its installation",
            [lease_of(OURS), lease_of(None)],
            [marked(THEIRS)],
        ),
        ("the mark is of the object that this is a copy of", [lease_of(OURS)], [marked(THEIRS, "another")]),
    ],
)
def test_whose_an_object_is_is_not_told_where_it_is_not_known(
    why: str, leases: list[dict[str, Any]], objects: list[dict[str, Any]]
) -> None:
    assert foreign(leases, objects, NOW) == "", why


@pytest.mark.parametrize(("another", "verdict"), [(True, "warning"), (False, "bad")])
def test_the_lease_of_a_release_that_is_gone_is_no_fault_of_the_one_that_runs(
    another: bool, verdict: str
) -> None:
    check = Check(
        "operator old/agentjobs-operator", "bad", "nobody holds its Lease: no operator runs; kubectl get pods"
    )
    found = left_behind({"namespace": "old", "name": "agentjobs-operator"}, check, another=another)
    assert found.verdict == verdict
    assert found.text == (
        "nobody holds its Lease: no operator runs, and its release is gone: kubectl delete lease -n old agentjobs-operator"
    )


class NarrowServer:
    """Leases may be read in one namespace alone, where an operator of another installation has one."""

    namespace = "agents"

    def request(self, verb: str, path: str) -> Reply:
        if "/namespaces/agents/leases" in path:
            return Reply(200, json.dumps({"items": [lease_of(OURS)]}).encode())
        return Reply(403, b"{}")

    def done(self, reply: Reply, what: str) -> Any:
        return reply.json()

    def now(self) -> datetime:
        return NOW


def test_whose_an_object_is_is_not_concluded_from_the_leases_of_one_namespace() -> None:
    assert without_operator(cast(ApiServer, NarrowServer()), [marked(THEIRS)]) == ""
