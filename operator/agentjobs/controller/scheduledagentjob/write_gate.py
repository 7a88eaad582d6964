"""The write gate: when the scheduler's tasks may ask the API server, and which of them let others go
first."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.kit.backoff import Backoff

log = logging.getLogger(__name__)

OVERLOAD_CHILDREN = 32
"""From more children than this, being created at once, statuses and Events wait."""


@dataclass(slots=True)
class WriteGate:
    """Example: at midnight 1,000 schedules are due; their children are created before any status is
    written."""

    _backoff: Backoff = field(default_factory=Backoff)
    _creating: int = 0
    _calm: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._calm.set()

    # while many children are created -----------------------------------------------------------------

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

    # while the API server is away or busy ------------------------------------------------------------

    def pause(self, error: ApiUnavailable) -> float:
        """Closes the gate for all writes; for how many seconds."""
        seconds = self._backoff.pause(time.monotonic(), error.retry_after_seconds)
        if seconds is not None:
            log.warning("schedules wait %.1f s for the API server: %s", seconds, error)
        return self.paused_seconds()

    def paused_seconds(self) -> float:
        """What is left of the pause; 0: none."""
        return self._backoff.paused_seconds(time.monotonic())

    def answered(self) -> None:
        """The API server answers again: the next pause is a short one."""
        self._backoff.answered()
