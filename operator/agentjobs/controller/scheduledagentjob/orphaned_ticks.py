"""Orphaned ticks: an operator stored the decision for a tick and died before it created the child."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.scheduledagentjob.cache import ScheduleCache
from agentjobs.controller.scheduledagentjob.child_completion import ChildCompletion
from agentjobs.controller.scheduledagentjob.cluster_objects import ClusterObjects
from agentjobs.controller.scheduledagentjob.write_gate import WriteGate
from agentjobs.queue.errors import QueueError
from agentjobs.queue.schedules import Schedules

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How late an orphaned tick is noticed, after the claim on it is over."""
CLOSE_ALL_EVERY = 6
"""Ends that no watch event has shown are noticed with every 6th look."""


@dataclass(slots=True)
class OrphanedTicks:
    """Looks every few seconds: one cheap query, in the background."""

    cache: ScheduleCache
    gate: WriteGate
    queue: Schedules
    objects: ClusterObjects
    cluster_id: str
    completion: ChildCompletion
    look_seconds: float = LOOK_SECONDS

    async def run(self) -> None:
        """Looks until cancelled."""
        looks = 0
        while True:
            await asyncio.sleep(self.look_seconds * random.uniform(0.8, 1.2))
            try:
                await self._adopt_orphans()
                looks += 1
                if looks % CLOSE_ALL_EVERY == 0:
                    await self.completion.close_all()
            except QueueError as error:
                log.warning("orphaned ticks are looked for later: the database does not answer: %s", error)
            except ApiUnavailable as error:
                self.gate.pause(error)

    async def _adopt_orphans(self) -> None:
        """Has schedules with orphaned ticks decided again, and ends ticks whose child was deleted unseen."""
        asked_at = time.monotonic()
        waiting = await self.queue.waiting_schedules(self.cluster_id)
        self.cache.sync_clock(waiting.now, asked_at)
        self.cache.wake.set()  # the time may have moved
        for uid in waiting.pending:
            entry = self.cache.entries.get(uid)
            if entry is not None and not entry.busy:
                self.cache.reload(uid)
        for schedule, child, child_uid in waiting.unseen:
            entry = self.cache.entries.get(schedule)
            if entry is None:
                continue
            found = await self.objects.find(entry.parsed.ref.namespace, child, schedule)
            if found != child_uid:
                self.completion.ended(child_uid, gone=True)
