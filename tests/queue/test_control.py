"""What people ask of a job, and who wins when it ends at the same time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from agentjobs.queue.errors import JobRejected
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import Ack, AckKind, NewJob, State
from agentjobs.values.usage import Usage
from queue_builders import (
    TestWorker,
    change,
    expire_worker,
    make_steady,
    new_job,
    pass_time,
    shown,
    sql,
    whereabouts,
)

S = "team/app/user/talk"


async def running(queue: Queue, worker: TestWorker, **fields: object) -> NewJob:
    job = new_job(**fields)
    await queue.enqueue([job])
    await queue.admit()
    await worker.one()
    return job


# -- cancel ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["queued", "scheduled", "suspended", "behind", "new", "retrying"])
async def test_a_waiting_job_is_cancelled_at_once(
    queue: Queue, worker: TestWorker, kind: str, dsn: str
) -> None:
    head = new_job(session=S)
    job = new_job(
        session=S if kind in ("behind", "new") else None,
        run_at=datetime.now(UTC) + timedelta(hours=1) if kind == "scheduled" else None,
        suspend=kind == "suspended",
    )
    if kind == "behind":
        await queue.enqueue([head])
        await queue.admit()
    await queue.enqueue([job])
    if kind == "behind":
        await queue.admit()
    if kind == "retrying":
        await worker.ack(await worker.one(), AckKind.RETRY, delay_seconds=60)
    assert await queue.cancel(job.uid) is State.CANCELLED
    view = await shown(queue, job)
    assert (view.state, view.reason) == (State.CANCELLED, "Cancelled")
    assert view.finished_at is not None
    assert await queue.cancel(job.uid) is None, "it has already finished"


async def test_h15_a_running_job_is_asked_and_ends_as_cancelled(queue: Queue, worker: TestWorker) -> None:
    job = await running(queue, worker)
    (claimed,) = worker.held
    assert await queue.cancel(job.uid) is State.RUNNING
    assert (await worker.beat()).controls == {(claimed.id, claimed.token): "cancel"}
    assert await worker.ack(claimed, AckKind.CANCEL, usage=Usage(1, 1, 2, 1, 0)) == "ok"
    view = await shown(queue, job)
    assert (view.state, view.attempts, view.usage.total_tokens) == (State.CANCELLED, 1, 2)


@pytest.mark.parametrize("kind", [AckKind.CANCEL, AckKind.RELEASE, AckKind.SNOOZE])
@pytest.mark.parametrize("control", ["k", "d"])
async def test_h15_a_run_that_was_asked_to_end_is_charged_as_its_job_counts_it(
    queue: Queue, worker: TestWorker, dsn: str, control: str, kind: AckKind
) -> None:
    job = await running(queue, worker)
    await sql(dsn, "update running set control = %s", control)
    assert await worker.ack(worker.held[0], kind, delay_seconds=60) == "ok"
    view = await shown(queue, job)
    assert (view.attempts, [run.charged for run in view.attempts_log]) == (1, [True])


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (AckKind.COMPLETE, State.COMPLETE),
        (AckKind.FAIL, State.FAILED),
        (AckKind.RETRY, State.CANCELLED),
        (AckKind.SNOOZE, State.CANCELLED),
        (AckKind.RELEASE, State.CANCELLED),
        (AckKind.CANCEL, State.CANCELLED),
    ],
)
async def test_h15_a_final_answer_beats_a_cancel_and_anything_else_ends_as_cancelled(
    queue: Queue, worker: TestWorker, kind: AckKind, state: State
) -> None:
    job = await running(queue, worker)
    await queue.cancel(job.uid)
    assert await worker.ack(worker.held[0], kind, delay_seconds=60) == "ok"
    assert (await shown(queue, job)).state is state


@pytest.mark.parametrize(
    ("control", "state", "reason"),
    [("k", State.CANCELLED, "Cancelled"), ("d", State.FAILED, "DeadlineExceeded")],
)
async def test_h15_a_job_asked_to_end_whose_worker_is_lost_ends(
    queue: Queue, worker: TestWorker, dsn: str, control: str, state: State, reason: str
) -> None:
    job = await running(queue, worker)
    await sql(dsn, "update running set control = %s", control)
    judge = await TestWorker(queue).register()
    await make_steady(dsn, judge)
    await expire_worker(dsn, worker)
    await queue.tick(judge.id)
    view = await shown(queue, job)
    assert (view.state, view.reason) == (state, reason)
    assert await worker.ack(worker.held[0]) == "lost"


async def test_h15_cancel_goes_before_deadline_and_deadline_before_suspend(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = await running(queue, worker, active_deadline_seconds=60)
    (claimed,) = worker.held
    key = (claimed.id, claimed.token)
    await queue.suspend(job.uid)
    assert (await worker.beat()).controls == {key: "suspend"}
    await pass_time(dsn, 61)
    await queue.tick(worker.id)
    assert (await worker.beat()).controls == {key: "deadline"}
    await queue.suspend(job.uid)
    assert (await worker.beat()).controls == {key: "deadline"}
    await queue.cancel(job.uid)
    assert (await worker.beat()).controls == {key: "cancel"}
    await queue.tick(worker.id)
    await queue.suspend(job.uid)
    await queue.resume(job.uid)
    assert (await worker.beat()).controls == {key: "cancel"}


async def test_h15_cancel_and_claim_at_once_end_in_one_place(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    jobs = [new_job() for _ in range(40)]
    await queue.enqueue(jobs)
    worker.slots = {"agents": 40}
    answers = await asyncio.gather(
        worker.claim(10), worker.claim(10), *(queue.cancel(job.uid) for job in jobs), worker.claim(40)
    )
    assert all(answers[2:-1])
    for claimed in list(worker.held):
        await worker.ack(claimed, AckKind.CANCEL)
    places = await whereabouts(dsn)
    assert places == {"waiting": 0, "running": 0, "outcome": 40, "job": 40}
    assert {(await shown(queue, job)).state for job in jobs} == {State.CANCELLED}


@pytest.mark.parametrize("what", ["cancel", "suspend", "resume"])
async def test_control_of_an_unknown_job_says_so(queue: Queue, what: str) -> None:
    assert await getattr(queue, what)(uuid4()) is None
    assert await queue.retry(uuid4()) is False
    assert await queue.reprioritise(uuid4(), 1) is False


# -- suspend --------------------------------------------------------------------------------------


async def test_h19_the_due_time_survives_a_suspend(queue: Queue, worker: TestWorker, dsn: str) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    job = new_job(run_at=due)
    await queue.enqueue([job])
    await queue.suspend(job.uid)
    view = await shown(queue, job)
    assert (view.state, view.due_at, view.suspended_at) == (State.SUSPENDED, due, view.since)
    assert await queue.resume(job.uid) is State.SCHEDULED
    view = await shown(queue, job)
    assert (view.state, view.due_at, view.reason) == (State.SCHEDULED, due, "Scheduled")
    assert view.resumed_at is not None


async def test_h19_a_suspended_job_does_not_run_even_when_due(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = new_job(run_at=datetime.now(UTC) + timedelta(hours=1))
    await queue.enqueue([job])
    await queue.suspend(job.uid)
    await pass_time(dsn, 7200)
    await queue.tick(worker.id)
    assert await worker.claim(10) == []
    assert await queue.resume(job.uid) is State.QUEUED
    assert (await worker.one()).uid == job.uid


async def test_h19_a_running_job_is_stopped_like_a_drain_and_refunded(
    queue: Queue, worker: TestWorker
) -> None:
    job = await running(queue, worker, max_attempts=1)
    assert await queue.suspend(job.uid) is State.RUNNING
    (claimed,) = worker.held
    assert (await worker.beat()).controls == {(claimed.id, claimed.token): "suspend"}
    await worker.ack(claimed, AckKind.RELEASE)
    view = await shown(queue, job)
    assert (view.state, view.attempts, view.reason) == (State.SUSPENDED, 0, "Suspended")
    assert await queue.resume(job.uid) is State.QUEUED
    assert (await worker.one()).attempt == 1


async def test_h19_suspending_is_no_drain_however_often(queue: Queue, worker: TestWorker) -> None:
    job = await running(queue, worker, max_attempts=1)
    for _ in range(8):
        await queue.suspend(job.uid)
        await worker.ack(worker.held[0], AckKind.RELEASE)
        await queue.resume(job.uid)
        await worker.one()
    assert (await shown(queue, job)).attempts == 1


@pytest.mark.parametrize("kind", [AckKind.COMPLETE, AckKind.FAIL])
async def test_h19_a_final_ack_that_arrives_first_wins(
    queue: Queue, worker: TestWorker, kind: AckKind
) -> None:
    job = await running(queue, worker)
    await queue.suspend(job.uid)
    await worker.ack(worker.held[0], kind)
    assert (await shown(queue, job)).state.final


async def test_h19_a_failed_attempt_of_a_job_asked_to_suspend_is_charged_and_then_suspended(
    queue: Queue, worker: TestWorker
) -> None:
    job = await running(queue, worker, max_attempts=2)
    await queue.suspend(job.uid)
    await worker.ack(worker.held[0], AckKind.RETRY, delay_seconds=60)
    view = await shown(queue, job)
    assert (view.state, view.attempts) == (State.SUSPENDED, 1)
    assert await queue.resume(job.uid) is not None
    assert (await shown(queue, job)).state is State.RETRYING, "its backoff survives"


async def test_h19_a_resume_takes_back_a_suspend_that_was_not_obeyed_yet(
    queue: Queue, worker: TestWorker
) -> None:
    job = await running(queue, worker)
    await queue.suspend(job.uid)
    assert await queue.resume(job.uid) is State.RUNNING
    assert (await worker.beat()).controls == {}


async def test_h19_a_suspended_run_whose_worker_is_lost_is_suspended(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = await running(queue, worker)
    await queue.suspend(job.uid)
    judge = await TestWorker(queue).register()
    await make_steady(dsn, judge)
    await expire_worker(dsn, worker)
    await queue.tick(judge.id)
    assert (await shown(queue, job)).state is State.SUSPENDED


# -- retry ----------------------------------------------------------------------------------------


async def failed(queue: Queue, worker: TestWorker, **fields: object) -> NewJob:
    job = await running(queue, worker, **fields)
    (held,) = worker.held
    await worker.ack(held, AckKind.FAIL, reason="Boom", usage=Usage(9, 9, 18, 1, 0), log_tail="oh")
    return job


async def test_the_trace_of_a_run_outlives_the_retry_of_its_job(queue: Queue, worker: TestWorker) -> None:
    job = new_job(max_attempts=1)
    await queue.enqueue([job])
    await worker.ack(await worker.one(), AckKind.FAIL, trace_id="a" * 32)
    assert await queue.retry(job.uid)
    view = await shown(queue, job)
    assert (view.state, view.trace_id) == (State.QUEUED, "a" * 32)


async def test_h21_a_retry_starts_a_new_round_with_everything_at_zero(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = await failed(queue, worker, active_deadline_seconds=60)
    assert await queue.retry(job.uid) is True
    view = await shown(queue, job)
    assert (view.state, view.round, view.attempts, view.run) == (State.QUEUED, 2, 0, 1)
    assert (view.started_at, view.finished_at, view.usage) == (None, None, Usage())
    assert [(a.round, a.run, a.reason, a.log_tail) for a in view.attempts_log] == [(1, 1, "Boom", "oh")]
    again = await worker.one()
    assert (again.round, again.attempt, again.run, again.spent, again.losses) == (2, 1, 2, Usage(), 0)
    assert again.deadline is not None
    await worker.ack(again)
    view = await shown(queue, job)
    assert (view.state, view.result, view.attempts, len(view.attempts_log)) == (State.COMPLETE, "done", 1, 2)


async def test_h21_a_retried_job_goes_to_the_end_of_its_session_and_of_its_priority(
    queue: Queue, worker: TestWorker
) -> None:
    job = await failed(queue, worker, session=S)
    other, plain = new_job(session=S), new_job()
    await queue.enqueue([other, plain])
    await queue.admit()
    await queue.retry(job.uid)
    await queue.admit()
    first, second = await worker.claim(10)
    assert (first.uid, second.uid) == (other.uid, plain.uid)
    await worker.ack(first)
    assert (await worker.one()).uid == job.uid


async def test_h21_a_cancelled_job_may_be_retried(queue: Queue, worker: TestWorker) -> None:
    job = await running(queue, worker)
    await queue.cancel(job.uid)
    await worker.ack(worker.held[0], AckKind.CANCEL)
    assert await queue.retry(job.uid) is True
    assert [a.outcome for a in (await shown(queue, job)).attempts_log] == ["cancel"]
    assert (await worker.one()).round == 2


async def test_h21_a_complete_or_unfinished_job_is_refused(queue: Queue, worker: TestWorker) -> None:
    job = await running(queue, worker)
    assert await queue.retry(job.uid) is False
    await worker.ack(worker.held[0])
    assert await queue.retry(job.uid) is False
    assert (await shown(queue, job)).state is State.COMPLETE


async def test_h21_a_late_ack_of_the_round_before_is_already_or_lost_and_harms_nothing(
    queue: Queue, worker: TestWorker
) -> None:
    job = await running(queue, worker)
    (old,) = worker.held
    await worker.ack(old, AckKind.FAIL)
    await queue.retry(job.uid)
    new = await worker.one()
    assert await worker.ack(old, AckKind.FAIL) == "already"
    assert await worker.ack(new) == "ok"


async def test_h21_two_retries_at_once_start_one_round(queue: Queue, worker: TestWorker) -> None:
    job = await failed(queue, worker)
    answers = await asyncio.gather(*(queue.retry(job.uid) for _ in range(5)))
    assert sorted(answers) == [False] * 4 + [True]
    assert (await shown(queue, job)).round == 2


async def test_h21_the_annotation_is_handled_once_however_often_it_is_seen(
    queue: Queue, worker: TestWorker
) -> None:
    seen = change()
    await queue.apply([seen])
    await worker.ack(await worker.one(), AckKind.FAIL)
    asked = change(uid=seen.uid, retry_requested="2026-11-24T00:00:00Z")
    assert (await queue.apply([asked]))[seen.uid].outcome == "changed"
    await worker.ack(await worker.one(), AckKind.FAIL)
    assert (await queue.apply([asked]))[seen.uid].outcome == "unchanged"
    assert (await shown(queue, seen)).round == 2
    again = change(uid=seen.uid, retry_requested="2026-11-25T00:00:00Z")
    await queue.apply([again])
    assert (await shown(queue, seen)).round == 3


async def test_h21_a_retry_is_refused_while_cancel_is_wanted(queue: Queue, worker: TestWorker) -> None:
    seen = change(cancel=True)
    await queue.apply([seen])
    assert await queue.retry(seen.uid) is False
    answer = (await queue.apply([change(uid=seen.uid, cancel=True, retry_requested="x")]))[seen.uid]
    assert (answer.outcome, "spec.cancel" in answer.detail) == ("retry_refused", True)


# -- live changes ---------------------------------------------------------------------------------


async def test_h22_a_new_priority_moves_a_waiting_job_and_keeps_its_place_in_line(
    queue: Queue, worker: TestWorker
) -> None:
    first, second, third = (new_job() for _ in range(3))
    await queue.enqueue([first, second, third])
    assert await queue.reprioritise(third.uid, 0) is True
    assert await queue.reprioritise(first.uid, 0) is True
    assert [job.uid for job in await worker.claim(10)] == [first.uid, third.uid, second.uid]


async def test_h22_a_new_priority_of_a_running_job_counts_when_it_comes_back(
    queue: Queue, worker: TestWorker
) -> None:
    job = await running(queue, worker)
    other = new_job()
    await queue.enqueue([other])
    await queue.reprioritise(job.uid, 9)
    await worker.ack(worker.held[0], AckKind.RELEASE)
    assert [(j.uid, j.priority) for j in await worker.claim(10)] == [(other.uid, 2), (job.uid, 9)]


async def test_h22_sql_decides_whether_a_retry_is_the_last(queue: Queue, worker: TestWorker) -> None:
    """The worker was told 3 when it claimed; what counts is what holds when it acks."""
    more, fewer = new_job(max_attempts=1), new_job(max_attempts=3)
    await queue.enqueue([more, fewer])
    one, two = await worker.claim(2)
    await queue.set_max_attempts(more.uid, 2)
    await queue.set_max_attempts(fewer.uid, 1)
    acks = [Ack(j.id, j.token, AckKind.RETRY, delay_seconds=60) for j in (one, two)]
    await worker.step(acks, {})
    assert (await shown(queue, more)).state is State.RETRYING
    assert (await shown(queue, fewer)).state is State.FAILED


async def test_h22_fewer_attempts_than_used_mean_no_further_one_and_never_a_kill(
    queue: Queue, worker: TestWorker
) -> None:
    waiting, busy, fresh = (new_job(max_attempts=5) for _ in range(3))
    await queue.enqueue([waiting, busy])
    one, two = await worker.claim(2)
    for claimed in (one, two):
        await worker.ack(claimed, AckKind.RETRY)
    one, two = await worker.claim(2)
    await worker.ack(one, AckKind.RETRY, delay_seconds=60, reason="Boom", message="it broke")
    await queue.enqueue([fresh])
    for job in (waiting, busy, fresh):
        assert await queue.set_max_attempts(job.uid, 1) is True
    view = await shown(queue, waiting)
    assert (view.state, view.reason, view.attempts, view.exhausted) == (State.FAILED, "Boom", 2, True)
    assert view.message == "it broke; maxAttempts was set to 1 after attempt 2"
    assert (await worker.beat()).controls == {}
    assert await worker.ack(two) == "ok"
    assert (await shown(queue, busy)).state is State.COMPLETE
    assert (await shown(queue, fresh)).state is State.QUEUED


async def test_h22_fewer_attempts_by_the_object_free_the_session(queue: Queue, worker: TestWorker) -> None:
    seen, behind = change(session=S, max_attempts=5), change(session=S)
    await queue.apply([seen])
    await queue.apply([behind])
    await queue.admit()
    await worker.ack(await worker.one(), AckKind.RETRY, delay_seconds=60)
    await queue.apply([change(uid=seen.uid, generation=2, session=S, max_attempts=1)])
    assert (await shown(queue, seen)).state is State.FAILED
    assert (await worker.one()).uid == behind.uid


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda q, uid: q.reprioritise(uid, 10), "priority"),
        (lambda q, uid: q.set_max_attempts(uid, 0), "max_attempts"),
        (lambda q, uid: q.set_queue("agents", max_running=-1), "max_running"),
        (lambda q, uid: q.set_queue("Not A Queue", paused=True), "queue"),
    ],
)
async def test_invariant_13_bad_requests_are_refused_with_field_and_remedy(
    queue: Queue, call: object, field: str
) -> None:
    with pytest.raises(JobRejected) as refused:
        await call(queue, uuid4())  # type: ignore[operator]
    assert refused.value.field == field
