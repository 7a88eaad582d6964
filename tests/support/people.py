"""People of different rights on a real API server: what it says to each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from clusters import Cluster, KubectlError

EDIT = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]
_API = "rbac.authorization.k8s.io"


def role(name: str, resources: Sequence[str], verbs: Sequence[str] = EDIT) -> dict[str, Any]:
    return {
        "apiVersion": f"{_API}/v1",
        "kind": "Role",
        "metadata": {"name": name},
        "rules": [{"apiGroups": ["agentjobs.dev"], "resources": list(resources), "verbs": list(verbs)}],
    }


def binding(user: str, role: dict[str, str], name: str = "") -> dict[str, Any]:
    return {
        "apiVersion": f"{_API}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name or user},
        "roleRef": {"apiGroup": _API, **role},
        "subjects": [{"apiGroup": _API, "kind": "User", "name": user}],
    }


def says(cluster: Cluster, namespace: str, user: str, *arguments: str, input: str | None = None) -> str:
    """Empty: it was accepted; else what the API server says."""
    try:
        cluster.kubectl(*arguments, f"-n={namespace}", f"--as={user}", input=input)
    except KubectlError as error:
        return error.stderr
    return ""


def merge(name: str, body: dict[str, Any]) -> tuple[str, ...]:
    return ("patch", "agentjob", name, "--type=merge", "-p", json.dumps(body))
