"""Schedules against their rows: what the watch has missed. A schedule that is gone must not go on firing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from agentjobs.controller.agentjob.sweep import MARGIN, Listed, is_gone
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.listing import SWEEP_FAILURES, list_objects
from agentjobs.controller.apiserver.resources import SCHEDULED_AGENT_JOBS
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.apiserver.writes import get_object
from agentjobs.controller.kit.periodic import run_periodically
from agentjobs.controller.metrics.counters import SWEEP_FOUND
from agentjobs.controller.scheduledagentjob.scheduler import Scheduler
from agentjobs.queue.schedules import KnownSchedule

log = logging.getLogger(__name__)

PAGE = 2000
SETTLE_SECONDS = 5.0
"""After a listing of the watch: what it has shown is taken in by then."""


@dataclass(slots=True)
class ScheduleSweep:
    """At the start, after each listing of the watch, and every few minutes."""

    scheduler: Scheduler
    api: ApiServer
    sink: Callable[[list[WatchEvent]], None]
    namespaces: frozenset[str] = frozenset()
    interval_seconds: float = 300.0
    first_seconds: float = 5.0
    _soon: asyncio.Event = field(default_factory=asyncio.Event)

    def soon(self) -> None:
        """The watch has listed anew: deletes of before are told by nobody."""
        self._soon.set()

    async def run(self) -> None:
        seconds = (self.first_seconds, self.interval_seconds, SETTLE_SECONDS)
        await run_periodically("the sweep of schedules", self.sweep, SWEEP_FAILURES, self._soon, seconds)

    async def sweep(self) -> None:
        """One comparison, healed. Raises ApiUnavailable, QueueError, SweepAborted: nothing was concluded."""
        started = datetime.now(UTC)
        listed = await list_objects(self.api, SCHEDULED_AGENT_JOBS, self.namespaces)
        for found in listed.values():
            if not found.deleting and not self.scheduler.has(str(found.uid), found.generation):
                await self._take_in(found)
        for row in await self._rows():
            watched = not self.namespaces or row.namespace in self.namespaces
            if row.uid not in listed and watched and row.saved_at < started - MARGIN:
                await self._let_go(row)

    async def _rows(self) -> list[KnownSchedule]:
        book, rows, after = self.scheduler.book, list[KnownSchedule](), UUID(int=0)
        while page := await book.queue.known_schedules(book.cluster_id, after, PAGE):
            rows += page
            after = page[-1].uid
        return rows

    async def _take_in(self, found: Listed) -> None:
        reply = await get_object(self.api, found.namespace, found.name, resource=SCHEDULED_AGENT_JOBS)
        if reply.ok and reply.body["metadata"]["uid"] == str(found.uid):
            self.api.meter.add(SWEEP_FOUND, kind="unknown")
            self.sink([WatchEvent(reply.body, deleted=False, kind=SCHEDULED_AGENT_JOBS)])

    async def _let_go(self, row: KnownSchedule) -> None:
        reply = await get_object(
            self.api, row.namespace, row.name, metadata_only=True, resource=SCHEDULED_AGENT_JOBS
        )
        uid = (reply.body.get("metadata") or {}).get("uid") if reply.ok else None
        if is_gone(reply.status, reply.object_missing, uid, row.uid):
            self.api.meter.add(SWEEP_FOUND, kind="vanished")
            log.info("schedule %s/%s is gone; its delete was missed", row.namespace, row.name)
            self.scheduler.forget(row.uid)
