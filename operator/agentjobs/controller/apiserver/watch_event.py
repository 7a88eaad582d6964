"""One watch event of one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agentjobs.controller.apiserver.resources import AGENT_JOBS, Resource
from agentjobs.queue.records import Confirmed


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """The whole object, and whether it was deleted. The sweeps make one from a GET, too."""

    object: dict[str, Any]
    deleted: bool
    listed: bool = False
    """Whether it comes from a listing: at the start, and where the watch was interrupted for too long."""
    kind: Resource = AGENT_JOBS
    read_at: float | None = None
    """Monotonic begin of the GET by which a sweep has read the object. None: the watch has brought it."""
    released: bool = False
    """A delete that the watch has missed: a sweep has told the queue of it."""
    confirmed: Confirmed | None = None
    """The sweep has read the row before the object, and they contradict each other."""


def without_managed_fields(obj: dict[str, Any], kind: Resource) -> dict[str, Any]:
    """The object, from which an AgentJob's ``managedFields`` are taken: a third of it, and the operator reads those of schedules alone."""
    if kind == AGENT_JOBS:
        obj["metadata"].pop("managedFields", None)
    return obj
