"""Which Event is posted when, and that nobody else is held up by one that is refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

import pytest

from agentjobs.controller.agentjob.events import EventReason
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.resources import AGENT_JOBS, SCHEDULED_AGENT_JOBS, Resource
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.kit.event_recorder import (
    KEPT_SECONDS,
    PARALLEL,
    PARALLEL_IN_SCOPE,
    SLOWEST_DELAY_SECONDS,
    EventQueue,
    EventRecorder,
    PendingEvent,
)
from agentjobs.controller.metrics.counters import EVENTS_DROPPED, TASK_FAILURES, Counters
from agentjobs.queue.records import ObjectRef
from controller_builders import until

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def event(namespace: str, number: int = 0, resource: Resource = AGENT_JOBS) -> ObjectEvent:
    ref = ObjectRef("cluster-1", namespace, f"job-{number}")
    return ObjectEvent(
        UUID(int=number), ref, "1", EventReason.JOB_COMPLETED, "done", NOW, NOW, resource=resource
    )


def put(queue: EventQueue, namespace: str, number: int = 0, now: float = 0.0) -> PendingEvent:
    pending = PendingEvent(event(namespace, number), now)
    queue.put(pending, now)
    return pending


def started(queue: EventQueue, now: float = 0.0) -> list[PendingEvent]:
    """Everything that may be posted at this time."""
    return list(iter(lambda: queue.start(now), None))


# the queue: pure -----------------------------------------------------------------------------------------


def test_of_one_namespace_a_few_are_posted_at_once_and_namespaces_take_turns() -> None:
    queue = EventQueue()
    for number in range(20):
        put(queue, "noisy", number)
    put(queue, "quiet")
    posted = Counter(pending.event.ref.namespace for pending in started(queue))
    assert posted == {"noisy": PARALLEL_IN_SCOPE, "quiet": 1}


def test_never_more_than_so_many_are_under_way() -> None:
    queue = EventQueue()
    for number in range(10):
        for namespace in range(PARALLEL):
            put(queue, f"team-{namespace}", number)
    under_way = started(queue)
    assert len(under_way) == PARALLEL
    queue.answered(under_way[0])
    assert len(started(queue)) == 1


def test_a_namespace_that_refuses_waits_longer_each_time_and_delays_no_other() -> None:
    queue, now = EventQueue(), 0.0
    put(queue, "noisy")
    delays = []
    for _ in range(8):
        (pending,) = started(queue, now)
        delays.append(queue.refused(pending, now))
        put(queue, "quiet", now=now)
        (other,) = started(queue, now)
        assert other.event.ref.namespace == "quiet"
        queue.answered(other)
        assert queue.next_seconds(now) == pytest.approx(delays[-1])
        now += delays[-1]
    assert 0.4 <= delays[0] <= 0.5
    assert all(later > earlier for earlier, later in pairwise(delays[:5]))
    assert max(delays) <= SLOWEST_DELAY_SECONDS


def test_retry_after_is_waited_for_but_not_for_ever() -> None:
    queue = EventQueue()
    put(queue, "noisy")
    (pending,) = started(queue)
    assert queue.refused(pending, 0.0, 7) == 7
    assert started(queue, 6.9) == []
    (pending,) = started(queue, 7.0)
    assert queue.refused(pending, 7.0, 86_400) == SLOWEST_DELAY_SECONDS


def test_a_namespace_that_refuses_is_asked_with_one_event_at_a_time_until_it_takes_one() -> None:
    queue = EventQueue()
    first = put(queue, "noisy", 0)
    queue.start(0.0)
    queue.refused(first, 0.0)
    for number in range(1, 10):
        put(queue, "noisy", number)
    (probe,) = started(queue, 100.0)
    assert probe.event.ref.name == "job-1" or probe is first
    queue.answered(probe)
    assert len(started(queue, 100.0)) == PARALLEL_IN_SCOPE


def test_an_event_that_is_refused_lets_the_others_of_its_namespace_go_first() -> None:
    queue = EventQueue()
    bad = put(queue, "team", 0)
    queue.start(0.0)
    put(queue, "team", 1)
    queue.refused(bad, 0.0)
    (next_one,) = started(queue, 60.0)
    assert next_one.event.ref.name == "job-1"


def test_a_full_queue_drops_the_oldest_of_the_namespace_that_has_most() -> None:
    queue = EventQueue(backlog=10)
    noisy = [put(queue, "noisy", number) for number in range(9)]
    quiet = [put(queue, "quiet", number) for number in range(3)]
    assert queue.dropped == {"full": 2, "old": 0}
    assert [pending.tried.is_set() for pending in noisy[:3]] == [True, True, False]
    assert not any(pending.tried.is_set() for pending in quiet)
    assert len(queue) == 10


def test_what_is_older_than_the_api_server_would_keep_it_is_dropped() -> None:
    queue = EventQueue()
    put(queue, "team", 0, now=0.0)
    put(queue, "team", 1, now=100.0)
    queue.expire(KEPT_SECONDS + 1)
    assert [pending.event.ref.name for pending in started(queue, KEPT_SECONDS + 1)] == ["job-1"]
    assert queue.dropped == {"full": 0, "old": 1}


def test_whoever_waits_for_the_first_answer_is_let_go_where_the_namespace_refuses() -> None:
    queue = EventQueue()
    first, second = put(queue, "noisy", 0), put(queue, "noisy", 1)
    pending = queue.start(0.0)
    assert pending is first
    queue.refused(first, 0.0)
    third = put(queue, "noisy", 2)
    assert [one.tried.is_set() for one in (first, second, third)] == [True, True, True]


# the recorder: on an event loop --------------------------------------------------------------------------


@dataclass
class FakePoster:
    """Takes note of every Event that it is asked to post; ``answer`` may raise."""

    answer: Callable[[ObjectEvent], None] = lambda event: None
    asked: list[ObjectEvent] = field(default_factory=list)
    posted: list[ObjectEvent] = field(default_factory=list)
    running: int = 0
    block: asyncio.Event | None = None

    async def __call__(self, event: ObjectEvent) -> None:
        self.asked.append(event)
        self.running += 1
        try:
            await asyncio.sleep(0)
            if self.block is not None:
                await self.block.wait()
            self.answer(event)
            self.posted.append(event)
        finally:
            self.running -= 1


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def running(recorder: EventRecorder) -> AsyncIterator[None]:
    task = asyncio.create_task(recorder.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def refuse(namespace: str, seconds: float | None = None) -> Callable[[ObjectEvent], None]:
    def answer(event: ObjectEvent) -> None:
        if event.ref.namespace == namespace:
            raise ApiUnavailable("429 slow down", seconds)

    return answer


async def test_events_of_one_namespace_are_refused_and_those_of_another_come_at_once() -> None:
    poster, clock = FakePoster(refuse("noisy", 5)), FakeClock()
    recorder = EventRecorder(poster, Counters(), clock=clock)
    async with running(recorder):
        for number in range(50):
            recorder.record(event("noisy", number))
        await until(lambda: poster.running == 0 and bool(poster.asked))
        for number in range(20):
            recorder.record(event("quiet", number))
        await until(lambda: len(poster.posted) == 20)
        assert len(poster.asked) <= 20 + PARALLEL_IN_SCOPE
        assert len(recorder) == 50

        poster.answer = lambda event: None
        clock.now += 60.0
        recorder.record(event("quiet", 20))  # something wakes it
        await until(lambda: len(poster.posted) == 71)
    assert {posted.ref.name for posted in poster.posted if posted.ref.namespace == "noisy"} == {
        f"job-{number}" for number in range(50)
    }


async def test_recording_and_waiting_ends_with_the_answer_and_never_outlasts_a_refusal() -> None:
    poster = FakePoster(refuse("noisy"))
    recorder = EventRecorder(poster, Counters(), clock=FakeClock())
    async with running(recorder), asyncio.timeout(60):
        await recorder.record_and_wait([event("quiet", 1), event("quiet", 2)], 60)
        assert len(poster.posted) == 2
        for number in range(3):
            await recorder.record_and_wait([event("noisy", number)], 60)
    assert len(recorder) == 3


async def test_recording_and_waiting_ends_in_time_where_no_answer_comes() -> None:
    poster = FakePoster(block=asyncio.Event())
    recorder = EventRecorder(poster, Counters())
    async with running(recorder), asyncio.timeout(60):
        await recorder.record_and_wait([event("silent")], 0.05)
    assert poster.posted == []


async def test_every_event_under_way_is_known_and_ends_with_the_recorder() -> None:
    poster = FakePoster(block=asyncio.Event())
    recorder = EventRecorder(poster, Counters())
    async with running(recorder):
        for number in range(2 * PARALLEL):
            recorder.record(event(f"team-{number}", number))
        await until(lambda: poster.running == PARALLEL)
        assert len(recorder) == 2 * PARALLEL
    assert poster.running == 0


async def test_events_of_a_kind_are_held_back_while_something_is_more_urgent() -> None:
    poster, busy = FakePoster(), True
    recorder = EventRecorder(poster, Counters(), held=lambda kind: busy and kind == SCHEDULED_AGENT_JOBS)
    async with running(recorder):
        recorder.record(event("team", 1, SCHEDULED_AGENT_JOBS))
        recorder.record(event("team", 2))
        await until(lambda: len(poster.posted) == 1)
        assert poster.posted[0].resource == AGENT_JOBS
        busy = False
        await until(lambda: len(poster.posted) == 2)


async def test_a_bug_in_one_event_is_counted_and_stops_no_other() -> None:
    def answer(event: ObjectEvent) -> None:
        if event.ref.name == "job-0":
            raise KeyError("a bug")

    poster, meter = FakePoster(answer), Counters()
    recorder = EventRecorder(poster, meter)
    async with running(recorder):
        recorder.record(event("team", 0))
        recorder.record(event("team", 1))
        await until(lambda: len(poster.posted) == 1 and len(recorder) == 0)
    assert meter.total(TASK_FAILURES, part="events") == 1


async def test_dropped_events_are_counted() -> None:
    meter = Counters()
    recorder = EventRecorder(FakePoster(), meter, backlog=3)
    for number in range(5):
        recorder.record(event("team", number))
    assert meter.total(EVENTS_DROPPED, reason="full") == 2
