"""The schedule cache: every schedule of the watched namespaces, its children, and which of them have to be
decided."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from agentjobs.controller.scheduledagentjob.cached_schedule import CachedSchedule
from agentjobs.controller.scheduledagentjob.children import Children
from agentjobs.controller.scheduledagentjob.clock import DatabaseClock
from agentjobs.queue.schedules import Found, Tick
from agentjobs.schedule.history import Child


@dataclass(slots=True)
class ScheduleCache:
    """One per scheduler, shared by its tasks; all of them run on one event loop."""

    clock: Callable[[], datetime] | None = None
    """The time for schedules; None: the database's."""
    entries: dict[UUID, CachedSchedule] = field(default_factory=dict)
    children: Children = field(default_factory=Children)
    dirty: set[UUID] = field(default_factory=set)
    """Schedules to be decided again."""
    stale: set[UUID] = field(default_factory=set)
    """Schedules whose row has to be read again."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Set where the scheduler has something to do."""
    on_change: Callable[[UUID], None] = lambda uid: None
    """Called with each schedule that changed: its status may have to be written."""
    _database: DatabaseClock = field(default_factory=DatabaseClock)

    def now(self) -> datetime:
        return self.clock() if self.clock is not None else self.database_now()

    def database_now(self) -> datetime:
        """The time of the database's clock."""
        return self._database.now()

    def sync_clock(self, now: datetime, asked_at: float) -> None:
        """Sets the clock to the database's ``now``, the answer to a question of the monotonic time
        ``asked_at``."""
        self._database.set(now, asked_at)

    def store_rows(self, found: Found, asked_at: float) -> None:
        """Stores rows that the database has just returned, and enqueues their schedules."""
        self.sync_clock(found.now, asked_at)
        for uid, row in found.rows.items():
            entry = self.entries.get(uid)
            if entry is None:
                continue
            entry.store_row(row, asked_at)
            for tick in row.ticks:
                if tick.uid is not None:
                    self.children.created(uid, child_of_tick(tick))
            self.enqueue(uid)

    def enqueue(self, uid: UUID) -> None:
        """Has a schedule decided again, and its status compared with what its object shows."""
        self.dirty.add(uid)
        self.wake.set()
        self.on_change(uid)

    def reload(self, uid: UUID) -> None:
        """Has a schedule's row read again: another operator has changed it."""
        self.stale.add(uid)
        self.wake.set()


def child_of_tick(tick: Tick) -> Child:
    """The child of a tick that has one: unfinished, as long as the watch has not shown it."""
    return Child(tick.child, str(tick.uid), tick.tick, None, tick.manual)
