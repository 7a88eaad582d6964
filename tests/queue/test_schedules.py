"""What the database remembers of schedules: decisions that count, claims, ends, and what a new row goes on from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import Ack, AckKind, InputAnswer, NewJob, ObjectRef, State, WorkerInfo
from agentjobs.queue.schedules import ScheduleDecision, ScheduleRow, SeenSchedule
from agentjobs.values.requests import InputRequest
from queue_builders import TestWorker

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
ME, OTHER = UUID(int=1), UUID(int=2)
CLUSTER = "cluster-1"


@pytest.fixture
async def queue(dsn: str) -> AsyncIterator[Queue]:
    async with await Queue.open(dsn) as opened:
        yield opened


def seen(uid: UUID, **fields: Any) -> SeenSchedule:
    defaults: dict[str, Any] = {
        "uid": uid, "cluster_id": CLUSTER, "namespace": "team", "name": "brief", "generation": 1,
        "times": "0 * * * * in UTC", "created_at": NOON - HOUR, "edited_at": None, "accepted": True, "suspended": False,
    }  # fmt: skip
    return SeenSchedule(**(defaults | fields))


async def saved(queue: Queue, what: SeenSchedule, now: datetime = NOON) -> ScheduleRow:
    return (await queue.save_schedules([what], now)).rows[what.uid]


async def decided(queue: Queue, row: ScheduleRow, claimant: UUID = ME, **fields: Any) -> ScheduleRow:
    """A decision that counts; its tick is noon's."""
    tick: dict[str, Any] = {"last_tick": NOON, "child": "brief-1", "tick": NOON} | fields
    done, found = await queue.decide_schedules(claimant, [ScheduleDecision(row.uid, row.version, **tick)])
    assert done == {row.uid}
    return found.rows[row.uid]


async def test_only_a_newer_generation_changes_a_row_and_nothing_is_written_twice(queue: Queue) -> None:
    uid = uuid4()
    first = await saved(queue, seen(uid))
    assert (await saved(queue, seen(uid, times="other"))).version == first.version, (
        "the same generation again"
    )
    second = await saved(queue, seen(uid, generation=2, times="0 6 * * * in UTC"), NOON + HOUR)
    assert second.changed_at == NOON + HOUR
    assert second.version > first.version
    late = await saved(queue, seen(uid, generation=1, suspended=True))
    assert late == replace(second, ticks=late.ticks)


async def test_an_edit_that_nobody_watched_has_the_objects_time_and_never_one_to_come(queue: Queue) -> None:
    uid = uuid4()
    await saved(queue, seen(uid))
    row = await saved(queue, seen(uid, generation=2, times="b", edited_at=NOON - 60 * SECOND))
    assert row.changed_at == NOON - 60 * SECOND
    row = await saved(queue, seen(uid, generation=3, times="c", edited_at=NOON + HOUR))
    assert row.changed_at == NOON


async def test_suspending_and_resuming_are_dated(queue: Queue) -> None:
    uid = uuid4()
    assert (await saved(queue, seen(uid))).unsuspended_at is None
    row = await saved(queue, seen(uid, generation=2, suspended=True))
    assert (row.suspended, row.suspended_at) == (True, NOON)
    row = await saved(queue, seen(uid, generation=3), NOON + HOUR)
    assert (row.suspended, row.unsuspended_at) == (False, NOON + HOUR)
    assert row.changed_at is None


async def test_h31_a_database_that_knows_less_goes_on_where_the_objects_status_stands(queue: Queue) -> None:
    uid = uuid4()
    status = {"last_tick": NOON, "last_successful": NOON - HOUR, "missed": 7, "revision": 40}
    row = await saved(queue, seen(uid, **status))
    assert (row.last_tick, row.last_successful, row.missed, row.version) == (NOON, NOON - HOUR, 7, 41)
    row = await saved(queue, seen(uid, **(status | {"last_tick": NOON + HOUR, "revision": 90})))
    assert (row.last_tick, row.version) == (NOON + HOUR, 91)
    assert (await saved(queue, seen(uid, last_tick=NOON))).last_tick == NOON + HOUR, "it never goes back"


async def test_invariant_9_of_decisions_upon_one_version_one_counts(queue: Queue) -> None:
    row = await saved(queue, seen(uuid4()))
    decision = ScheduleDecision(row.uid, row.version, last_tick=NOON, child="brief-1", tick=NOON)
    answers = await asyncio.gather(*(queue.decide_schedules(UUID(int=n), [decision]) for n in range(10, 20)))
    assert sum(len(done) for done, _ in answers) == 1
    for _, found in answers:
        [tick] = found.rows[row.uid].ticks
        assert tick.child == "brief-1"
        assert found.rows[row.uid].last_tick == NOON


async def test_many_decisions_at_once_do_not_hinder_each_other(queue: Queue) -> None:
    uids = [uuid4() for _ in range(200)]
    rows = (await queue.save_schedules((seen(uid) for uid in uids), NOON)).rows
    decisions = [
        ScheduleDecision(uid, rows[uid].version, last_tick=NOON, child="brief-1", tick=NOON) for uid in uids
    ]
    answers = await asyncio.gather(
        *(queue.decide_schedules(UUID(int=n), decisions[:: 1 if n % 2 else -1]) for n in range(10, 16))
    )
    assert sorted(uid for done, _ in answers for uid in done) == sorted(uids)


async def test_invariant_9_only_the_claimant_creates_until_its_claim_is_over(queue: Queue) -> None:
    began = time.monotonic()
    row = await decided(queue, await saved(queue, seen(uuid4())))
    [tick] = row.ticks
    assert tick.claimant == ME
    assert began + 15 - time.monotonic() < tick.claimed_for_seconds <= 15
    [tick] = (await queue.claim_children(OTHER, [(row.uid, "brief-1")])).rows[row.uid].ticks
    assert tick.claimant == ME
    await queue._db.fetch("update agentjobs.schedule_tick set claimed_until = now() returning 1")
    assert (await queue.waiting_schedules(CLUSTER)).pending == (row.uid,)
    assert (await queue.waiting_schedules("other")).pending == ()
    [tick] = (await queue.claim_children(OTHER, [(row.uid, "brief-1")])).rows[row.uid].ticks
    assert tick.claimant == OTHER
    assert (await queue.waiting_schedules(CLUSTER)).pending == ()


async def test_h29_a_child_that_the_queue_knows_is_confirmed_and_not_claimed(queue: Queue) -> None:
    row = await decided(queue, await saved(queue, seen(uuid4())))
    strange, mine = uuid4(), uuid4()
    for uid, schedule in ((strange, uuid4()), (mine, row.uid)):
        ref = ObjectRef(CLUSTER, "team", "brief-1")
        payload = {"v": 1, "schedule": {"uid": str(schedule)}}
        await queue.enqueue([NewJob(uid=uid, payload=payload, ref=ref)])
    [tick] = (await queue.claim_children(OTHER, [(row.uid, "brief-1")])).rows[row.uid].ticks
    assert tick.uid == mine


async def test_h29_a_child_may_go_only_when_nobody_can_be_about_to_create_it(queue: Queue) -> None:
    row, child = await decided(queue, await saved(queue, seen(uuid4()))), uuid4()
    asked = [(row.uid, "brief-1", child)]
    assert await queue.settled_children(asked) == frozenset()
    await queue.confirm_children(asked)
    assert await queue.settled_children(asked) == {child}

    row = await decided(queue, await saved(queue, seen(row.uid)), child="brief-2", tick=NOON + HOUR)
    await queue._db.fetch("update agentjobs.schedule_tick set claimed_until = now() returning 1")
    later = uuid4()
    assert await queue.settled_children([(row.uid, "brief-2", later)]) == {later}
    [_, tick] = (await saved(queue, seen(row.uid))).ticks
    assert tick.uid == later, "who would create it finds that it was there"
    assert await queue.settled_children([(uuid4(), "of a deleted schedule", child)]) == {child}


async def test_an_abandoned_tick_is_gone_and_counted_in_one_step(queue: Queue) -> None:
    row = await decided(queue, await saved(queue, seen(uuid4())))
    row = await decided(
        queue, row, abandon="brief-1", missed=1, child="brief-2", tick=NOON + HOUR, last_tick=NOON + HOUR
    )
    assert [tick.child for tick in row.ticks] == ["brief-2"]
    assert (row.missed, row.last_tick) == (1, NOON + HOUR)


@pytest.mark.parametrize(
    ("kind", "state"), [(AckKind.COMPLETE, State.COMPLETE), (AckKind.FAIL, State.FAILED)]
)
async def test_an_ended_child_is_closed_by_the_queues_own_record(
    queue: Queue, kind: AckKind, state: State
) -> None:
    row, child = await decided(queue, await saved(queue, seen(uuid4()))), uuid4()
    await queue.confirm_children([(row.uid, "brief-1", child)])
    await queue.enqueue([NewJob(uid=child, payload={"v": 1})])
    assert (await queue.close_children(CLUSTER, [child]))[0] == []
    assert (await queue.close_children(CLUSTER))[0] == []
    worker = uuid4()
    await queue.register(WorkerInfo(worker, "w", {"agents": 1}, "test"))
    [job] = (await queue.step(worker, 1, (), {"agents": 1})).jobs
    await queue.step(worker, 2, [Ack(job.id, 1, kind, reason="why")], {})

    assert (await queue.close_children("other"))[0] == []
    [ended], found = await queue.close_children(CLUSTER)
    assert (ended.child, ended.uid, ended.state) == ("brief-1", child, state)
    assert ended.started_at is not None
    row = found.rows[row.uid]
    assert (row.ticks, row.last_result) == ((), state)
    assert (row.last_successful is not None) == (state is State.COMPLETE)
    assert (await queue.close_children(CLUSTER, [child]))[0] == [], "once"


async def test_a_child_that_waits_for_a_person_has_not_ended(queue: Queue) -> None:
    row, child = await decided(queue, await saved(queue, seen(uuid4()))), uuid4()
    await queue.confirm_children([(row.uid, "brief-1", child)])
    await queue.enqueue([NewJob(uid=child, payload={"v": 1})])
    worker = await TestWorker(queue).register()
    question = InputRequest("q-1", "refund", "{}")
    await worker.ack(await worker.one(), AckKind.ASK, reason="InputRequired", requests=(question,))
    assert (await queue.close_children(CLUSTER))[0] == []
    assert (await queue.save_schedules([seen(row.uid)], NOON)).rows[row.uid].ticks != ()

    await queue.answer(child, InputAnswer("q-1", True))
    await worker.ack(await worker.one())
    [ended], found = await queue.close_children(CLUSTER)
    assert (ended.child, ended.state, found.rows[row.uid].ticks) == ("brief-1", State.COMPLETE, ())


async def test_a_child_whose_object_is_gone_is_closed_though_the_queue_never_saw_it(queue: Queue) -> None:
    row, child = await decided(queue, await saved(queue, seen(uuid4()))), uuid4()
    await queue.confirm_children([(row.uid, "brief-1", child)])
    await queue._db.fetch(
        "update agentjobs.schedule_tick set decided_at = now() - interval '2 minutes' returning 1"
    )
    assert (await queue.waiting_schedules(CLUSTER)).unseen == ((row.uid, "brief-1", child),)
    [ended], found = await queue.close_children(CLUSTER, [], [child])
    assert ended.state is State.CANCELLED
    assert found.rows[row.uid].ticks == ()


async def test_a_forgotten_schedule_takes_its_ticks_along(queue: Queue) -> None:
    row = await decided(queue, await saved(queue, seen(uuid4())))
    assert [known.uid for known in await queue.known_schedules(CLUSTER, UUID(int=0), 10)] == [row.uid]
    await queue.forget_schedules([row.uid])
    assert await queue.known_schedules(CLUSTER, UUID(int=0), 10) == []
    done, found = await queue.decide_schedules(
        ME, [ScheduleDecision(row.uid, row.version, last_tick=NOON + HOUR)]
    )
    assert (done, found.rows) == (frozenset(), {})
