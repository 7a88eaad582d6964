"""One watch event of one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agentjobs.controller.apiserver.resources import AGENT_JOBS, Resource


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """The whole object, and whether it was deleted. The sweeps make one from a GET, too."""

    object: dict[str, Any]
    deleted: bool
    listed: bool = False
    """Whether it comes from a listing: at the start, and where the watch was interrupted for too long."""
    kind: Resource = AGENT_JOBS
