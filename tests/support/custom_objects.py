"""Our objects on a real API server over HTTP: quick enough for tables, and as strict as kubectl asks for."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from agentjobs.api.agentjob import AgentJob
from agentjobs.api.scheduledagentjob import ScheduledAgentJob
from agentjobs.values.json import JsonObject
from clusters import Cluster

MODELS: Mapping[str, type[AgentJob] | type[ScheduledAgentJob]] = {
    "job": AgentJob,
    "schedule": ScheduledAgentJob,
}


class CustomObjects:
    """Creates, replaces and selects AgentJobs ("job") and ScheduledAgentJobs ("schedule") in one namespace."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.api = client.CustomObjectsApi(config.new_client_from_config(str(cluster.kubeconfig)))  # type: ignore[no-untyped-call]
        self.namespace = namespace
        self._numbers = itertools.count()

    def create(self, resource: str, manifest: Mapping[str, Any]) -> JsonObject:
        """The stored object; one that is named ``case`` gets a name of its own. Raises ApiException."""
        if manifest.get("metadata") == {"name": "case"}:
            manifest = {**manifest, "metadata": {"name": f"case-{next(self._numbers)}"}}
        return _object(
            self.api.create_namespaced_custom_object(
                **self._where(resource), body=dict(manifest), field_validation="Strict"
            )
        )

    def replace(self, resource: str, stored: Mapping[str, Any]) -> JsonObject:
        """The stored object after an update. Raises ApiException."""
        return _object(
            self.api.replace_namespaced_custom_object(
                **self._where(resource),
                name=stored["metadata"]["name"],
                body=dict(stored),
                field_validation="Strict",
            )
        )

    def write_status(self, name: str, status: Mapping[str, Any] | None) -> JsonObject:
        """As the status writer does: the whole status of an AgentJob, or, with None, all of it removed."""
        add, remove = {"op": "add", "path": "/status", "value": status}, {"op": "remove", "path": "/status"}
        return _object(
            self.api.patch_namespaced_custom_object_status(
                **self._where("job"),
                name=name,
                body=[remove if status is None else add],
                _content_type="application/json-patch+json",
            )
        )

    def names(self, resource: str, field_selector: str) -> list[str]:
        """The objects that a field selector finds."""
        listed = _object(
            self.api.list_namespaced_custom_object(**self._where(resource), field_selector=field_selector)
        )
        return [item["metadata"]["name"] for item in listed["items"]]

    def _where(self, resource: str) -> dict[str, Any]:
        plural = MODELS[resource].PLURAL
        return {
            "group": "agentjobs.dev",
            "version": "v1alpha1",
            "namespace": self.namespace,
            "plural": plural,
        }


def _object(answer: object) -> JsonObject:
    assert isinstance(answer, dict)
    return answer


def message_of(refusal: ApiException) -> str:
    """What a person reads of a refusal."""
    assert refusal.body is not None
    return str(json.loads(refusal.body)["message"])
