"""One Kubernetes Event before it is posted: its name is fixed, so a repeat is AlreadyExists."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from agentjobs.controller.apiserver.resources import AGENT_JOBS, Resource
from agentjobs.controller.kit.status_text import cut_text, time_text
from agentjobs.queue.records import ObjectRef

COMPONENT = "agentjobs-operator"
NOTE_CHARACTERS = 1000
"""core/v1 cuts messages at 1024."""


class ReasonOfEvent(Protocol):
    """A member of ``EventReason`` or ``ScheduleEventReason``."""

    @property
    def value(self) -> str: ...
    @property
    def normal(self) -> bool:
        """Whether the Event's type is Normal; else Warning."""


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """An Event on one object; uid, ``key`` and ``reason`` make the Event's name."""

    uid: UUID
    ref: ObjectRef
    key: str
    reason: ReasonOfEvent
    message: str
    first_at: datetime
    last_at: datetime
    count: int = 1
    resource: Resource = AGENT_JOBS


def body_of(event: ObjectEvent) -> dict[str, Any]:
    """The Event as core/v1 wants it; kubectl describe finds it by the uid in ``involvedObject``."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{event.uid}.{event.key}.{event.reason.value.lower()}",
            "namespace": event.ref.namespace,
        },
        "involvedObject": {
            "apiVersion": event.resource.api_version,
            "kind": event.resource.kind,
            "namespace": event.ref.namespace,
            "name": event.ref.name,
            "uid": str(event.uid),
        },
        "type": "Normal" if event.reason.normal else "Warning",
        "reason": event.reason.value,
        "message": cut_text(event.message, NOTE_CHARACTERS),
        "firstTimestamp": time_text(event.first_at),
        "lastTimestamp": time_text(event.last_at),
        "count": event.count,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": "",
    }
