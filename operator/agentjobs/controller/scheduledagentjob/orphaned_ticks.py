"""Orphaned ticks: an operator stored the decision for a tick and died before it created the child."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.scheduledagentjob.cache import ScheduleCache
from agentjobs.controller.scheduledagentjob.child_completion import ChildCompletion
from agentjobs.controller.scheduledagentjob.cluster_objects import ClusterObjects
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
    queue: Schedules
    objects: ClusterObjects
    cluster_id: str
    completion: ChildCompletion
    look_seconds: float = LOOK_SECONDS
    _looking: set[str] = field(default_factory=set)
    """Namespaces in which children are being looked for: one that gives no answer holds up no other."""

    async def run(self) -> None:
        """Looks until cancelled."""
        async with asyncio.TaskGroup() as group:
            await self._look_on(group)

    async def _look_on(self, group: asyncio.TaskGroup) -> None:
        looks = 0
        while True:
            await asyncio.sleep(self.look_seconds * random.uniform(0.8, 1.2))
            try:
                await self._adopt_orphans(group)
                looks += 1
                if looks % CLOSE_ALL_EVERY == 0:
                    await self.completion.close_all()
            except QueueError as error:
                log.warning("orphaned ticks are looked for later: the database does not answer: %s", error)

    async def _adopt_orphans(self, group: asyncio.TaskGroup) -> None:
        """Has schedules with orphaned ticks decided again, and ends ticks whose child was deleted unseen."""
        asked_at = time.monotonic()
        waiting = await self.queue.waiting_schedules(self.cluster_id)
        self.cache.sync_clock(waiting.now, asked_at)
        self.cache.wake.set()  # the time may have moved
        for uid in waiting.pending:
            entry = self.cache.entries.get(uid)
            if entry is not None and not entry.busy:
                self.cache.reload(uid)
        unseen: dict[str, list[tuple[UUID, str, UUID]]] = {}
        for schedule, child, child_uid in waiting.unseen:
            entry = self.cache.entries.get(schedule)
            if entry is not None and entry.parsed.ref.namespace not in self._looking:
                unseen.setdefault(entry.parsed.ref.namespace, []).append((schedule, child, child_uid))
        for namespace, ticks in unseen.items():
            self._looking.add(namespace)
            group.create_task(self._find(namespace, ticks))

    async def _find(self, namespace: str, ticks: Iterable[tuple[UUID, str, UUID]]) -> None:
        """Ends ticks whose child a GET does not find."""
        try:
            for schedule, child, child_uid in ticks:
                if await self.objects.find(namespace, child, schedule) != child_uid:
                    self.completion.ended(child_uid, gone=True)
        except ApiUnavailable as error:
            log.warning(
                "children of namespace %s that no watch has shown are looked for later: %s", namespace, error
            )
        finally:
            self._looking.discard(namespace)
