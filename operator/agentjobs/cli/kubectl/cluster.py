"""The plugin's connection to the cluster that kubectl would use."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import urllib3
from kubernetes import client, config
from kubernetes.config import ConfigException

from agentjobs.api.names import GROUP, VERSION
from agentjobs.cli.errors import BadInput, Unavailable

PLURAL = "agentjobs"
TIMEOUT_SECONDS = 30
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A connection to a cluster, and the namespace of the command."""

    api: client.ApiClient
    namespace: str

    @classmethod
    def of(cls, kubeconfig: Path | None, context: str | None, namespace: str | None) -> Self:
        """The cluster that kubectl would use: the kubeconfig's context; in a pod without a kubeconfig, its
        own account.

        :raises BadInput: there is no kubeconfig, or no such context in it.
        """
        file = str(kubeconfig) if kubeconfig else None
        try:
            if file is None and "KUBERNETES_SERVICE_HOST" in os.environ and not _has_kubeconfig():
                config.load_incluster_config()  # type: ignore[no-untyped-call]
                return cls(client.ApiClient(), namespace or _SERVICE_ACCOUNT.read_text().strip())
            contexts, current = config.list_kube_config_contexts(config_file=file)  # type: ignore[no-untyped-call]
            chosen = next((c for c in contexts if c["name"] == context), None) if context else current
            if chosen is None:
                known = ", ".join(sorted(c["name"] for c in contexts))
                raise BadInput(f"--context: {context!r} is not in the kubeconfig; there are {known}.")
            api = config.new_client_from_config(config_file=file, context=chosen["name"])  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as error:
            raise BadInput(f"kubeconfig: {error}. Name one with --kubeconfig or KUBECONFIG.") from None
        return cls(api, namespace or chosen["context"].get("namespace") or "default")

    def agent_job(self, name: str) -> dict[str, Any]:
        """The AgentJob of this name.

        :raises Unavailable: it is not found, or the API server cannot be reached.
        """
        with _told(f"agentjob {self.namespace}/{name}"):
            found: Any = self._objects().get_namespaced_custom_object(
                GROUP, VERSION, self.namespace, PLURAL, name, _request_timeout=TIMEOUT_SECONDS
            )
        return dict(found)

    def annotate(self, agent_job: dict[str, Any], patch: dict[str, Any]) -> None:
        """Sends a merge patch of the AgentJob.

        :raises Unavailable: the API server refuses the patch, or cannot be reached.
        """
        name = agent_job["metadata"]["name"]
        with _told(f"agentjob {self.namespace}/{name}"):
            self._objects().patch_namespaced_custom_object(
                GROUP,
                VERSION,
                self.namespace,
                PLURAL,
                name,
                patch,
                field_manager="kubectl-agentjobs",
                _content_type="application/merge-patch+json",
                _request_timeout=TIMEOUT_SECONDS,
            )

    def user(self) -> str:
        """The user as whom the API server knows the caller.

        Empty: it does not tell (Kubernetes < 1.28, or forbidden).
        """
        try:
            review: Any = client.AuthenticationV1Api(self.api).create_self_subject_review(
                client.V1SelfSubjectReview(), _request_timeout=TIMEOUT_SECONDS
            )
        except (client.ApiException, urllib3.exceptions.HTTPError):
            return ""
        return str(review.status.user_info.username or "")

    def _objects(self) -> client.CustomObjectsApi:
        return client.CustomObjectsApi(self.api)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turns errors of a request about the object ``what`` into Unavailable, with one line for the user."""
    try:
        yield
    except client.ApiException as error:
        if error.status == 404:
            raise Unavailable(f"{what} is not found.") from None
        raise Unavailable(f"{what}: the API server answers {error.status}: {_message(error)}") from None
    except urllib3.exceptions.HTTPError as error:
        raise Unavailable(f"the API server cannot be reached: {error}") from None


def _message(error: client.ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def _has_kubeconfig() -> bool:
    return bool(os.environ.get("KUBECONFIG")) or Path("~/.kube/config").expanduser().exists()
