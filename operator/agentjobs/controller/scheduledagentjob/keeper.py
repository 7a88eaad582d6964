"""After the creation: noticing what ended, what other processes left behind, and which children may go."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.metrics.counters import TASK_FAILURES
from agentjobs.controller.scheduledagentjob import events
from agentjobs.controller.scheduledagentjob.cache import ScheduleCache
from agentjobs.queue.errors import QueueError
from agentjobs.queue.schedules import EndedChild
from agentjobs.schedule.history import Child, surplus

log = logging.getLogger(__name__)

CLOSE_SECONDS = 0.05
"""Children that end within it are closed together."""
TEND_SECONDS = 5.0
"""How late a child that another process left behind is noticed, after its claim is over."""
CLOSE_ALL_EVERY = 6
"""Ends that no watch has shown are noticed with every 6th look."""
TIDY_AGAIN_SECONDS = 10.0


@dataclass(slots=True)
class Keeper:
    """Runs beside the decisions; nothing here is urgent."""

    book: ScheduleCache
    record: Callable[[ObjectEvent], None]
    tend_seconds: float = TEND_SECONDS
    _ended: set[UUID] = field(default_factory=set)
    _gone: set[UUID] = field(default_factory=set)
    _close: asyncio.Event = field(default_factory=asyncio.Event)
    _untidy: set[UUID] = field(default_factory=set)
    _tidy: asyncio.Event = field(default_factory=asyncio.Event)

    def ended(self, child: UUID, *, gone: bool = False) -> None:
        """The watch has shown the end of a child, or that it was deleted."""
        (self._gone if gone else self._ended).add(child)
        self._close.set()

    def tidy(self, schedule: UUID) -> None:
        """There may be more finished children than the limits allow."""
        self._untidy.add(schedule)
        self._tidy.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for part in (self._close_on(), self._tend_on(), self._tidy_on()):
                group.create_task(part)

    # ends --------------------------------------------------------------------------------------------

    async def _close_on(self) -> None:
        while True:
            await self._close.wait()
            await asyncio.sleep(CLOSE_SECONDS)
            self._close.clear()
            ended, self._ended = self._ended, set()
            gone, self._gone = self._gone, set()
            try:
                await self._close_those(ended, gone)
            except QueueError as error:
                log.warning("ended children are noted later: %s", error)
                self._ended |= ended
                self._gone |= gone
                await asyncio.sleep(random.uniform(0.5, 1.5))
                self._close.set()

    async def _close_those(self, ended: set[UUID] | None, gone: set[UUID]) -> None:
        asked_at = time.monotonic()
        closed, found = await self.book.queue.close_children(
            self.book.cluster_id, None if ended is None else list(ended), list(gone)
        )
        for child in closed:
            self._tell(child)
        self.book.take(found, asked_at)

    def _tell(self, child: EndedChild) -> None:
        entry = self.book.entries.get(child.schedule)
        if entry is None:
            return
        if str(child.uid) in {known.uid for known in self.book.children.active(child.schedule)}:
            state = child.state.value
            self.book.children.saw(
                child.schedule,
                Child(child.child, str(child.uid), child.tick, state == "Complete", child.manual),
            )
        self.record(events.completed(entry.reading, child))
        self.tidy(child.schedule)

    # what others left behind -------------------------------------------------------------------------

    async def _tend_on(self) -> None:
        looks = 0
        while True:
            await asyncio.sleep(self.tend_seconds * random.uniform(0.8, 1.2))
            try:
                await self._tend()
                looks += 1
                if looks % CLOSE_ALL_EVERY == 0:
                    await self._close_those(None, set())
            except QueueError as error:
                log.warning("the scheduler waits for the database: %s", error)
            except ApiUnavailable as error:
                self.book.pause(error)

    async def _tend(self) -> None:
        asked_at = time.monotonic()
        waiting = await self.book.queue.waiting_schedules(self.book.cluster_id)
        self.book.heard(waiting.now, asked_at)
        self.book.wake.set()  # the time may have moved
        for uid in waiting.pending:
            entry = self.book.entries.get(uid)
            if entry is not None and not entry.busy:
                self.book.refresh(uid)
        for schedule, child, child_uid in waiting.unseen:
            entry = self.book.entries.get(schedule)
            if entry is None:
                continue
            found = await self.book.objects.find(entry.reading.ref.namespace, child, schedule)
            if found != child_uid:
                self.ended(child_uid, gone=True)

    # history limits ----------------------------------------------------------------------------------

    async def _tidy_on(self) -> None:
        while True:
            await self._tidy.wait()
            await asyncio.sleep(max(CLOSE_SECONDS, self.book.paused_seconds()))
            self._tidy.clear()
            untidy, self._untidy = self._untidy, set()
            for schedule in untidy:
                try:
                    done = await self._tidy_one(schedule)
                except (ApiUnavailable, QueueError) as error:
                    log.warning("finished children are deleted later: %s", error)
                    done = False
                except Exception:
                    log.exception("finished children could not be deleted")
                    self.book.meter.add(TASK_FAILURES, part="scheduler")
                    done = False
                if not done:
                    asyncio.get_running_loop().call_later(TIDY_AGAIN_SECONDS, self.tidy, schedule)

    async def _tidy_one(self, schedule: UUID) -> bool:
        """Deletes what is beyond the limits; False: not all of it could go now."""
        entry = self.book.entries.get(schedule)
        if entry is None or entry.row is None or entry.reading.spec is None:
            return True
        requested = entry.reading.run_requested
        surplus_children = surplus(
            self.book.children.of(schedule),
            successful_limit=entry.reading.successful_limit,
            failed_limit=entry.reading.failed_limit,
            last_tick=entry.row.last_tick,
            run_is_pending=bool(requested) and requested != entry.row.run_handled,
        )
        if not surplus_children:
            return True
        namespace = entry.reading.ref.namespace
        settled = await self.book.queue.settled_children(
            (schedule, child.name, UUID(child.uid)) for child in surplus_children
        )
        done = True
        for child in surplus_children:
            if UUID(child.uid) in settled and await self.book.objects.delete(
                namespace, child.name, child.uid
            ):
                log.info("deleted %s/%s: it is beyond its schedule's history limit", namespace, child.name)
                self.book.children.deleted(schedule, child.uid)
                self.ended(UUID(child.uid))
            else:
                done = False
        return done
