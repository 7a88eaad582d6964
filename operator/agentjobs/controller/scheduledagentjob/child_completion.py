"""Child completion: the end of a schedule's AgentJob is noted in the schedule's row, and told in an Event."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.scheduledagentjob import events
from agentjobs.controller.scheduledagentjob.cache import ScheduleCache
from agentjobs.queue.errors import QueueError
from agentjobs.queue.schedules import EndedChild, Schedules
from agentjobs.schedule.history import Child

log = logging.getLogger(__name__)

BATCH_SECONDS = 0.05
"""Children that end within it are noted in one statement."""


@dataclass(slots=True)
class ChildCompletion:
    """Notes ends in batches, and tries again while the database is away."""

    cache: ScheduleCache
    queue: Schedules
    cluster_id: str
    record: Callable[[ObjectEvent], None]
    prune_history: Callable[[UUID], None]
    """Called with a schedule that may have more finished children than its history limits allow."""
    _ended: set[UUID] = field(default_factory=set)
    _gone: set[UUID] = field(default_factory=set)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def ended(self, child: UUID, *, gone: bool = False) -> None:
        """Takes note of a child that has ended; ``gone``: its object was deleted."""
        (self._gone if gone else self._ended).add(child)
        self._wake.set()

    async def run(self) -> None:
        """Notes ends until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(BATCH_SECONDS)
            self._wake.clear()
            ended, self._ended = self._ended, set()
            gone, self._gone = self._gone, set()
            try:
                await self._close(list(ended), list(gone))
            except QueueError as error:
                log.warning("ended children are noted later: the database does not answer: %s", error)
                self._ended |= ended
                self._gone |= gone
                await asyncio.sleep(random.uniform(0.5, 1.5))
                self._wake.set()

    async def close_all(self) -> None:
        """Notes every end that the database knows, also those that no watch event has shown. Raises
        QueueError."""
        await self._close(None, [])

    async def _close(self, ended: list[UUID] | None, gone: list[UUID]) -> None:
        asked_at = time.monotonic()
        closed, found = await self.queue.close_children(self.cluster_id, ended, gone)
        for child in closed:
            self._report(child)
        self.cache.store_rows(found, asked_at)

    def _report(self, child: EndedChild) -> None:
        entry = self.cache.entries.get(child.schedule)
        if entry is None:
            return
        if str(child.uid) in {known.uid for known in self.cache.children.active(child.schedule)}:
            succeeded = child.state.value == "Complete"
            self.cache.children.saw(
                child.schedule, Child(child.child, str(child.uid), child.tick, succeeded, child.manual)
            )
        self.record(events.completed(entry.parsed, child))
        self.prune_history(child.schedule)
