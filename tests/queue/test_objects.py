"""What intake saw of objects, in whatever order it came (H4)."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import pytest

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, ChangeOutcome, ObjectChange, State
from agentjobs.values.reasons import Reason
from queue_builders import CLUSTER, TestWorker, change, shown, sql, whereabouts


async def outcome(queue: Queue, seen: ObjectChange) -> ChangeOutcome:
    return (await queue.apply([seen]))[seen.uid].outcome


async def test_invariant_1_applying_the_same_object_again_changes_nothing(queue: Queue, dsn: str) -> None:
    seen = change()
    assert await outcome(queue, seen) is ChangeOutcome.INSERTED
    stale = {e.job.id: e.version for e in await queue.outbox(10, 0)}
    for _ in range(3):
        assert await outcome(queue, seen) is ChangeOutcome.UNCHANGED
    assert {e.job.id: e.version for e in await queue.outbox(10, 0)} == stale, "and nothing is projected anew"
    assert (await whereabouts(dsn))["job"] == 1


async def test_invariant_1_two_operators_at_once_make_one_job(queue: Queue, dsn: str) -> None:
    seen = [change(name=f"a{n}") for n in range(50)]
    answers = await asyncio.gather(queue.apply(seen), queue.apply(seen[::-1]))
    made = [sum(a[c.uid].outcome is ChangeOutcome.INSERTED for a in answers) for c in seen]
    assert made == [1] * 50
    assert (await whereabouts(dsn))["waiting"] == 50


async def test_h4_an_older_event_changes_nothing(queue: Queue) -> None:
    new = change(generation=3, priority=1)
    await queue.apply([new])
    assert await outcome(queue, change(uid=new.uid, generation=2, priority=9, suspend=True)) is (
        ChangeOutcome.UNCHANGED
    )
    view = await shown(queue, new)
    assert (view.priority, view.state, view.generation) == (1, State.QUEUED, 3)


async def test_h4_suspend_and_cancel_come_with_the_insert(queue: Queue, worker: TestWorker) -> None:
    suspended, cancelled = change(name="s", suspend=True), change(name="c", cancel=True)
    await queue.apply([suspended, cancelled])
    assert await worker.claim(10) == []
    assert (await shown(queue, suspended)).state is State.SUSPENDED
    assert (await shown(queue, cancelled)).state is State.CANCELLED


async def test_h4_a_delete_before_the_create_leaves_a_tombstone(queue: Queue, worker: TestWorker) -> None:
    seen = change()
    assert await outcome(queue, change(uid=seen.uid, gone=True)) is ChangeOutcome.INSERTED
    assert await outcome(queue, seen) is ChangeOutcome.UNCHANGED
    assert await worker.claim(10) == []
    assert (await shown(queue, seen)).state is State.CANCELLED
    assert await queue.outbox(10, 0) == [], "nobody is there to be told"


async def test_h4_a_cancel_before_the_create_wins(queue: Queue, worker: TestWorker) -> None:
    cancelled = change(generation=2, cancel=True)
    await queue.apply([cancelled])
    await queue.apply([change(uid=cancelled.uid, generation=1)])
    assert (await shown(queue, cancelled)).state is State.CANCELLED
    assert await worker.claim(10) == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_h4_any_order_of_events_ends_in_the_same_state(queue: Queue, order: tuple[int, ...]) -> None:
    first = change()
    events = [
        first,
        change(uid=first.uid, generation=2, suspend=True, priority=0),
        change(uid=first.uid, generation=3, priority=7, max_attempts=9),
    ]
    for n in order:
        await queue.apply([events[n]])
    view = await shown(queue, first)
    assert (view.state, view.priority, view.max_attempts, view.generation) == (State.QUEUED, 7, 9, 3)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_h4_two_events_of_one_object_in_one_batch_both_count(
    queue: Queue, order: tuple[int, ...]
) -> None:
    first = change()
    events = [
        first,
        change(uid=first.uid, generation=2, suspend=True),
        change(uid=first.uid, generation=3, suspend=True, cancel=True),
    ]
    await queue.apply([events[n] for n in order])
    assert (await shown(queue, first)).state is State.CANCELLED


async def test_h4_suspend_resume_and_cancel_of_a_running_job_by_its_object(
    queue: Queue, worker: TestWorker
) -> None:
    seen = change()
    await queue.apply([seen])
    claimed = await worker.one()
    key = (claimed.id, claimed.token)
    await queue.apply([change(uid=seen.uid, generation=2, suspend=True)])
    assert (await worker.beat()).controls == {key: "suspend"}
    await queue.apply([change(uid=seen.uid, generation=3)])
    assert (await worker.beat()).controls == {}
    await queue.apply([change(uid=seen.uid, generation=4, cancel=True)])
    assert (await worker.beat()).controls == {key: "cancel"}
    await worker.ack(claimed, AckKind.CANCEL)
    assert (await shown(queue, seen)).state is State.CANCELLED


@pytest.mark.parametrize("running", [False, True])
async def test_h4_a_delete_cancels(queue: Queue, worker: TestWorker, running: bool) -> None:
    seen = change()
    await queue.apply([seen])
    if running:
        await worker.one()
    await queue.apply([change(uid=seen.uid, gone=True)])
    if running:
        assert list((await worker.beat()).controls.values()) == ["cancel"]
        await worker.ack(worker.held[0], AckKind.CANCEL)
    assert (await shown(queue, seen)).state is State.CANCELLED
    assert await queue.known_objects(0, 10, CLUSTER) == []
    assert await outcome(queue, change(uid=seen.uid, gone=True)) is ChangeOutcome.UNCHANGED


async def test_a_held_object_waits_until_a_change_has_no_hold(queue: Queue, worker: TestWorker) -> None:
    hold = (Reason.QUEUE_NOT_ALLOWED, "namespace team may not use queue gpu")
    seen = change(unaccepted=hold, starting_deadline_seconds=60)
    await queue.apply([seen])
    view = await shown(queue, seen)
    assert (view.unaccepted, view.reason, view.message) == (True, *hold)
    assert await worker.claim(10) == []
    assert await outcome(queue, seen) is ChangeOutcome.UNCHANGED
    assert await outcome(queue, change(uid=seen.uid, starting_deadline_seconds=60)) is ChangeOutcome.CHANGED
    view = await shown(queue, seen)
    assert (view.unaccepted, view.reason, view.message, view.state) == (False, "", "", State.QUEUED)
    assert (await worker.one()).uid == seen.uid


MISSING = (Reason.INPUT_UNAVAILABLE, "spec.inputs[0]: ConfigMap data: does not exist")
GIVEN = [{"name": "a", "mimeType": "text/plain", "attach": "Message", "data": "eA=="}]


def with_payload(seen: ObjectChange, **more: object) -> ObjectChange:
    assert seen.job is not None
    return replace(seen, job=replace(seen.job, payload={**seen.job.payload, **more}))


@pytest.mark.parametrize("suspend", [False, True])
async def test_a_held_job_takes_its_payload_from_the_change_that_lets_it_go(
    queue: Queue, worker: TestWorker, dsn: str, suspend: bool
) -> None:
    seen = change(unaccepted=MISSING)
    await queue.apply([seen])
    told = "spec.inputs[0]: ConfigMap data: key a does not exist"
    other = replace(seen, unaccepted=(MISSING[0], told))
    assert await outcome(queue, other) is ChangeOutcome.CHANGED
    assert (await shown(queue, seen)).message == told
    assert await outcome(queue, other) is ChangeOutcome.UNCHANGED
    given = with_payload(change(uid=seen.uid, suspend=suspend), inputs=GIVEN)
    assert await outcome(queue, given) is ChangeOutcome.CHANGED
    if suspend:
        assert await worker.claim(10) == []
        await queue.apply([change(uid=seen.uid, generation=2)])
    assert await sql(
        dsn, "select w.bytes = octet_length(j.payload::text) from job j join waiting w using (id)"
    ) == [(True,)]
    assert (await worker.one()).payload["inputs"] == GIVEN


async def test_a_job_that_is_accepted_keeps_its_payload_whatever_a_later_change_has(
    queue: Queue, worker: TestWorker
) -> None:
    seen = with_payload(change(), inputs=GIVEN)
    await queue.apply([seen])
    for later in (change(uid=seen.uid), change(uid=seen.uid, generation=2, priority=1, unaccepted=MISSING)):
        await queue.apply([later])
    view = await shown(queue, seen)
    assert (view.state, view.priority, view.unaccepted) == (State.QUEUED, 1, False)
    assert (await worker.one()).payload["inputs"] == GIVEN


async def test_a_status_is_made_of_a_large_payload_without_its_files(queue: Queue) -> None:
    seen = with_payload(change(), inputs=[{**GIVEN[0], "data": "A" * 200_000}], userID="ada", sessionID="s")
    await queue.apply([seen])
    payload = (await shown(queue, seen)).payload
    assert payload is not None
    assert (payload["userID"], payload["sessionID"]) == ("ada", "s")
    assert "inputs" not in payload


@pytest.mark.parametrize("generation", [1, 2])
async def test_a_held_object_that_is_suspended_when_it_is_let_go_is_suspended(
    queue: Queue, worker: TestWorker, generation: int
) -> None:
    seen = change(unaccepted=(Reason.RESTORED, "restored from a backup"))
    await queue.apply([seen])
    await queue.apply([change(uid=seen.uid, generation=generation, suspend=True)])
    view = await shown(queue, seen)
    assert (view.unaccepted, view.state, view.reason, view.message) == (
        False,
        State.SUSPENDED,
        "Suspended",
        "",
    )
    await queue.apply([change(uid=seen.uid, generation=3)])
    assert (await worker.one()).uid == seen.uid


async def test_invariant_13_a_rejected_object_is_final_and_says_why(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    seen = change(rejected=("InvalidSpec", "spec.scheduledTime: year 10000: up to 9999 is wanted"))
    await queue.apply([seen])
    view = await shown(queue, seen)
    assert (view.state, view.reason) == (State.REJECTED, Reason.INVALID_SPEC)
    assert view.message.startswith("spec.scheduledTime")
    assert await queue.retry(seen.uid) is False
    assert await sql(dsn, "select count(*) from waiting") == [(0,)]


async def test_a_session_let_go_by_a_delete_goes_on(queue: Queue, worker: TestWorker) -> None:
    head, behind = change(name="a", session="s"), change(name="b", session="s")
    await queue.apply([head])
    await queue.apply([behind])
    await queue.admit()
    await queue.apply([change(uid=head.uid, gone=True)])
    assert (await worker.one()).uid == behind.uid
