"""The operator's RBAC, as docs/operator.md names it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "operator.md"
GROUPS = {
    "agentjobs": "agentjobs.dev",
    "agentjobs/status": "agentjobs.dev",
    "scheduledagentjobs": "agentjobs.dev",
    "scheduledagentjobs/status": "agentjobs.dev",
    "leases": "coordination.k8s.io",
    "apiservices": "apiregistration.k8s.io",
    "endpointslices": "discovery.k8s.io",
}
OF_ALL, RUNS_API = "## RBAC", "## RBAC of the runs API"
"""Headings of the page."""


def documented(heading: str = OF_ALL) -> list[dict[str, Any]]:
    """The rules of the table under this heading."""
    section = PAGE.read_text().split(f"\n{heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `([a-z/]+)`[^|]*\| ([a-z, ]+) \|", section, re.MULTILINE)
    return [
        {"apiGroups": [GROUPS.get(resource, "")], "resources": [resource], "verbs": verbs.split(", ")}
        for resource, verbs in rows
    ]


def role(name: str, user: str, rules: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """A ClusterRole with these rules (the documented ones), bound to the user."""
    api = "rbac.authorization.k8s.io"
    return [
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": documented() if rules is None else rules,
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": api, "kind": "User", "name": user}],
        },
    ]
