"""The scheduler: one agenda over all schedules, and each decision stored before it is carried out.

It wakes when the next schedule is due, when an object changes, and when a child ends; an idle one asks the
database one cheap question every few seconds. Two schedulers at once do no harm: a decision counts only upon the
row's present version, and a tick's child only its claimant creates.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from agentjobs.controller.apiserver.resources import AGENT_JOBS, SCHEDULED_AGENT_JOBS
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.kit.due_times import DueTimes
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.kit.periodic import wait_for
from agentjobs.controller.kit.status_digest import status_digest
from agentjobs.controller.metrics.counters import SCHEDULE_TICKS, TASK_FAILURES
from agentjobs.controller.scheduledagentjob import events
from agentjobs.controller.scheduledagentjob.cache import ScheduleCache
from agentjobs.controller.scheduledagentjob.cached_schedule import CachedSchedule
from agentjobs.controller.scheduledagentjob.child_creation import ChildCreation
from agentjobs.controller.scheduledagentjob.children import child_seen, schedule_of
from agentjobs.controller.scheduledagentjob.keeper import Keeper
from agentjobs.controller.scheduledagentjob.parsed_schedule import ParsedSchedule, parsed_schedule
from agentjobs.controller.scheduledagentjob.status_writer import ScheduleStatusWriter
from agentjobs.queue.errors import QueueError
from agentjobs.queue.schedules import ScheduleDecision
from agentjobs.schedule.decide import (
    Abandon,
    Create,
    Decision,
    Finished,
    Missed,
    Replace,
    Skip,
    Wait,
    decide,
)

log = logging.getLogger(__name__)

BATCH = 500
SLICE_SECONDS = 0.005
LONGEST_SLEEP_SECONDS = 60.0


class Scheduler:
    """One per leading operator. ``put`` it what the watch sees, of both kinds."""

    def __init__(
        self,
        book: ScheduleCache,
        record: Callable[[ObjectEvent], None],
        *,
        coalesce_seconds: float = 1.0,
        tend_seconds: float = 5.0,
    ) -> None:
        """``record`` takes each Event over and never waits."""
        self.book = book
        self.record = record
        self.statuses = ScheduleStatusWriter(book, coalesce_seconds)
        self.keeper = Keeper(book, record, tend_seconds)
        self.creator = ChildCreation(book, record, self.keeper)
        book.on_change = self.statuses.mark
        self._agenda = DueTimes()
        self._unsaved: dict[UUID, ParsedSchedule] = {}
        self._gone: set[UUID] = set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for part in (self.creator, self.keeper, self.statuses):
                group.create_task(part.run(), name=type(part).__name__)
            group.create_task(self._decide_on(), name="Scheduler")

    # what the watch sees -----------------------------------------------------------------------------

    def put(self, batch: Iterable[WatchEvent]) -> None:
        """Never waits."""
        for seen in batch:
            try:
                if seen.kind == SCHEDULED_AGENT_JOBS:
                    self._put_schedule(seen.object, deleted=seen.deleted, listed=seen.listed)
                elif seen.kind == AGENT_JOBS:
                    self._put_child(seen.object, deleted=seen.deleted)
            except (KeyError, ValueError, TypeError):
                # what no API server sends: counted, and not allowed to hold up the others
                log.exception("an object cannot be read: %.200r", seen.object.get("metadata"))
                self.book.meter.add(TASK_FAILURES, part="translate")

    def _put_schedule(self, obj: dict[str, Any], *, deleted: bool, listed: bool) -> None:
        uid = UUID(obj["metadata"]["uid"])
        if deleted or obj["metadata"].get("deletionTimestamp"):
            self.forget(uid)
            return
        reading = parsed_schedule(obj, self.book.cluster_id, watched=not listed)
        entry = self.book.entries.get(uid)
        if entry is None:
            entry = self.book.entries[uid] = CachedSchedule.of(reading, obj)
            self._unsaved[uid] = reading
            self.book.wake.set()
            return
        if reading.generation < entry.reading.generation:
            return  # a GET that the watch has overtaken
        before, entry.reading = entry.reading, reading
        entry.observed = status_digest(obj.get("status") or {})
        if reading.generation > before.generation or reading.revision > (
            entry.row.version if entry.row else 0
        ):
            self._unsaved[uid] = reading
            self.keeper.tidy(uid)
        self.book.mark(uid)

    def _put_child(self, obj: dict[str, Any], *, deleted: bool) -> None:
        schedule = schedule_of(obj["metadata"])
        if schedule is None:
            return
        child = child_seen(obj)
        if deleted:
            self.book.children.deleted(schedule, child.uid)
        elif not self.book.children.saw(schedule, child):
            return
        entry = self.book.entries.get(schedule)
        if entry is None:
            return
        ticks = entry.row.ticks if entry.row else ()
        if (deleted or child.succeeded is not None) and any(str(tick.uid) == child.uid for tick in ticks):
            self.keeper.ended(UUID(child.uid), gone=deleted)
        if child.succeeded is not None:
            self.keeper.tidy(schedule)
        self.book.mark(schedule)

    def has(self, uid: str, generation: int) -> bool:
        """Whether this object, in this generation or a later one, was taken in."""
        entry = self.book.entries.get(UUID(uid))
        return entry is not None and entry.reading.generation >= generation

    def forget(self, uid: UUID) -> None:
        """Its object is gone."""
        self.book.entries.pop(uid, None)
        self.book.children.forget(uid)
        self._unsaved.pop(uid, None)
        self._agenda.put(uid, None)
        self._gone.add(uid)
        self.book.wake.set()

    # deciding ----------------------------------------------------------------------------------------

    async def _decide_on(self) -> None:
        while True:
            await self._sleep()
            due: set[UUID] = set()
            try:
                await self._save()
                due = {*self._agenda.due(self.book.now()), *self.book.dirty}
                self.book.dirty.clear()
                await self._decide(due)
            except QueueError as error:
                log.warning("the scheduler waits for the database: %s", error)
                self.book.dirty |= due
                await asyncio.sleep(random.uniform(0.5, 1.5))
                self.book.wake.set()

    async def _sleep(self) -> None:
        due = self._agenda.next()
        seconds = LONGEST_SLEEP_SECONDS
        if due is not None:
            seconds = min(seconds, max(0.0, (due - self.book.now()).total_seconds()))
        await wait_for(self.book.wake, seconds)
        self.book.wake.clear()

    async def _save(self) -> None:
        """Objects to rows, and rows that others have changed back to memory."""
        for uid in self.book.stale:
            if uid in self.book.entries:
                self._unsaved.setdefault(uid, self.book.entries[uid].reading)
        self.book.stale.clear()
        while self._gone:
            gone = list(self._gone)[:BATCH]
            await self.book.queue.forget_schedules(gone)
            self._gone.difference_update(gone)
        while self._unsaved:
            await self._save_some(list(self._unsaved.values())[:BATCH])

    async def _save_some(self, readings: list[ParsedSchedule]) -> None:
        asked_at = time.monotonic()
        try:
            found = await self.book.queue.save_schedules(
                (reading.remembered for reading in readings), self.book.now()
            )
        except QueueError:
            raise
        except Exception:
            # one that cannot be stored must not hold up the others (H6)
            if len(readings) > 1:
                middle = len(readings) // 2
                await self._save_some(readings[:middle])
                await self._save_some(readings[middle:])
                return
            log.exception("a schedule cannot be stored", extra={"schedule": str(readings[0].uid)})
            self.book.meter.add(TASK_FAILURES, part="scheduler")
            del self._unsaved[readings[0].uid]
            return
        for reading in readings:
            if self._unsaved.get(reading.uid) is reading:
                del self._unsaved[reading.uid]
        self.book.take(found, asked_at)

    async def _decide(self, due: set[UUID]) -> None:
        """Decides upon these schedules, stores the decisions, and starts to carry them out. A batch at a time: when an
        operator starts they are all of them, and a decision must not wait until the last one is made."""
        waiting = list(due)
        for start in range(0, len(waiting), BATCH):
            now = self.book.now()
            decisions = await self._look_at(waiting[start : start + BATCH], now)
            if decisions:
                await self._store(decisions, now)

    async def _look_at(
        self, batch: list[UUID], now: datetime
    ) -> dict[UUID, tuple[Decision, ScheduleDecision]]:
        """The decisions to store. The event loop turns at least every SLICE_SECONDS: a next time costs 0.1 ms."""
        decisions: dict[UUID, tuple[Decision, ScheduleDecision]] = {}
        slice_ends = time.monotonic() + SLICE_SECONDS
        for uid in batch:
            if time.monotonic() > slice_ends:
                await asyncio.sleep(0)
                slice_ends = time.monotonic() + SLICE_SECONDS
            entry = self.book.entries.get(uid)
            if entry is None or entry.busy or uid in self._unsaved or not entry.current:
                continue  # each of these ends with a mark
            decision = self._look(entry, now)
            if decision is not None and (stored := _stored(entry, decision)) is not None:
                decisions[uid] = (decision, stored)
        return decisions

    def _look(self, entry: CachedSchedule, now: datetime) -> Decision | None:
        """The decision, where it can be stored now; what needs no storing is done here."""
        uid, spec = entry.reading.uid, entry.reading.spec
        self.book.on_change(uid)
        if spec is None:
            entry.next_tick, entry.over = None, False
            self._agenda.put(uid, None)
            self._say_not_accepted(entry, now)
            return None
        assert entry.row is not None
        active = self.book.children.active(uid)
        decision = decide(spec, entry.state(tuple(child.uid for child in active)), now)
        entry.next_tick = decision.next_tick
        entry.over = _is(Finished, decision) and not entry.row.ticks
        self._agenda.put(uid, _again(decision, now))
        may_ask = time.monotonic() >= entry.retry_at
        pending = entry.pending
        if pending is not None and _is(Abandon, decision) and entry.absent != pending.child:
            if may_ask:
                self.creator.look_for(entry, pending.child)
            return None
        for action in decision.actions:
            if isinstance(action, Skip) and entry.held != action.tick:
                entry.held = action.tick
                self.book.meter.add(SCHEDULE_TICKS, outcome="held")
                self.record(
                    events.held(entry.reading, action.tick, [child.name for child in active[:3]], now)
                )
        if _stored(entry, decision) is None:
            if entry.uncreated and may_ask:
                self.creator.create(entry, entry.uncreated[0].child)
            return None
        return decision

    async def _store(self, decisions: dict[UUID, tuple[Decision, ScheduleDecision]], now: datetime) -> None:
        asked_at = time.monotonic()
        decided, found = await self.book.queue.decide_schedules(
            self.book.id, (stored for _, stored in decisions.values())
        )
        self.book.take(found, asked_at)
        for uid in decided:
            entry, (decision, stored) = self.book.entries.get(uid), decisions[uid]
            if entry is None:
                continue
            entry.absent, entry.failures, entry.retry_at = None, 0, 0.0
            for action in decision.actions:
                if isinstance(action, Missed):
                    self.book.meter.add(SCHEDULE_TICKS, action.count, outcome="missed")
                    self.record(events.missed(entry.reading, action.count, action.latest, now))
            if stored.child is not None and not entry.busy:
                self.creator.create(entry, stored.child)

    def _say_not_accepted(self, entry: CachedSchedule, now: datetime) -> None:
        problem, key = entry.reading.problem, f"g{entry.reading.generation}"
        if problem is not None and key not in entry.told:
            entry.told = (key,)
            log.warning(
                "schedule %s/%s is not accepted: %s",
                entry.reading.ref.namespace,
                entry.reading.ref.name,
                problem.message,
                extra={"schedule": str(entry.reading.uid)},
            )
            self.record(events.not_accepted(entry.reading, problem, now))


def _is(kind: type, decision: Decision) -> bool:
    return any(isinstance(action, kind) for action in decision.actions)


def _stored(entry: CachedSchedule, decision: Decision) -> ScheduleDecision | None:
    """What of the decision is stored before it is carried out; None: nothing."""
    assert entry.row is not None
    missed = sum(action.count for action in decision.actions if isinstance(action, Missed))
    create = next((action for action in decision.actions if isinstance(action, Create | Replace)), None)
    if not (missed or create or decision.decided or decision.run_handled):
        return None
    return ScheduleDecision(
        uid=entry.reading.uid,
        version=entry.row.version,
        last_tick=decision.decided,
        run_handled=decision.run_handled,
        missed=missed,
        abandon=entry.absent if _is(Abandon, decision) else None,
        child=create.child if create else None,
        tick=create.tick if create else None,
        manual=isinstance(create, Create) and create.manual,
    )


def _again(decision: Decision, now: datetime) -> datetime | None:
    wait = decision.actions[-1]
    assert isinstance(wait, Wait)
    if wait.until is None:
        return None
    return max(wait.until, now + timedelta(milliseconds=1))
