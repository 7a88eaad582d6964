"""Creates that a real API server decides upon and does not store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import urllib3
import yaml
from kubernetes import config

from clusters import Cluster

_CLUSTER_SCOPED = frozenset({"ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"})  # fmt: skip


class Verdict(NamedTuple):
    """Whether the API server would create the object, and what it said."""

    accepted: bool
    message: str


class DryRun:
    """Dry-run creates in one API server; those of namespaced objects in the namespace that they name, or ``namespace``."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        client = config.new_client_from_config(str(cluster.kubeconfig))  # type: ignore[no-untyped-call]
        self._pool = client.rest_client.pool_manager
        self._host, self._namespace = client.configuration.host, namespace

    def create(self, manifest: Mapping[str, Any]) -> Verdict:
        """The verdict about one object."""
        return self._post(manifest, json.dumps(manifest), "application/json", self._namespace)

    def create_text(self, manifest: str) -> Verdict:
        """The verdict about one object as YAML, read by the API server itself, which refuses unknown and repeated keys."""
        return self._post(yaml.safe_load(manifest), manifest, "application/yaml", None)

    def create_all(self, manifests: Sequence[Mapping[str, Any]]) -> list[Verdict]:
        """The verdicts about many objects, several at once."""
        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(self.create, manifests))

    def _post(self, head: Mapping[str, Any], body: str, content_type: str, namespace: str | None) -> Verdict:
        group = head["apiVersion"] if "/" in head["apiVersion"] else ""
        kind = head["kind"].lower()
        plural = kind[:-1] + "ies" if kind.endswith("y") else kind + "s"
        where = (
            ""
            if head["kind"] in _CLUSTER_SCOPED
            else f"/namespaces/{namespace or head['metadata']['namespace']}"
        )
        strict = "&fieldValidation=Strict" if content_type.endswith("yaml") else ""
        url = f"{self._host}{f'/apis/{group}' if group else '/api/v1'}{where}/{plural}?dryRun=All{strict}"
        try:
            answer = self._pool.request(
                "POST", url, body=body.encode(), headers={"Content-Type": content_type}, retries=False
            )
        except urllib3.exceptions.HTTPError as error:  # kube-apiserver panics at the schedule "TZ=UTC" alone
            return Verdict(False, str(error))
        assert answer.status in (201, 400, 422), (url, answer.data)
        return Verdict(answer.status == 201, str(json.loads(answer.data).get("message", "")))
