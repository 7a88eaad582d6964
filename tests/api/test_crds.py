"""What our definitions are on a real API server: columns, selectors, explanations, and rules of the status."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from agentjobs.api.crd import RESOURCES, Resource
from agentjobs.local.process import wait_until
from clusters import Cluster
from custom_objects import CustomObjects, message_of
from manifests import BASES, changed

STATUS: Mapping[str, Any] = {
    "observedGeneration": 1,
    "revision": 7,
    "state": "Failed",
    "reason": "OutOfMemory",
    "message": "ended after 5 s: it took more memory than this pool gives to one job",
    "attempts": 3,
    "duration": "2m13s",
    "worker": "worker-a",
    "sessionID": "job-1",
    "usage": {"totalTokens": 1234},
    "nextAttemptTime": "2999-01-01T00:00:00Z",
    "conditions": [
        {
            "type": "Finished",
            "status": "True",
            "lastTransitionTime": "2026-11-23T12:00:00Z",
            "reason": "AttemptsExhausted",
            "message": "",
        }
    ],
}


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[CustomObjects]:
    with cluster.namespace() as namespace:
        yield CustomObjects(cluster, namespace)


@pytest.fixture(scope="module")
def shown(cluster: Cluster) -> Iterator[CustomObjects]:
    """A namespace with one AgentJob that failed and one schedule, both named ``case``; only read."""
    with cluster.namespace() as namespace:
        cluster.apply([BASES["job"], BASES["schedule"]], namespace)
        objects = CustomObjects(cluster, namespace)
        objects.write_status("case", STATUS)
        yield objects


@pytest.fixture
def failed(server: CustomObjects) -> str:
    """The name of an AgentJob that failed."""
    name: str = server.create("job", BASES["job"])["metadata"]["name"]
    server.write_status(name, STATUS)
    return name


def row(cluster: Cluster, namespace: str, kind: str, *options: str) -> list[tuple[str, str]]:
    """Heading and cell of each column, by where the headings begin."""
    head, cells = cluster.kubectl("get", kind, "-n", namespace, *options).splitlines()
    starts = [i for i, c in enumerate(head) if c != " " and (i == 0 or head[i - 1] == " ")]
    ends = [*starts[1:], None]
    return [(head[a:b].strip(), cells[a:b].strip()) for a, b in zip(starts, ends, strict=True)]


def test_get_shows_queue_status_reason_attempts_duration(cluster: Cluster, shown: CustomObjects) -> None:
    *columns, (age, _) = row(cluster, shown.namespace, "aj")
    assert age == "AGE"
    assert columns == [
        ("NAME", "case"),
        ("QUEUE", "agents"),
        ("STATUS", "Failed"),
        ("REASON", "OutOfMemory"),
        ("ATTEMPTS", "3"),
        ("DURATION", "2m13s"),
    ]


def test_get_wide_shows_priority_max_worker_session_tokens_next_message(
    cluster: Cluster, shown: CustomObjects
) -> None:
    assert row(cluster, shown.namespace, "agentjobs", "-o", "wide")[7:] == [
        ("PRIORITY", "2"),
        ("MAX", "3"),
        ("WORKER", "worker-a"),
        ("SESSION", "job-1"),
        ("TOKENS", "1234"),
        ("NEXT", "2999-01-01T00:00:00Z"),
        ("MESSAGE", STATUS["message"]),
    ]


def test_get_shows_a_schedules_times_and_whether_it_is_suspended(
    cluster: Cluster, shown: CustomObjects
) -> None:
    columns = row(cluster, shown.namespace, "saj")
    assert columns[:4] == [
        ("NAME", "case"),
        ("SCHEDULE", "*/5 * * * *"),
        ("TIMEZONE", "UTC"),
        ("SUSPEND", "false"),
    ]
    assert [name for name, _ in columns[4:]] == ["ACCEPTED", "REASON", "ACTIVE", "LAST", "NEXT", "AGE"]


def test_the_category_lists_both_kinds(cluster: Cluster, shown: CustomObjects) -> None:
    listed = cluster.kubectl("get", "agents", "-n", shown.namespace, "-o", "name").split()
    assert listed == ["agentjob.agentjobs.dev/case", "scheduledagentjob.agentjobs.dev/case"]


def test_wait_ends_on_the_condition_finished(cluster: Cluster, shown: CustomObjects) -> None:
    assert "condition met" in cluster.kubectl(
        "wait", "aj/case", "-n", shown.namespace, "--for=condition=Finished", "--timeout=60s"
    )


def test_kubectl_selects_by_state(cluster: Cluster, shown: CustomObjects) -> None:
    listed = cluster.kubectl(
        "get", "aj", "-n", shown.namespace, "--field-selector=status.state=Failed", "-o", "name"
    )
    assert listed.split() == ["agentjob.agentjobs.dev/case"]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("spec.queue=agents", ["case"]),
        ("spec.queue=other", []),
        ("status.state=Failed", ["case"]),
        ("status.state!=Failed", []),
        ("status.reason=OutOfMemory,spec.queue=agents", ["case"]),
        ("status.reason=Cancelled", []),
    ],
)
def test_jobs_are_selected_by_queue_state_and_reason(
    shown: CustomObjects, selector: str, found: list[str]
) -> None:
    assert shown.names("job", selector) == found


# descriptions ------------------------------------------------------------------------------------------


def undescribed(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """The fields of our part of a published schema that have no description."""
    for name, node in schema.get("properties", {}).items():
        where = f"{path}.{name}"
        if not node.get("description"):
            yield where
        if name != "metadata" or path.count("."):
            yield from undescribed(node.get("items", node), where)


@pytest.fixture(scope="module")
def published(cluster: Cluster) -> dict[str, Any]:
    """Our schemas as the API server publishes them, which it does a little after it serves them."""
    schemas: dict[str, Any] = {}

    def both_are_there() -> bool:
        answer = cluster.kubectl("get", "--raw", "/openapi/v3/apis/agentjobs.dev/v1alpha1", check=False)
        if answer.startswith("{"):
            schemas.update(json.loads(answer)["components"]["schemas"])
        return all(f"dev.agentjobs.v1alpha1.{r.model.KIND}" in schemas for r in RESOURCES)

    assert wait_until(both_are_there, timeout_seconds=60, every_seconds=0.5)
    return schemas


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.model.KIND)
def test_the_published_schema_describes_every_field(published: dict[str, Any], resource: Resource) -> None:
    schema = published[f"dev.agentjobs.v1alpha1.{resource.model.KIND}"]
    assert schema["properties"]["spec"]["properties"]
    assert list(undescribed(schema, resource.model.KIND)) == []


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("path", ["aj", "aj.spec", "aj.status", "saj.spec", "saj.spec.jobTemplate.spec"])
def test_explain_has_a_description_of_every_field(cluster: Cluster, path: str, tmp_path: Path) -> None:
    # explain trusts kubectl's cache of ten minutes, in which a new definition may be missing
    explained = cluster.kubectl("explain", path, f"--cache-dir={tmp_path}")
    assert "FIELDS:" in explained
    assert "<no description>" not in explained


# status ------------------------------------------------------------------------------------------------


def test_h3_an_older_revision_may_not_replace_a_newer_one(server: CustomObjects, failed: str) -> None:
    with pytest.raises(ApiException) as refused:
        server.write_status(failed, {**STATUS, "revision": 6, "state": "Running"})
    assert refused.value.status == 422
    assert "status.revision: Forbidden: revision may not go back" in message_of(refused.value)
    assert server.names("job", f"metadata.name={failed},status.state=Failed") == [failed]


def test_h3_a_status_without_a_revision_may_not_replace_one_with(server: CustomObjects, failed: str) -> None:
    with pytest.raises(ApiException, match=r"status\.revision"):
        server.write_status(failed, {"state": "Running"})


@pytest.mark.parametrize("revision", [7, 8])
def test_h3_the_same_or_a_newer_revision_replaces_the_whole_status(
    server: CustomObjects, failed: str, revision: int
) -> None:
    status = {"revision": revision, "state": "Queued"}
    assert server.write_status(failed, status)["status"] == status


def test_invariant_11_a_status_may_be_wiped_and_rebuilt(server: CustomObjects, failed: str) -> None:
    assert "status" not in server.write_status(failed, None)
    assert server.write_status(failed, {"revision": 3, "state": "Queued"})["status"]["revision"] == 3


def test_a_status_of_a_newer_operator_is_stored_as_far_as_it_is_known(
    server: CustomObjects, failed: str
) -> None:
    newer = {"revision": 8, "state": "Hibernating", "reason": "FullMoon", "moons": 2}
    known = {key: value for key, value in newer.items() if key != "moons"}
    assert server.write_status(failed, newer)["status"] == known


def test_a_condition_type_stands_once_in_the_list(server: CustomObjects, failed: str) -> None:
    with pytest.raises(ApiException, match=r"status\.conditions\[1\]: Duplicate value"):
        server.write_status(failed, {**STATUS, "conditions": [*STATUS["conditions"], *STATUS["conditions"]]})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("result", "x" * 4097),
        ("reason", "x" * 129),
        ("recentAttempts", [{"number": n, "reason": "ToolFailed"} for n in range(4)]),
        ("recentAttempts", [{"number": 1, "reason": "ToolFailed", "message": "x" * 257}]),
    ],
)
def test_every_size_in_a_status_is_bounded(
    server: CustomObjects, failed: str, field: str, value: object
) -> None:
    with pytest.raises(ApiException, match=rf"status\.{field}"):
        server.write_status(failed, {**STATUS, field: value})


def test_a_status_does_not_change_the_generation_nor_a_spec_the_status(
    server: CustomObjects, failed: str
) -> None:
    stored = server.write_status(failed, {**STATUS, "revision": 8})
    assert stored["metadata"]["generation"] == 1
    replaced = server.replace(
        "job", {**changed(stored, {"spec.priority": 1}), "status": {"state": "Complete"}}
    )
    assert (replaced["metadata"]["generation"], replaced["status"]["state"]) == (2, "Failed")


def test_h7_the_largest_object_with_the_largest_status_can_be_stored(server: CustomObjects) -> None:
    """The API server writes ``<`` as six bytes, so that is the largest text."""
    inline = {"name": "a", "model": "echo", "instruction": "<" * 32_768, "description": "<" * 4096}
    largest = changed(BASES["job"], {"spec.message": "<" * 65_536, "spec.agent": {"inline": inline}})
    name = server.create("job", largest)["metadata"]["name"]
    attempt = {"number": 1, "reason": "R" * 128, "message": "<" * 256}
    condition = {**STATUS["conditions"][0], "message": "<" * 4096}
    status = {
        **STATUS,
        "message": "<" * 4096,
        "result": "<" * 4096,
        "recentAttempts": [attempt] * 3,
        "conditions": [{**condition, "type": f"T{n}"} for n in range(16)],
    }
    assert server.write_status(name, status)["status"] == status


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.model.KIND)
def test_the_server_has_no_complaint_about_the_schema(cluster: Cluster, resource: Resource) -> None:
    crd = json.loads(cluster.kubectl("get", "crd", f"{resource.model.PLURAL}.agentjobs.dev", "-o", "json"))
    conditions = {c["type"]: c["status"] for c in crd["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"
