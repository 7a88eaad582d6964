"""What the parts of the scheduler share: the schedules in memory, and who has to look at what."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid4

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.kit.backoff import Backoff
from agentjobs.controller.metrics.counters import Counters
from agentjobs.controller.scheduledagentjob.cached_schedule import CachedSchedule
from agentjobs.controller.scheduledagentjob.children import Children
from agentjobs.controller.scheduledagentjob.clock import DatabaseClock
from agentjobs.controller.scheduledagentjob.port import ClusterObjects
from agentjobs.queue.schedules import Found, Schedules, Tick
from agentjobs.schedule.history import Child

log = logging.getLogger(__name__)

CROWD = 32
"""Children at once from which on statuses and Events wait."""


@dataclass(slots=True)
class ScheduleCache:
    """One per scheduler."""

    queue: Schedules
    objects: ClusterObjects
    cluster_id: str
    meter: Counters
    clock: Callable[[], datetime] | None = None
    """What time it is; None: the database says so."""
    id: UUID = field(default_factory=uuid4)
    """Of this process, as the claimant of ticks."""
    entries: dict[UUID, CachedSchedule] = field(default_factory=dict)
    children: Children = field(default_factory=Children)
    dirty: set[UUID] = field(default_factory=set)
    """Schedules to be decided upon."""
    stale: set[UUID] = field(default_factory=set)
    """Schedules whose row is to be read again."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    on_change: Callable[[UUID], None] = lambda uid: None
    """Told of each schedule of which something has changed."""
    _database: DatabaseClock = field(default_factory=DatabaseClock)
    _backoff: Backoff = field(default_factory=Backoff)
    _creating: int = 0
    _calm: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._calm.set()

    def now(self) -> datetime:
        return self.clock() if self.clock is not None else self._database.now()

    def heard(self, now: datetime, asked_at: float) -> None:
        """The database said what time it is."""
        self._database.set(now, asked_at)

    def take(self, found: Found, asked_at: float) -> None:
        """Rows as they are now; each is to be decided upon."""
        self.heard(found.now, asked_at)
        for uid, row in found.rows.items():
            entry = self.entries.get(uid)
            if entry is None:
                continue
            entry.take(row, asked_at)
            for tick in row.ticks:
                if tick.uid is not None:
                    self.children.created(uid, child_of_tick(tick))
            self.mark(uid)

    def mark(self, uid: UUID) -> None:
        """Something has changed: decide again, and see whether the status says so."""
        self.dirty.add(uid)
        self.wake.set()
        self.on_change(uid)

    def refresh(self, uid: UUID) -> None:
        """Another process knows more."""
        self.stale.add(uid)
        self.wake.set()

    # when many ticks come at once --------------------------------------------------------------------

    @property
    def crowded(self) -> bool:
        """What is not urgent lets the children go first."""
        return not self._calm.is_set()

    async def calm(self) -> None:
        """Returns once it is not crowded."""
        await self._calm.wait()

    def creating(self, change: int) -> None:
        """So many more children are being created, or wait for it."""
        self._creating += change
        (self._calm.clear if self._creating > CROWD else self._calm.set)()

    # when the API server is away or busy -------------------------------------------------------------

    def pause(self, error: ApiUnavailable) -> float:
        """Nobody asks for a while; how many seconds that is."""
        seconds = self._backoff.pause(time.monotonic(), error.retry_after_seconds)
        if seconds is not None:
            log.warning("the scheduler waits %.1f s for the API server: %s", seconds, error)
        return self.paused_seconds()

    def paused_seconds(self) -> float:
        return self._backoff.paused_seconds(time.monotonic())

    def answered(self) -> None:
        self._backoff.answered()


def child_of_tick(tick: Tick) -> Child:
    """As long as the watch has not shown it: unfinished."""
    return Child(tick.child, str(tick.uid), tick.tick, None, tick.manual)
