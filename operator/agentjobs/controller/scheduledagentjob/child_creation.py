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
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from uuid import UUID
from weakref import WeakValueDictionary

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import Call
from agentjobs.controller.kit.backoff import WHO, worth_a_line
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
WAIT_SECONDS = 0.5
"""For another schedule of a namespace that refuses, which asks in the place of all."""

Attempt = Callable[[CachedSchedule, str], Awaitable[Coroutine[None, None, None] | None]]
"""One attempt for a child of this name: what asks the API server, and returns what is to be done after it,
without a slot."""


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
    """Requests under way at once, for each namespace: one that gives no answer holds up no other."""
    _slots: WeakValueDictionary[str, asyncio.Semaphore] = field(default_factory=WeakValueDictionary)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _created: list[tuple[UUID, Tick, UUID, asyncio.Future[None]]] = field(default_factory=list)
    _confirm: asyncio.Event = field(default_factory=asyncio.Event)

    def create(self, entry: CachedSchedule, child: str) -> None:
        """Tries once to create the child of a decided tick."""
        self._start(entry, child, self._create)

    def look_for(self, entry: CachedSchedule, child: str) -> None:
        """Finds out whether a child that comes too late is there, before its tick is given up."""
        self._start(entry, child, self._look_for)

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

    def _start(self, entry: CachedSchedule, child: str, work: Attempt) -> None:
        uid, namespace, now = entry.parsed.uid, entry.parsed.ref.namespace, time.monotonic()
        backoff = self.gate.backoff
        if not backoff.may_start(namespace, uid, now):
            self._later(entry, max(backoff.seconds(namespace, uid, now), WAIT_SECONDS))
            return
        backoff.start(namespace, uid, math.inf)
        entry.busy = True
        task = asyncio.create_task(self._guarded(entry, child, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, entry: CachedSchedule, child: str, work: Attempt) -> None:
        uid, namespace = entry.parsed.uid, entry.parsed.ref.namespace
        slots = self._slots.setdefault(namespace, asyncio.Semaphore(self.parallel))
        try:
            async with slots:
                now = time.monotonic()
                self.gate.backoff.start(namespace, uid, now)
                if not self.gate.backoff.goes_on(namespace, now):
                    self._later(entry, self.gate.backoff.seconds(namespace, uid, now))
                    return
                after = await work(entry, child)
            if after is not None:
                await after
        except ApiUnavailable as error:
            self._refused_for_now(entry, child, error)
        except QueueError as error:
            log.warning("a child creation waits for the database: %s", error)
            self._later(entry, 1.0)
        except Exception:
            log.exception("a child could not be created", extra={"schedule": str(uid)})
            self.meter.add(TASK_FAILURES, part="scheduler")
            self._postpone(entry)
        finally:
            entry.busy = False
            self.gate.backoff.ended(namespace, uid)
            self.cache.enqueue(uid)

    def _later(self, entry: CachedSchedule, seconds: float) -> None:
        seconds += 0.05
        entry.retry_at = time.monotonic() + seconds
        asyncio.get_running_loop().call_later(seconds, self.cache.enqueue, entry.parsed.uid)

    def _postpone(self, entry: CachedSchedule) -> None:
        uid, namespace, now = entry.parsed.uid, entry.parsed.ref.namespace, time.monotonic()
        if self.cache.entries.get(uid) is not entry:
            return  # it is gone, and so is what was known of it
        self.gate.backoff.postpone(namespace, uid, now)
        self._later(entry, self.gate.backoff.seconds(namespace, uid, now))

    def _refused_for_now(self, entry: CachedSchedule, child: str, error: ApiUnavailable) -> None:
        """The schedule waits, or its namespace; people are told once per tick: at once where the API server
        has answered, at the second time where it is silent."""
        uid, ref = entry.parsed.uid, entry.parsed.ref
        decision = self.gate.backoff.decide(Call.CREATE, error, ref.namespace, uid, time.monotonic())
        self._later(entry, decision.seconds)
        if worth_a_line(refusals := self.gate.backoff.refusals(ref.namespace, uid)):
            log.warning(
                "%s/%s is not created yet; %s waits %.1f s: %s",
                ref.namespace,
                child,
                WHO[decision.concerns],
                decision.seconds,
                error,
                extra={"schedule": str(uid)},
            )
        tick = entry.tick(child)
        if tick is not None and not error.unreachable and (error.status is not None or refusals > 1):
            self._report(entry, tick, str(error), again=True)

    def _report(self, entry: CachedSchedule, tick: Tick, why: str, *, again: bool) -> None:
        """Posts FailedCreate, once per tick."""
        if tick.child not in entry.reported:
            entry.reported = (*entry.reported[-9:], tick.child)
            self.record(events.refused(entry.parsed, tick, why, self.cache.now(), again=again))

    async def _create(self, entry: CachedSchedule, child: str) -> Coroutine[None, None, None] | None:
        uid = entry.parsed.uid
        tick = await self._claimed(entry, child)
        if tick is None or self.cache.entries.get(uid) is not entry or entry.row is None:
            return None
        stopped = await self._stop_others(entry, tick)
        if not self._still_claimed(entry, child):
            self._later(entry, 0.0)
            return None
        manifest = child_of(entry.parsed, tick, entry.row.last_successful)
        answer = await self.objects.create(manifest, uid)
        self.gate.backoff.taken(entry.parsed.ref.namespace, uid)
        if isinstance(answer, Refused):
            return self._refused(entry, tick, answer)
        return self._confirmed(entry, tick, answer.uid, stopped)

    async def _confirmed(
        self, entry: CachedSchedule, tick: Tick, child_uid: UUID, stopped: Sequence[str]
    ) -> None:
        """Has the uid of a child that was created stored, and tells of it."""
        uid = entry.parsed.uid
        confirmed = asyncio.get_running_loop().create_future()
        self._created.append((uid, tick, child_uid, confirmed))
        self._confirm.set()
        await confirmed
        self.meter.add(SCHEDULE_TICKS, outcome="created")
        late = (self.cache.now() - (tick.decided_at if tick.manual else tick.tick)).total_seconds()
        log.info(
            "created %s/%s, %.3f s after its time",
            entry.parsed.ref.namespace,
            tick.child,
            late,
            extra={"schedule": str(uid), "job": str(child_uid)},
        )
        self.record(events.created(entry.parsed, tick, stopped, self.cache.now()))

    async def _claimed(self, entry: CachedSchedule, child: str) -> Tick | None:
        """The tick, claimed for long enough; None: its child is there already, or another process has it."""
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
            self._postpone(entry)
        if tick.child not in entry.reported:
            log.warning(
                "%s/%s was not created: %s",
                entry.parsed.ref.namespace,
                tick.child,
                answer.why,
                extra={"schedule": str(entry.parsed.uid)},
            )
        self._report(entry, tick, answer.why, again=not answer.final)

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

    async def _look_for(self, entry: CachedSchedule, child: str) -> Coroutine[None, None, None] | None:
        tick = await self._claimed(entry, child)
        if tick is None:
            return None
        found = await self.objects.find(entry.parsed.ref.namespace, child, entry.parsed.uid)
        self.gate.backoff.taken(entry.parsed.ref.namespace, entry.parsed.uid)
        if found is None:
            entry.confirmed_absent = child
            return None
        return self._found(entry, tick, found)

    async def _found(self, entry: CachedSchedule, tick: Tick, child_uid: UUID) -> None:
        confirmed = asyncio.get_running_loop().create_future()
        self._created.append((entry.parsed.uid, tick, child_uid, confirmed))
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
