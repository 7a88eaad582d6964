"""The write gate: whose children may be created, and which of the scheduler's tasks let others go first."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from uuid import UUID

from agentjobs.controller.kit.backoff import Backoff

OVERLOAD_CHILDREN = 32
"""From more children than this, being created at once, statuses and Events wait."""
CREATIONS_IN_HAND = 10_000
"""Of one namespace: each schedule has one at most, and a few at a time are asked for."""
SLOW_SECONDS = 2.0
"""Creations in a namespace with several that are older hold nothing up: they get no answer."""
LOOK_SECONDS = 0.05


@dataclass(slots=True)
class WriteGate:
    """Example: at midnight 1,000 schedules are due; their children are created before any status is
    written."""

    backoff: Backoff[UUID] = field(default_factory=lambda: Backoff(CREATIONS_IN_HAND, SLOW_SECONDS))
    """Of child creations, by schedule and namespace."""

    @property
    def overloaded(self) -> bool:
        """Whether statuses and Events let child creations go first."""
        return self.backoff.under_way(time.monotonic()) > OVERLOAD_CHILDREN

    async def wait_until_calm(self) -> None:
        """Returns once the gate is not overloaded; calm also comes with time."""
        while self.overloaded:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
