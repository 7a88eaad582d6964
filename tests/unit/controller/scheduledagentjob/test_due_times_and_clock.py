"""When to look at which schedule, and what time it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast
from uuid import UUID, uuid4

from hypothesis import example, given
from hypothesis import strategies as st

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.config import OperatorConfig
from agentjobs.controller.kit.due_times import LEAST_TIDIED, DueTimes
from agentjobs.controller.leader import Leader
from agentjobs.controller.metrics.counters import Counters
from agentjobs.controller.scheduledagentjob.clock import DatabaseClock
from agentjobs.queue.queue import Queue
from scheduler_builders import HOUR, NOON

A, B = UUID(int=1), UUID(int=2)


def test_a_schedule_has_one_time_and_is_told_once() -> None:
    agenda = DueTimes()
    agenda.put(A, NOON + 2 * HOUR)
    agenda.put(A, NOON + HOUR)
    agenda.put(B, NOON + HOUR)
    assert agenda.next() == NOON + HOUR
    assert set(agenda.due(NOON + HOUR)) == {A, B}
    assert agenda.due(NOON + 9 * HOUR) == []
    agenda.put(A, NOON)
    agenda.put(A, None)
    assert agenda.next() is None


@given(
    st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 20))), max_size=60),
    st.integers(0, 20),
)
def test_the_agenda_agrees_with_a_dictionary(puts: list[tuple[int, int | None]], now: int) -> None:
    agenda, plain = DueTimes(), dict[int, int | None]()
    for who, at in puts:
        agenda.put(UUID(int=who), None if at is None else NOON + at * HOUR)
        plain[who] = at
    waiting = {who: at for who, at in plain.items() if at is not None}
    assert agenda.next() == (NOON + min(waiting.values()) * HOUR if waiting else None)
    due = agenda.due(NOON + now * HOUR)
    assert sorted(uid.int for uid in due) == sorted(who for who, at in waiting.items() if at <= now)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(0, 5), st.none() | st.integers(0, 20)),  # a put
            st.integers(0, 20),  # a look at what is due by then
            st.none(),  # a look at the next time
        ),
        max_size=200,
    )
)
@example([(who, at) for n in range(200) for who, at in ((n, 20), (n, None))])  # objects come and go
@example([(0, n % 20) for n in range(200)])  # one object's time moves again and again
@example([*((n, 1) for n in range(99)), *((n, 20) for n in range(99)), *((n, 1) for n in range(99)), 1])
def test_what_is_no_longer_due_takes_no_room(acts: list[tuple[int, int | None] | int | None]) -> None:
    agenda, waiting = DueTimes(), dict[int, int]()
    for act in acts:
        if act is None:
            assert agenda.next() == (NOON + min(waiting.values()) * HOUR if waiting else None)
        elif isinstance(act, int):
            due = sorted(who for who, at in waiting.items() if at <= act)
            assert sorted(uid.int for uid in agenda.due(NOON + act * HOUR)) == due
            for who in due:
                del waiting[who]
        else:
            who, at = act
            agenda.put(UUID(int=who), None if at is None else NOON + at * HOUR)
            waiting.pop(who, None)
            if at is not None:
                waiting[who] = at
        assert len(agenda._heap) <= max(LEAST_TIDIED, 2 * len(waiting))


def test_the_time_is_the_databases_however_wrong_this_machine_is() -> None:
    clock = DatabaseClock()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=60), "until the database has spoken"
    asked_at = time.monotonic()
    clock.set(NOON, asked_at)
    assert timedelta() <= clock.now() - NOON < timedelta(seconds=60)
    clock.set(NOON - HOUR, time.monotonic())
    assert clock.now() < NOON, "it follows the database back, too"


def test_uids_that_are_due_at_one_time_can_be_compared() -> None:
    agenda = DueTimes()
    for _ in range(100):
        agenda.put(uuid4(), NOON)
    assert len(agenda.due(NOON)) == 100


async def test_finished_objects_are_deleted_by_the_clock_that_says_when_they_finished() -> None:
    """A machine whose clock is ahead would delete results that nobody has read."""
    queue = SimpleNamespace(settled_children=None, timelines=None, release_objects=None)
    leader = Leader(
        OperatorConfig("postgresql://nowhere/none"),
        cast(ApiServer, SimpleNamespace()),
        cast(Queue, queue),
        "cluster",
        Counters(),
        None,
        uuid4(),
        0,
    )
    leader.scheduler.cache.sync_clock(NOON, time.monotonic())
    assert timedelta() <= leader.ttl.clock() - NOON < timedelta(seconds=60)
