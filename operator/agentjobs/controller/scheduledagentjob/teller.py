"""Posting Events of schedules; best effort, as CronJob's: what is not posted when the process dies is lost."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field

from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.metrics.counters import TASK_FAILURES
from agentjobs.controller.scheduledagentjob.cache import ScheduleCache
from agentjobs.controller.scheduledagentjob.port import ObjectsUnavailable

log = logging.getLogger(__name__)

BACKLOG = 2000
"""An outage's Events beyond it are dropped, the oldest first."""
PARALLEL = 4


@dataclass(slots=True)
class Teller:
    """A short queue; each Event is tried until there is an answer."""

    book: ScheduleCache
    _events: deque[ObjectEvent] = field(default_factory=lambda: deque(maxlen=BACKLOG))
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, event: ObjectEvent) -> None:
        self._events.append(event)
        self._wake.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(PARALLEL):
                group.create_task(self._post_on())

    async def _post_on(self) -> None:
        while True:
            await self._wake.wait()
            await self.book.calm()
            if not self._events:
                self._wake.clear()
                continue
            event = self._events.popleft()
            try:
                await self.book.objects.post(event)
            except ObjectsUnavailable as error:
                self._events.appendleft(event)
                await asyncio.sleep(self.book.pause(error))
            except Exception:
                log.exception("an Event could not be posted")
                self.book.meter.add(TASK_FAILURES, part="scheduler")
