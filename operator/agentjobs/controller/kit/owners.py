"""Who owns an object, by its owner references.

https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/
"""

from __future__ import annotations

from uuid import UUID

from agentjobs.controller.apiserver.resources import SCHEDULED_AGENT_JOBS
from agentjobs.values.json import JsonObject


def schedule_of(meta: JsonObject) -> UUID | None:
    """The uid of the schedule that an AgentJob belongs to; None: of none."""
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") == SCHEDULED_AGENT_JOBS.kind:
            try:
                return UUID(owner.get("uid", ""))
            except ValueError:
                return None
    return None
