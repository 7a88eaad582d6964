"""The scheduler: the due times of all schedules. Each decision is stored before it is carried out.

It wakes when the next schedule is due, when an object changes, and when a child ends; an idle one asks the
database one cheap question every few seconds. Two schedulers at once do no harm: a decision counts only
upon the row's present version, and a tick's child only its claimant creates.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

from agentjobs.controller.apiserver.resources import AGENT_JOBS, SCHEDULED_AGENT_JOBS
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.kit.due_times import DueTimes
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.kit.owners import schedule_of
from agentjobs.controller.kit.periodic import wait_for
from agentjobs.controller.kit.queue_access import QueueAccess
from agentjobs.controller.metrics.counters import SCHEDULE_TICKS, TASK_FAILURES, Counters
from agentjobs.controller.scheduledagentjob import events
from agentjobs.controller.scheduledagentjob.cache import ScheduleCache
from agentjobs.controller.scheduledagentjob.cached_schedule import CachedSchedule, observed_digest
from agentjobs.controller.scheduledagentjob.child_completion import ChildCompletion
from agentjobs.controller.scheduledagentjob.child_creation import ChildCreation
from agentjobs.controller.scheduledagentjob.children import child_seen
from agentjobs.controller.scheduledagentjob.cluster_objects import ClusterObjects
from agentjobs.controller.scheduledagentjob.history_limits import HistoryLimits
from agentjobs.controller.scheduledagentjob.orphaned_ticks import OrphanedTicks
from agentjobs.controller.scheduledagentjob.parsed_schedule import ParsedSchedule, parsed_schedule
from agentjobs.controller.scheduledagentjob.status_writer import ScheduleStatusWriter
from agentjobs.controller.scheduledagentjob.stored_decision import due_again_at, includes, stored_decision
from agentjobs.controller.scheduledagentjob.write_gate import WriteGate
from agentjobs.queue.errors import QueueError
from agentjobs.queue.schedules import ScheduleDecision, Schedules
from agentjobs.schedule.decide import (
    Abandon,
    Decision,
    Finished,
    Missed,
    Skip,
    decide,
)
from agentjobs.telemetry.loops import LoopHealth

log = logging.getLogger(__name__)

BATCH = 500
SLICE_SECONDS = 0.005
LONGEST_SLEEP_SECONDS = 60.0


class Scheduler:
    """One per leading operator. ``enqueue`` the watch events of both kinds."""

    def __init__(
        self,
        queue: Schedules,
        objects: ClusterObjects,
        cluster_id: str,
        meter: Counters,
        record: Callable[[ObjectEvent], None],
        *,
        clock: Callable[[], datetime] | None = None,
        coalesce_seconds: float = 1.0,
        orphans_seconds: float = 5.0,
        access: Mapping[str, QueueAccess] = MappingProxyType({}),
    ) -> None:
        """``record`` takes each Event over and never waits. ``clock`` None: the database says what time it
        is."""
        self.queue, self.cluster_id, self.meter, self.record = queue, cluster_id, meter, record
        self.claimant, self.access = uuid4(), access
        self.health = LoopHealth("schedules")
        self.cache = cache = ScheduleCache(clock)
        self.gate = gate = WriteGate()
        self.history = HistoryLimits(cache, queue, objects, meter, lambda child: self.completion.ended(child))
        self.completion = ChildCompletion(cache, queue, cluster_id, record, self.history.prune_history)
        self.orphans = OrphanedTicks(cache, queue, objects, cluster_id, self.completion, orphans_seconds)
        self.statuses = ScheduleStatusWriter(cache, gate, objects, meter, coalesce_seconds)
        self.creation = ChildCreation(
            cache, gate, queue, objects, meter, record, self.completion, self.claimant
        )
        cache.on_change = self.statuses.enqueue
        self._due = DueTimes()
        self._unsaved: dict[UUID, ParsedSchedule] = {}
        self._gone: set[UUID] = set()
        self._heard_at: dict[UUID, float] = {}
        """When the watch last brought something of a schedule."""

    async def run(self) -> None:
        """Runs all parts until cancelled."""
        parts = (self.creation, self.completion, self.orphans, self.history, self.statuses)
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part.run(), name=type(part).__name__)
            group.create_task(self._decide_on(), name="Scheduler")

    # what the watch sees -----------------------------------------------------------------------------

    def enqueue(self, batch: Iterable[WatchEvent]) -> None:
        """Takes watch events of both kinds; never waits."""
        for seen in batch:
            try:
                if seen.kind == SCHEDULED_AGENT_JOBS:
                    self._put_schedule(seen)
                elif seen.kind == AGENT_JOBS:
                    self._put_child(seen.object, deleted=seen.deleted)
            except (KeyError, ValueError, TypeError):
                # what no API server sends: counted, and not allowed to hold up the others
                log.exception("an object cannot be read: %.200r", seen.object.get("metadata"))
                self.meter.add(TASK_FAILURES, part="translate")

    def _put_schedule(self, seen: WatchEvent) -> None:
        obj, uid = seen.object, UUID(seen.object["metadata"]["uid"])
        if seen.read_at is not None and seen.read_at <= self._heard_at.get(uid, 0.0):
            return  # a GET that the watch has overtaken
        if seen.read_at is None:
            self._heard_at[uid] = time.monotonic()
        if seen.deleted or obj["metadata"].get("deletionTimestamp"):
            self.forget(uid)
            return
        # neither a listing nor a sweep's GET shows when the object was changed
        watched = not seen.listed and seen.read_at is None
        parsed = parsed_schedule(
            obj, self.cluster_id, watched=watched, access=self.access, confirmed=seen.confirmed
        )
        entry = self.cache.entries.get(uid)
        if entry is None:
            entry = self.cache.entries[uid] = CachedSchedule.of(parsed, obj)
            self._unsaved[uid] = parsed
            self.cache.wake.set()
            return
        before, entry.parsed = entry.parsed, parsed
        entry.observed = observed_digest(obj.get("status") or {})
        if entry.written and not entry.kept:
            entry.kept = entry.observed
        newer = parsed.generation > before.generation or seen.confirmed is not None
        if newer or parsed.revision > (entry.row.version if entry.row else 0):
            self._unsaved[uid] = parsed
            self.history.prune_history(uid)
        self.cache.enqueue(uid)

    def _put_child(self, obj: dict[str, Any], *, deleted: bool) -> None:
        schedule = schedule_of(obj["metadata"])
        if schedule is None:
            return
        child = child_seen(obj)
        if deleted:
            self.cache.children.deleted(schedule, child.uid)
        elif not self.cache.children.saw(schedule, child):
            return
        entry = self.cache.entries.get(schedule)
        if entry is None:
            return
        ticks = entry.row.ticks if entry.row else ()
        if (deleted or child.succeeded is not None) and any(str(tick.uid) == child.uid for tick in ticks):
            self.completion.ended(UUID(child.uid), gone=deleted)
        if child.succeeded is not None:
            self.history.prune_history(schedule)
        self.cache.enqueue(schedule)

    def has(self, uid: str, generation: int) -> bool:
        """Whether this object, in this generation or a later one, was taken in."""
        entry = self.cache.entries.get(UUID(uid))
        return entry is not None and entry.parsed.generation >= generation

    def forget(self, uid: UUID) -> None:
        """Forgets a schedule whose object is gone."""
        entry = self.cache.entries.pop(uid, None)
        self.cache.children.forget(uid)
        self._unsaved.pop(uid, None)
        self._heard_at.pop(uid, None)
        if entry is not None:
            for part in (self.gate.backoff, self.statuses, self.history):
                part.forget(entry.parsed.ref.namespace, uid)
        self._due.put(uid, None)
        self._gone.add(uid)
        self.cache.wake.set()

    # deciding ----------------------------------------------------------------------------------------

    async def _decide_on(self) -> None:
        while True:
            await self._sleep()
            due: set[UUID] = set()
            try:
                with self.health.attempt():
                    await self._save()
                    due = {*self._due.due(self.cache.now()), *self.cache.dirty}
                    self.cache.dirty.clear()
                    await self._decide(due)
            except QueueError as error:
                log.warning("schedules wait for the database: %s", error)
                self.cache.dirty |= due
                await asyncio.sleep(random.uniform(0.5, 1.5))
                self.cache.wake.set()

    async def _sleep(self) -> None:
        due = self._due.next()
        seconds = LONGEST_SLEEP_SECONDS
        if due is not None:
            seconds = min(seconds, max(0.0, (due - self.cache.now()).total_seconds()))
        await wait_for(self.cache.wake, seconds)
        self.cache.wake.clear()

    async def _save(self) -> None:
        """Stores changed objects as rows, and reads rows that other operators have changed."""
        for uid in self.cache.stale:
            if uid in self.cache.entries:
                self._unsaved.setdefault(uid, self.cache.entries[uid].parsed)
        self.cache.stale.clear()
        while self._gone:
            gone = list(self._gone)[:BATCH]
            await self.queue.forget_schedules(gone)
            self._gone.difference_update(gone)
        while self._unsaved:
            await self._save_some(list(self._unsaved.values())[:BATCH])

    async def _save_some(self, unsaved: list[ParsedSchedule]) -> None:
        asked_at = time.monotonic()
        try:
            found = await self.queue.save_schedules(
                (parsed.remembered for parsed in unsaved), self.cache.now()
            )
        except QueueError:
            raise
        except Exception:
            # one that cannot be stored must not hold up the others (H6)
            if len(unsaved) > 1:
                middle = len(unsaved) // 2
                await self._save_some(unsaved[:middle])
                await self._save_some(unsaved[middle:])
                return
            log.exception("a schedule cannot be stored", extra={"schedule": str(unsaved[0].uid)})
            self.meter.add(TASK_FAILURES, part="scheduler")
            del self._unsaved[unsaved[0].uid]
            return
        for parsed in unsaved:
            if self._unsaved.get(parsed.uid) is parsed:
                del self._unsaved[parsed.uid]
        self.cache.store_rows(found, asked_at)

    async def _decide(self, due: set[UUID]) -> None:
        """Decides these schedules, stores the decisions, and starts to carry them out.

        A batch at a time: an operator that starts decides all schedules, and the first decision must not wait until
        the last one is made.
        """
        waiting = list(due)
        for start in range(0, len(waiting), BATCH):
            now = self.cache.now()
            decisions = await self._look_at(waiting[start : start + BATCH], now)
            if decisions:
                await self._store(decisions, now)

    async def _look_at(
        self, batch: list[UUID], now: datetime
    ) -> dict[UUID, tuple[Decision, ScheduleDecision]]:
        """The decisions to be stored. Other tasks run at least every SLICE_SECONDS: a next time costs 0.1 ms."""
        decisions: dict[UUID, tuple[Decision, ScheduleDecision]] = {}
        slice_ends = time.monotonic() + SLICE_SECONDS
        for uid in batch:
            if time.monotonic() > slice_ends:
                await asyncio.sleep(0)
                slice_ends = time.monotonic() + SLICE_SECONDS
            entry = self.cache.entries.get(uid)
            if entry is None or entry.busy or uid in self._unsaved or not entry.current:
                continue  # each of these ends with an enqueue
            decision = self._look(entry, now)
            if decision is not None and (stored := stored_decision(entry, decision)) is not None:
                decisions[uid] = (decision, stored)
        return decisions

    def _look(self, entry: CachedSchedule, now: datetime) -> Decision | None:
        """Decides one schedule; returns a decision that has to be stored. What needs no storing is done
        here."""
        uid, spec = entry.parsed.uid, entry.parsed.spec
        self.cache.on_change(uid)
        entry.decided_generation = entry.parsed.generation
        if spec is None:
            entry.next_tick, entry.finished = None, False
            self._due.put(uid, None)
            self._say_not_accepted(entry, now)
            return None
        assert entry.row is not None
        active = self.cache.children.active(uid)
        decision = decide(spec, entry.state(tuple(child.uid for child in active)), now)
        entry.next_tick = decision.next_tick
        to_store = stored_decision(entry, decision) is not None
        entry.finished = not to_store and _ends(entry, decision)
        self._due.put(uid, due_again_at(decision, now))
        may_ask = time.monotonic() >= entry.retry_at
        pending = entry.pending
        if pending is not None and includes(decision, Abandon) and entry.confirmed_absent != pending.child:
            if may_ask:
                self.creation.look_for(entry, pending.child)
            return None
        for action in decision.actions:
            if isinstance(action, Skip) and entry.reported_held_tick != action.tick:
                entry.reported_held_tick = action.tick
                self.meter.add(SCHEDULE_TICKS, outcome="held")
                self.record(events.held(entry.parsed, action.tick, [child.name for child in active[:3]], now))
        if not to_store:
            if entry.uncreated and may_ask:
                self.creation.create(entry, entry.uncreated[0].child)
            return None
        return decision

    async def _store(self, decisions: dict[UUID, tuple[Decision, ScheduleDecision]], now: datetime) -> None:
        asked_at = time.monotonic()
        decided, found = await self.queue.decide_schedules(
            self.claimant, (stored for _, stored in decisions.values())
        )
        self.cache.store_rows(found, asked_at)
        for uid in decided:
            entry, (decision, stored) = self.cache.entries.get(uid), decisions[uid]
            if entry is None:
                continue
            entry.confirmed_absent, entry.retry_at = None, 0.0
            self.gate.backoff.forget(entry.parsed.ref.namespace, uid)
            for action in decision.actions:
                if isinstance(action, Missed):
                    self.meter.add(SCHEDULE_TICKS, action.count, outcome="missed")
                    self.record(events.missed(entry.parsed, action.count, action.latest, now))
            entry.finished = _ends(entry, decision)
            if stored.child is not None and not entry.busy:
                self.creation.create(entry, stored.child)

    def _say_not_accepted(self, entry: CachedSchedule, now: datetime) -> None:
        problem, key = entry.parsed.problem, f"g{entry.parsed.generation}"
        if problem is not None and key not in entry.reported:
            entry.reported = (key,)
            log.warning(
                "schedule %s/%s is not accepted: %s",
                entry.parsed.ref.namespace,
                entry.parsed.ref.name,
                problem.message,
                extra={"schedule": str(entry.parsed.uid)},
            )
            self.record(events.not_accepted(entry.parsed, problem, now))


def _ends(entry: CachedSchedule, decision: Decision) -> bool:
    """Whether a one shot comes to its end by this decision: no child is to be created, or has not ended."""
    return includes(decision, Finished) and entry.row is not None and not entry.row.ticks
