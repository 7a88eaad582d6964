"""What happens to children after their creation: completion, orphaned ticks, history limits; on stubs of both sides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.metrics.counters import Counters
from agentjobs.controller.scheduledagentjob.cache import ScheduleCache
from agentjobs.controller.scheduledagentjob.cached_schedule import CachedSchedule
from agentjobs.controller.scheduledagentjob.child_completion import ChildCompletion
from agentjobs.controller.scheduledagentjob.cluster_objects import ClusterObjects
from agentjobs.controller.scheduledagentjob.history_limits import HistoryLimits
from agentjobs.controller.scheduledagentjob.orphaned_ticks import CLOSE_ALL_EVERY, OrphanedTicks
from agentjobs.queue.errors import QueueUnavailable
from agentjobs.queue.records import State
from agentjobs.queue.schedules import EndedChild, Found, Schedules, Waiting
from agentjobs.schedule.history import Child
from controller_builders import until
from scheduler_builders import HOUR, NOON, UID, reading, row, schedule_object

CHILD = UUID(int=7)


@dataclass
class StubQueue:
    """Answers with what a test puts in; ``away``: the database does not answer."""

    ended: dict[UUID, EndedChild] = field(default_factory=dict)
    waiting: Waiting = field(default_factory=lambda: Waiting(NOON, (), ()))
    unsettled: set[UUID] = field(default_factory=set)
    closed: list[tuple[Sequence[UUID] | None, Sequence[UUID]]] = field(default_factory=list)
    away: bool = False

    async def close_children(
        self, cluster_id: str, children: Sequence[UUID] | None, gone: Sequence[UUID]
    ) -> tuple[list[EndedChild], Found]:
        if self.away:
            raise QueueUnavailable("away")
        self.closed.append((children, gone))
        wanted = list(self.ended if children is None else children)
        # an end is told once
        return [self.ended.pop(uid) for uid in wanted if uid in self.ended], Found(NOON, {})

    async def waiting_schedules(self, cluster_id: str) -> Waiting:
        return self.waiting

    async def settled_children(self, children: Iterable[tuple[UUID, str, UUID]]) -> frozenset[UUID]:
        return frozenset(uid for _, _, uid in children if uid not in self.unsettled)


@dataclass
class StubObjects:
    """Deletes what it is asked to, and knows which children exist."""

    there: dict[str, UUID] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    busy: bool = False

    async def find(self, namespace: str, name: str, schedule: UUID) -> UUID | None:
        return self.there.get(name)

    async def delete(self, namespace: str, name: str, uid: str) -> bool:
        if self.busy:
            raise ApiUnavailable("busy", status=503)
        if name in self.refused:
            return False
        self.deleted.append(name)
        return True


class Bench:
    """One schedule, and the three policies around it."""

    def __init__(self, spec: dict[str, Any] | None = None) -> None:
        self.queue, self.objects = StubQueue(), StubObjects()
        self.cache = ScheduleCache()
        self.entry = CachedSchedule.of(reading(spec), schedule_object(spec))
        self.entry.row = row(last_tick=NOON)
        self.cache.entries[UID] = self.entry
        self.events: list[ObjectEvent] = []
        queue, objects = cast(Schedules, self.queue), cast(ClusterObjects, self.objects)
        self.history = HistoryLimits(
            self.cache, queue, objects, Counters(), lambda child: self.completion.ended(child)
        )
        self.completion = ChildCompletion(
            self.cache, queue, "cluster-1", self.events.append, self.history.prune_history
        )
        self.orphans = OrphanedTicks(
            self.cache, queue, objects, "cluster-1", self.completion, look_seconds=0.01
        )

    def child(self, name: str, tick: datetime, *, succeeded: bool | None, number: int) -> Child:
        made = Child(name, str(UUID(int=number)), tick, succeeded, False)
        self.cache.children.saw(UID, made)
        return made

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        parts = (self.history, self.completion, self.orphans)
        tasks = [asyncio.create_task(part.run()) for part in parts]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


def ended(name: str, state: State = State.COMPLETE) -> EndedChild:
    return EndedChild(UID, name, CHILD, NOON, False, state, "", NOON, NOON + HOUR)


# child completion ----------------------------------------------------------------------------------------


async def test_the_end_of_a_child_is_noted_and_posted() -> None:
    b = Bench()
    b.child("brief-1", NOON, succeeded=None, number=7)
    b.queue.ended = {CHILD: ended("brief-1")}
    async with b.running():
        b.completion.ended(CHILD)
        await until(lambda: bool(b.events))
    assert [event.reason.value for event in b.events] == ["SawCompletedJob"]
    assert b.cache.children.active(UID) == []


async def test_ends_wait_for_the_database() -> None:
    b = Bench()
    b.queue.away = True
    b.queue.ended = {CHILD: ended("brief-1")}
    async with b.running():
        b.completion.ended(CHILD)
        await asyncio.sleep(0.15)
        assert b.events == []
        b.queue.away = False
        await until(lambda: bool(b.events))


# orphaned ticks ------------------------------------------------------------------------------------------


async def test_a_schedule_with_an_orphaned_tick_is_read_again() -> None:
    b = Bench()
    b.queue.waiting = Waiting(NOON, (UID, UUID(int=99)), ())
    async with b.running():
        await until(lambda: b.cache.stale == {UID})


async def test_no_schedule_is_read_again_while_its_child_is_being_created() -> None:
    b = Bench()
    b.entry.busy = True
    b.queue.waiting = Waiting(NOON, (UID,), ())
    async with b.running():
        await until(lambda: len(b.queue.closed) >= 1)
    assert b.cache.stale == set()


@pytest.mark.parametrize(
    ("there", "gone"), [({}, True), ({"brief-1": CHILD}, False), ({"brief-1": UID}, True)]
)
async def test_a_child_that_was_deleted_unseen_ends_its_tick(there: dict[str, UUID], gone: bool) -> None:
    b = Bench()
    b.objects.there = there
    b.queue.waiting = Waiting(NOON, (), ((UID, "brief-1", CHILD),))
    async with b.running():
        await until(lambda: (None, []) in b.queue.closed)
        if gone:
            await until(lambda: any(CHILD in closed for _, closed in b.queue.closed))
        else:
            await asyncio.sleep(0.1)
    assert any(CHILD in closed for _, closed in b.queue.closed) == gone


async def test_ends_that_no_watch_event_has_shown_are_noted_now_and_then() -> None:
    b = Bench()
    b.queue.ended = {CHILD: ended("brief-1")}
    async with b.running():
        await until(lambda: bool(b.events))
    assert b.queue.closed[0] == (None, [])
    assert CLOSE_ALL_EVERY > 1


# history limits ------------------------------------------------------------------------------------------


def finished_children(b: Bench, count: int) -> list[str]:
    names = []
    for n in range(count):
        tick = NOON - timedelta(hours=count - n)
        names.append(b.child(f"brief-{n}", tick, succeeded=True, number=100 + n).name)
    return names


async def test_the_oldest_beyond_the_limit_are_deleted_and_their_ticks_closed() -> None:
    b = Bench({"successfulJobsHistoryLimit": 2})
    names = finished_children(b, 5)
    async with b.running():
        b.history.prune_history(UID)
        await until(lambda: len(b.objects.deleted) == 3)
        await until(lambda: any(closed and len(closed) == 3 for closed, _ in b.queue.closed))
    assert b.objects.deleted == names[:3]
    assert [child.name for child in b.cache.children.of(UID)] == names[3:]


async def test_a_child_that_keeps_its_tick_from_being_created_again_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agentjobs.controller.scheduledagentjob.history_limits.AGAIN_SECONDS", 0.05)
    b = Bench({"successfulJobsHistoryLimit": 0})
    finished_children(b, 2)
    b.queue.unsettled = {UUID(int=101)}
    async with b.running():
        b.history.prune_history(UID)
        await until(lambda: b.objects.deleted == ["brief-0"])
        b.queue.unsettled = set()
        await until(lambda: b.objects.deleted == ["brief-0", "brief-1"])


async def test_deletes_wait_for_an_api_server_that_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentjobs.controller.scheduledagentjob.history_limits.AGAIN_SECONDS", 0.05)
    b = Bench({"successfulJobsHistoryLimit": 0})
    finished_children(b, 2)
    b.objects.busy = True
    async with b.running():
        b.history.prune_history(UID)
        await asyncio.sleep(0.15)
        assert b.objects.deleted == []
        b.objects.busy = False
        await until(lambda: len(b.objects.deleted) == 2)
