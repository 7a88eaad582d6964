"""What a real API server says to the tables of bad and good manifests."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from agentjobs.api.agentjob import AgentJob
from agentjobs.api.scheduledagentjob import ScheduledAgentJob
from agentjobs.api.validation import problems_of
from clusters import Cluster, KubectlError
from manifests import BASES, Case, at, changed, name_of, table

MODELS: dict[str, type[AgentJob] | type[ScheduledAgentJob]] = {"job": AgentJob, "schedule": ScheduledAgentJob}


class Server:
    """Creates and replaces objects in one namespace, as strictly as kubectl asks for it."""

    def __init__(self, api: client.CustomObjectsApi, namespace: str) -> None:
        self.api, self.namespace = api, namespace
        self.numbers = itertools.count()

    def create(self, resource: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """The stored object. Raises ApiException."""
        if manifest.get("metadata") == {"name": "case"}:
            manifest = {**manifest, "metadata": {"name": f"case-{next(self.numbers)}"}}
        created: dict[str, Any] = self.api.create_namespaced_custom_object(
            **self._where(resource), body=manifest, field_validation="Strict"
        )
        return created

    def replace(self, resource: str, stored: dict[str, Any]) -> dict[str, Any]:
        """The stored object after an update. Raises ApiException."""
        replaced: dict[str, Any] = self.api.replace_namespaced_custom_object(
            **self._where(resource), name=stored["metadata"]["name"], body=stored, field_validation="Strict"
        )
        return replaced

    def _where(self, resource: str) -> dict[str, str]:
        return {
            "group": "agentjobs.dev",
            "version": "v1alpha1",
            "namespace": self.namespace,
            "plural": MODELS[resource].PLURAL,
        }


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[Server]:
    with cluster.namespace() as namespace:
        api_client = config.new_client_from_config(str(cluster.kubeconfig))
        yield Server(client.CustomObjectsApi(api_client), namespace)


@pytest.mark.parametrize("case", table("bad_manifests.yaml", "create"), ids=name_of)
def test_invariant_13_the_api_server_refuses_it_and_names_the_field(server: Server, case: Case) -> None:
    with pytest.raises(ApiException) as refused:
        server.create(case.resource, case.manifest())
    assert refused.value.status in (400, 422)
    assert case.field in refused.value.body
    assert case.says in message_of(refused.value)


@pytest.mark.parametrize("case", table("bad_manifests.yaml", "update"), ids=name_of)
def test_a_bad_update_is_refused_and_leaves_the_object_as_it_was(server: Server, case: Case) -> None:
    stored = server.create(case.resource, case.before())
    with pytest.raises(ApiException) as refused:
        server.replace(case.resource, changed(stored, case.set))
    assert refused.value.status == 422
    assert case.field in refused.value.body
    assert case.says in message_of(refused.value)
    if "immutable" in case.says:
        assert f"{case.field}: Forbidden: " in message_of(refused.value)


@pytest.mark.parametrize("case", table("bad_manifests.yaml", "later"), ids=name_of)
def test_what_schema_and_cel_cannot_say_is_left_to_the_second_gate(server: Server, case: Case) -> None:
    stored = server.create(case.resource, case.manifest())
    assert [problem.field for problem in problems_of(stored, stored=True)] == [case.field]


@pytest.mark.parametrize("case", table("good_manifests.yaml", "create"), ids=name_of)
def test_a_good_manifest_is_stored_with_defaults_just_as_the_model_fills_them_in(
    server: Server, case: Case
) -> None:
    stored = server.create(case.resource, case.manifest())
    assert {path: at(stored, path) for path in case.stored} == case.stored
    model = MODELS[case.resource]
    assert model.model_validate(case.manifest()).as_json()["spec"] == stored["spec"]
    assert model.model_validate(stored).as_json()["spec"] == stored["spec"]
    assert problems_of(stored, stored=True) == []


@pytest.mark.parametrize("case", table("good_manifests.yaml", "update"), ids=name_of)
def test_a_good_update_is_accepted(server: Server, case: Case) -> None:
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
    with pytest.raises(KubectlError, match=r'unknown field "spec\.sessionId"'):
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


def message_of(refusal: ApiException) -> str:
    """What a person reads."""
    return str(json.loads(refusal.body)["message"])
