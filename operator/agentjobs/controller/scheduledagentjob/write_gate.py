"""The write gate: whose children may be created, and which of the scheduler's tasks let others go first."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

from agentjobs.controller.kit.backoff import Backoff

OVERLOAD_CHILDREN = 32
"""From more children than this, being created at once, statuses and Events wait."""

CREATIONS_IN_HAND = 10_000
"""Of one namespace: each schedule has one at most, and a few at a time are asked for."""


@dataclass(slots=True)
class WriteGate:
    """Example: at midnight 1,000 schedules are due; their children are created before any status is
    written."""

    backoff: Backoff[UUID] = field(default_factory=lambda: Backoff(CREATIONS_IN_HAND))
    """Of child creations, by schedule and namespace."""
    _creating: int = 0
    _calm: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._calm.set()

    @property
    def overloaded(self) -> bool:
        """Whether statuses and Events let child creations go first."""
        return not self._calm.is_set()

    async def wait_until_calm(self) -> None:
        """Returns once the gate is not overloaded."""
        await self._calm.wait()

    def count_creating(self, change: int) -> None:
        """Counts child creations that begin (1) and end (-1)."""
        self._creating += change
        (self._calm.clear if self._creating > OVERLOAD_CHILDREN else self._calm.set)()
