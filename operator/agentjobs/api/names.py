"""Names of the API, and the mark of whose an object is. This module imports next to nothing, since the kubectl plugin starts anew for each command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

GROUP = "agentjobs.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

INPUT_RESPONSE = f"{GROUP}/input-response"
"""Annotation on an AgentJob that waits for input: ``approve:<id>``, ``reject:<id>`` or JSON
(``input_response``)."""
RETRY_REQUESTED_AT = f"{GROUP}/retry-requested-at"
"""Annotation on a failed or cancelled AgentJob: each new value asks for one new round (H21)."""
RUN_REQUESTED_AT = f"{GROUP}/run-requested-at"
"""Annotation on a ScheduledAgentJob: each new value asks for one run now. On a child: the value that asked
for it."""
SCHEDULED_TIME = f"{GROUP}/scheduled-time"
"""Annotation on a schedule's child: its tick, RFC 3339."""
SCHEDULE_LABEL = f"{GROUP}/schedule"
"""Label on a schedule's child: the schedule's name."""
INSTALLATION_LABEL = f"{GROUP}/installation"
"""Label that the operator gives its Lease: the installation that it works for, so that people find whose an object is."""
MANAGED_BY = f"{GROUP}/managed-by"
"""Annotation that the operator writes: the installation that the object belongs to, and the object's uid."""
WATCHED_NAMESPACES = f"{GROUP}/watched-namespaces"
"""Annotation that the operator gives its Lease: the namespaces that it watches, with commas between them. Empty: all."""
ACT = f"{GROUP}/act"
"""Annotation on an AgentJob or ScheduledAgentJob: who made the change with which it came, and why (``act``)."""


def mark_of(installation: UUID, uid: str) -> str:
    """The annotation's value for the object of this uid."""
    return f"{installation}/{uid}"


def installation_of(meta: Mapping[str, Any]) -> UUID | None:
    """The installation that has marked this very object; None: none has."""
    installation, _, uid = str((meta.get("annotations") or {}).get(MANAGED_BY, "")).partition("/")
    if uid != meta["uid"]:
        return None
    try:
        return UUID(installation)
    except ValueError:
        return None
