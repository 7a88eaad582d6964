"""What the watch, and the sweeps, hand on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agentjobs.controller.apiserver.resources import AGENT_JOBS, Resource


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event of one object, whole."""

    object: dict[str, Any]
    deleted: bool
    listed: bool = False
    """From a listing: at the start, and where the watch was interrupted for too long."""
    kind: Resource = AGENT_JOBS
