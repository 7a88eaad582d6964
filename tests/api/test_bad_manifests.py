"""What a real API server says to the tables of bad and good manifests."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from kubernetes.client.exceptions import ApiException

from agentjobs.api.validation import problems_of
from clusters import Cluster, KubectlError
from custom_objects import MODELS, CustomObjects, message_of
from manifests import BASES, Case, at, changed, name_of, table


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[CustomObjects]:
    with cluster.namespace() as namespace:
        yield CustomObjects(cluster, namespace)


@pytest.mark.parametrize("case", table("bad_manifests.yaml", "create"), ids=name_of)
def test_invariant_13_the_api_server_refuses_it_and_names_the_field(
    server: CustomObjects, case: Case
) -> None:
    with pytest.raises(ApiException) as refused:
        server.create(case.resource, case.manifest())
    assert refused.value.status in (400, 422)
    assert case.field in (refused.value.body or "")
    assert case.says in message_of(refused.value)


@pytest.mark.parametrize("case", table("bad_manifests.yaml", "update"), ids=name_of)
def test_a_bad_update_is_refused_and_leaves_the_object_as_it_was(server: CustomObjects, case: Case) -> None:
    stored = server.create(case.resource, case.before())
    wanted = changed(stored, case.set)
    with pytest.raises(ApiException) as refused:
        server.replace(case.resource, wanted)
    assert refused.value.status == 422
    said = message_of(refused.value)
    assert case.says in said
    if "immutable" not in case.says:
        assert case.field in (refused.value.body or "")
        return
    field = case.field.removeprefix("spec.")
    stays = at(stored, case.field) is not None and at(wanted, case.field) is not None
    place = case.field if stays else "spec"  # what is added or removed is no field of both
    assert f"{place}: Forbidden: {field} is immutable: create a new AgentJob with the {field}" in said


@pytest.mark.parametrize("case", table("bad_manifests.yaml", "later"), ids=name_of)
def test_what_schema_and_cel_cannot_say_is_left_to_the_second_gate(server: CustomObjects, case: Case) -> None:
    stored = server.create(case.resource, case.manifest())
    assert [problem.field for problem in problems_of(stored, stored=True)] == [case.field]


@pytest.mark.parametrize("case", table("good_manifests.yaml", "create"), ids=name_of)
def test_a_good_manifest_is_stored_with_defaults_just_as_the_model_fills_them_in(
    server: CustomObjects, case: Case
) -> None:
    stored = server.create(case.resource, case.manifest())
    assert {path: at(stored, path) for path in case.stored} == case.stored
    model = MODELS[case.resource]
    assert model.model_validate(case.manifest()).as_json()["spec"] == stored["spec"]
    assert model.model_validate(stored).as_json()["spec"] == stored["spec"]
    assert problems_of(stored, stored=True) == []


@pytest.mark.parametrize("case", table("good_manifests.yaml", "update"), ids=name_of)
def test_a_good_update_is_accepted(server: CustomObjects, case: Case) -> None:
    stored = server.create(case.resource, case.before())
    replaced = server.replace(case.resource, changed(stored, case.set))
    assert replaced["metadata"]["generation"] >= stored["metadata"]["generation"]


@pytest.mark.parametrize("resource", BASES)
def test_the_same_manifest_can_be_applied_again_after_the_server_filled_in_defaults(
    cluster: Cluster, namespace: str, resource: str
) -> None:
    cluster.apply(BASES[resource], namespace)
    assert "unchanged" in cluster.apply(BASES[resource], namespace)
    assert "replaced" in cluster.kubectl(
        "replace", "-n", namespace, "-f", "-", input=json.dumps(BASES[resource])
    )


def test_kubectl_refuses_an_unknown_field_by_its_path(cluster: Cluster, namespace: str) -> None:
    # kubectl judges by itself while a new definition is not yet in the API server's aggregated OpenAPI
    by_server, by_kubectl = r'unknown field "spec\.sessionId"', r'AgentJob\.spec\): unknown field "sessionId"'
    with pytest.raises(KubectlError, match=f"{by_server}|{by_kubectl}"):
        cluster.apply(changed(BASES["job"], {"spec.sessionId": "x"}), namespace)


def test_kubectl_shows_the_whole_refusal(cluster: Cluster, namespace: str) -> None:
    cluster.apply(BASES["job"], namespace)
    with pytest.raises(
        KubectlError, match=r"spec\.message: Forbidden: message is immutable: create a new AgentJob"
    ):
        cluster.apply(changed(BASES["job"], {"spec.message": "bye"}), namespace)


def test_a_generated_name_that_would_be_too_long_for_a_schedules_children_is_refused(
    cluster: Cluster, namespace: str
) -> None:
    manifest = changed(BASES["schedule"], {"metadata": {"generateName": "n" * 50 + "-"}})
    with pytest.raises(KubectlError, match=r"metadata\.name.*at most 52 characters"):
        cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(manifest))
