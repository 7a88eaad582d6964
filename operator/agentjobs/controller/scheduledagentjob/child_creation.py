"""Child creation: the AgentJob of a decided tick is created at most once, by whichever operator holds the
claim (H29).

1. Claim the tick's row for 15 s: of two operators, one goes on.
2. Create the child within 5 s, else give up: the request ends before another operator may claim the tick.
3. Confirm the child's uid in the row: a crash before that is found by ``orphaned_ticks``, and the child by
   its name, which the tick fixes. The API server refuses a second object of that name.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from uuid import UUID

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.metrics.counters import SCHEDULE_TICKS, TASK_FAILURES, Counters
from agentjobs.controller.scheduledagentjob import events
from agentjobs.controller.scheduledagentjob.cache import ScheduleCache, child_of_tick
from agentjobs.controller.scheduledagentjob.cached_schedule import CachedSchedule
from agentjobs.controller.scheduledagentjob.child_completion import ChildCompletion
from agentjobs.controller.scheduledagentjob.children import child_of
from agentjobs.controller.scheduledagentjob.cluster_objects import CREATE_SECONDS, ClusterObjects, Refused
from agentjobs.controller.scheduledagentjob.write_gate import WriteGate
from agentjobs.queue.errors import QueueError
from agentjobs.queue.schedules import ScheduleDecision, Schedules, Tick
from agentjobs.schedule.decide import ConcurrencyPolicy

log = logging.getLogger(__name__)

CLAIM_LEFT_SECONDS = CREATE_SECONDS + 2.0
"""Left of a claim at least, when a creation begins: longer than the creation can take."""
CONFIRM_SECONDS = 0.02
"""Children that were created within it are confirmed together."""
SLOWEST_RETRY_SECONDS = 60.0


@dataclass(slots=True)
class ChildCreation:
    """Creates children of decided ticks, one request per schedule at a time."""

    cache: ScheduleCache
    gate: WriteGate
    queue: Schedules
    objects: ClusterObjects
    meter: Counters
    record: Callable[[ObjectEvent], None]
    completion: ChildCompletion
    claimant: UUID
    """Of this process: the ticks that it claims carry it."""
    parallel: int = 24
    _slots: asyncio.Semaphore = field(init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _created: list[tuple[UUID, Tick, UUID, asyncio.Future[None]]] = field(default_factory=list)
    _confirm: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.parallel)

    def create(self, entry: CachedSchedule, child: str) -> None:
        """Tries once to create the child of a decided tick."""
        self._start(entry, self._create(entry, child))

    def look_for(self, entry: CachedSchedule, child: str) -> None:
        """Finds out whether a child that comes too late is there, before its tick is given up."""
        self._start(entry, self._look_for(entry, child))

    async def run(self) -> None:
        """Confirms children that were created, until cancelled."""
        try:
            while True:
                await self._confirm.wait()
                await asyncio.sleep(CONFIRM_SECONDS)
                self._confirm.clear()
                await self._confirm_all()
        finally:
            for task in self._tasks:
                task.cancel()

    # one attempt -------------------------------------------------------------------------------------

    def _start(self, entry: CachedSchedule, work: Coroutine[None, None, None]) -> None:
        entry.busy = True
        self.gate.count_creating(1)
        task = asyncio.create_task(self._guarded(entry, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, entry: CachedSchedule, work: Coroutine[None, None, None]) -> None:
        uid = entry.parsed.uid
        try:
            await work
        except ApiUnavailable as error:
            self._later(entry, self.gate.pause(error))
        except QueueError as error:
            log.warning("a child creation waits for the database: %s", error)
            self._later(entry, 1.0)
        except Exception:
            log.exception("a child could not be created", extra={"schedule": str(uid)})
            self.meter.add(TASK_FAILURES, part="scheduler")
            self._later(entry, self._backoff(entry))
        finally:
            entry.busy = False
            self.gate.count_creating(-1)
            self.cache.enqueue(uid)

    def _later(self, entry: CachedSchedule, seconds: float) -> None:
        seconds += 0.05
        entry.retry_at = time.monotonic() + seconds
        asyncio.get_running_loop().call_later(seconds, self.cache.enqueue, entry.parsed.uid)

    def _backoff(self, entry: CachedSchedule) -> float:
        entry.failures += 1
        return min(0.5 * 2.0 ** min(entry.failures, 10), SLOWEST_RETRY_SECONDS)

    async def _create(self, entry: CachedSchedule, child: str) -> None:
        uid = entry.parsed.uid
        async with self._slots:
            tick = await self._claimed(entry, child)
            if tick is None or self.cache.entries.get(uid) is not entry or entry.row is None:
                return
            stopped = await self._stop_others(entry, tick)
            if not self._still_claimed(entry, child):
                self._later(entry, 0.0)
                return
            manifest = child_of(entry.parsed, tick, entry.row.last_successful)
            answer = await self.objects.create(manifest, uid)
            self.gate.answered()
        if isinstance(answer, Refused):
            await self._refused(entry, tick, answer)
            return
        entry.failures = 0
        confirmed = asyncio.get_running_loop().create_future()
        self._created.append((uid, tick, answer.uid, confirmed))
        self._confirm.set()
        await confirmed
        self.meter.add(SCHEDULE_TICKS, outcome="created")
        late = (self.cache.now() - (tick.decided_at if tick.manual else tick.tick)).total_seconds()
        log.info(
            "created %s/%s, %.3f s after its time",
            entry.parsed.ref.namespace,
            child,
            late,
            extra={"schedule": str(uid), "job": str(answer.uid)},
        )
        self.record(events.created(entry.parsed, tick, stopped, self.cache.now()))

    async def _claimed(self, entry: CachedSchedule, child: str) -> Tick | None:
        """The tick, claimed for long enough; None: its child is there already, or another process has it."""
        await asyncio.sleep(self.gate.paused_seconds())
        tick = entry.tick(child)
        if tick is None or tick.uid is not None:
            return None
        if entry.claimed_seconds(tick, self.claimant) >= CLAIM_LEFT_SECONDS:
            return tick
        asked_at = time.monotonic()
        self.cache.store_rows(
            await self.queue.claim_children(self.claimant, [(entry.parsed.uid, child)]), asked_at
        )
        tick = entry.tick(child)
        if tick is None or tick.uid is not None:
            return None
        if entry.claimed_seconds(tick, self.claimant) >= CLAIM_LEFT_SECONDS:
            return tick
        self._later(entry, max(0.0, tick.claimed_for_seconds))
        return None

    def _still_claimed(self, entry: CachedSchedule, child: str) -> bool:
        """Whether the claim still holds, right before the request: what came before it may have taken its
        time."""
        tick = entry.tick(child)
        if tick is None or tick.uid is not None or entry.parsed.spec is None:
            return False  # an edit meanwhile may ask for what the namespace may not
        return entry.claimed_seconds(tick, self.claimant) >= CREATE_SECONDS

    async def _stop_others(self, entry: CachedSchedule, tick: Tick) -> list[str]:
        """Asks the unfinished children to end, where concurrencyPolicy is Replace; returns their names."""
        spec = entry.parsed.spec
        if tick.manual or spec is None or spec.concurrency is not ConcurrencyPolicy.REPLACE:
            return []
        others = [child for child in self.cache.children.active(entry.parsed.uid) if child.name != tick.child]
        namespace = entry.parsed.ref.namespace
        await asyncio.gather(*(self.objects.cancel(namespace, o.name, o.uid) for o in others))
        return [other.name for other in others]

    async def _refused(self, entry: CachedSchedule, tick: Tick, answer: Refused) -> None:
        if answer.final:
            await self._give_up(entry, tick)
        else:
            self._later(entry, self._backoff(entry))
        if tick.child not in entry.reported:
            entry.reported = (*entry.reported[-9:], tick.child)
            log.warning(
                "%s/%s was not created: %s",
                entry.parsed.ref.namespace,
                tick.child,
                answer.why,
                extra={"schedule": str(entry.parsed.uid)},
            )
            self.record(
                events.refused(entry.parsed, tick, answer.why, self.cache.now(), again=not answer.final)
            )

    async def _give_up(self, entry: CachedSchedule, tick: Tick) -> None:
        """Where the row has moved on meanwhile, the next attempt comes here again."""
        assert entry.row is not None
        asked_at = time.monotonic()
        decision = ScheduleDecision(
            entry.parsed.uid, entry.row.version, missed=0 if tick.manual else 1, abandon=tick.child
        )
        decided, found = await self.queue.decide_schedules(self.claimant, [decision])
        if decided:
            self.meter.add(SCHEDULE_TICKS, outcome="refused")
        self.cache.store_rows(found, asked_at)

    async def _look_for(self, entry: CachedSchedule, child: str) -> None:
        async with self._slots:
            tick = await self._claimed(entry, child)
            if tick is None:
                return
            found = await self.objects.find(entry.parsed.ref.namespace, child, entry.parsed.uid)
            self.gate.answered()
        if found is None:
            entry.confirmed_absent = child
            return
        confirmed = asyncio.get_running_loop().create_future()
        self._created.append((entry.parsed.uid, tick, found, confirmed))
        self._confirm.set()
        await confirmed

    # confirming --------------------------------------------------------------------------------------

    async def _confirm_all(self) -> None:
        """Writes the uids of created children into their ticks; tries until the database answers."""
        created, self._created = self._created, []
        while created:
            asked_at = time.monotonic()
            try:
                found = await self.queue.confirm_children(
                    (schedule, tick.child, uid) for schedule, tick, uid, _ in created
                )
                break
            except QueueError as error:
                log.warning("created children are confirmed later: the database does not answer: %s", error)
                await asyncio.sleep(1)
        else:
            return
        self.cache.store_rows(found, asked_at)
        for schedule, tick, uid, confirmed in created:
            known = self.cache.children.created(schedule, child_of_tick(_with_uid(tick, uid)))
            if known is None or known.succeeded is not None:
                self.completion.ended(uid, gone=known is None)
            if not confirmed.done():
                confirmed.set_result(None)


def _with_uid(tick: Tick, uid: UUID) -> Tick:
    return Tick(tick.child, tick.tick, tick.manual, tick.decided_at, uid, tick.claimant, 0.0)
