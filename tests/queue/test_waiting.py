"""Jobs that wait: how long, until when, and that they wake."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from agentjobs.queue.claim_hint import RESCAN_SECONDS
from agentjobs.queue.listen import Note
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, RetryPolicy, State
from agentjobs.values.reasons import Reason
from queue_builders import TestWorker, change, make_steady, new_job, pass_time, shown, sql


def soon(seconds: float = 3600) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def test_h16_a_snooze_waits_what_was_asked_and_burns_no_attempt(
    queue: Queue, worker: TestWorker
) -> None:
    job = new_job(max_attempts=1)
    await queue.enqueue([job])
    await worker.ack(await worker.one(), AckKind.SNOOZE, delay_seconds=1234, reason="ModelRateLimited")
    view = await shown(queue, job)
    assert (view.state, view.reason, view.attempts) == (State.RETRYING, "ModelRateLimited", 0)
    assert view.next_attempt_at is not None
    assert abs((view.next_attempt_at - view.since).total_seconds() - 1234) < 0.01


async def test_h16_snoozes_in_a_row_are_counted_for_the_worker_and_a_charged_run_ends_the_row(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue([new_job()])
    counted = []
    for kind in (AckKind.SNOOZE, AckKind.SNOOZE, AckKind.RELEASE, AckKind.RETRY, AckKind.SNOOZE):
        claimed = await worker.one()
        counted.append((claimed.snoozes, claimed.attempt))
        await worker.ack(claimed, kind)
    assert counted == [(0, 1), (1, 1), (2, 1), (2, 1), (0, 2)]


async def test_h16_a_day_of_waiting_in_a_row_ends_the_job(queue: Queue, worker: TestWorker, dsn: str) -> None:
    job = new_job()
    await queue.enqueue([job])
    for _ in range(4):
        await worker.ack(await worker.one(), AckKind.SNOOZE, delay_seconds=6 * 3600 - 60, reason="Overloaded")
        await pass_time(dsn, 6 * 3600)
        await queue.tick(worker.id)
    await worker.ack(await worker.one(), AckKind.SNOOZE, delay_seconds=60, reason="Overloaded")
    view = await shown(queue, job)
    assert (view.state, view.reason, view.attempts) == (State.FAILED, Reason.WAIT_EXCEEDED, 0)
    assert "Overloaded" in view.message
    assert len(view.attempts_log) == 5


async def test_h16_the_longest_wait_is_the_jobs_own(queue: Queue, worker: TestWorker) -> None:
    job = new_job(retry=RetryPolicy(max_wait_seconds=100))
    await queue.enqueue([job])
    await worker.ack(await worker.one(), AckKind.SNOOZE, delay_seconds=101)
    assert (await shown(queue, job)).reason == Reason.WAIT_EXCEEDED


async def test_h16_after_five_drains_the_next_one_charges(queue: Queue, worker: TestWorker) -> None:
    job = new_job(max_attempts=2)
    await queue.enqueue([job])
    charged = []
    for _ in range(12):
        await worker.ack(await worker.one(), AckKind.RELEASE, reason=Reason.DRAINED)
        charged.append((await shown(queue, job)).attempts)
    assert charged == [0] * 5 + [1] * 6 + [2]
    view = await shown(queue, job)
    assert (view.state, view.reason, view.exhausted) == (State.FAILED, Reason.DRAINED, True)


async def test_invariant_4_runs_are_bounded_and_each_is_kept(queue: Queue, worker: TestWorker) -> None:
    job = new_job(max_attempts=3)
    await queue.enqueue([job])
    for _ in range(3):
        await worker.ack(await worker.one(), AckKind.RETRY, reason="Boom", message="it broke")
    view = await shown(queue, job)
    assert (view.state, view.attempts, view.run) == (State.FAILED, 3, 3)
    assert (view.reason, view.message, view.exhausted) == ("Boom", "it broke", True)
    assert [(a.run, a.attempt, a.reason, a.charged) for a in view.attempts_log] == [
        (n, n, "Boom", True) for n in (1, 2, 3)
    ]
    assert await worker.claim(10) == []


async def test_invariant_7_a_permanent_error_runs_once(queue: Queue, worker: TestWorker) -> None:
    job = new_job(max_attempts=5)
    await queue.enqueue([job])
    await worker.ack(await worker.one(), AckKind.FAIL, reason="SafetyBlocked")
    view = await shown(queue, job)
    assert (view.state, view.reason, view.run, view.exhausted) == (State.FAILED, "SafetyBlocked", 1, False)


async def test_a_retry_waits_and_says_when(queue: Queue, worker: TestWorker, dsn: str) -> None:
    job = new_job()
    await queue.enqueue([job])
    await worker.ack(await worker.one(), AckKind.RETRY, delay_seconds=60, reason="Boom", message="it broke")
    view = await shown(queue, job)
    assert (view.state, view.reason, view.message) == (State.RETRYING, "Boom", "it broke")
    assert view.attempts_log[0].next_at == view.next_attempt_at
    assert await worker.claim(10) == []
    await pass_time(dsn, 61)
    assert (await queue.tick(worker.id)).promoted == 1
    assert (await worker.one()).attempt == 2


# -- deadlines ------------------------------------------------------------------------------------


async def test_h20_a_job_that_did_not_start_in_time_fails(queue: Queue, worker: TestWorker, dsn: str) -> None:
    job, patient = new_job(starting_deadline_seconds=60), new_job(starting_deadline_seconds=600)
    await queue.enqueue([job, patient])
    await pass_time(dsn, 61)
    assert (await queue.tick(worker.id)).expired == 1
    view = await shown(queue, job)
    assert (view.state, view.reason) == (State.FAILED, Reason.STARTING_DEADLINE_EXCEEDED)
    assert "startingDeadlineSeconds" in view.message
    assert (await shown(queue, patient)).state is State.QUEUED


async def test_h20_the_starting_deadline_counts_from_the_due_time(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = new_job(run_at=soon(1000), starting_deadline_seconds=60)
    await queue.enqueue([job])
    await pass_time(dsn, 1050)
    await queue.tick(worker.id)
    assert (await shown(queue, job)).state is State.QUEUED
    await pass_time(dsn, 20)
    await queue.tick(worker.id)
    assert (await shown(queue, job)).state is State.FAILED


async def test_h20_a_started_job_has_met_its_starting_deadline(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = new_job(starting_deadline_seconds=60)
    await queue.enqueue([job])
    await worker.ack(await worker.one(), AckKind.RETRY, delay_seconds=3600)
    await pass_time(dsn, 120)
    assert (await queue.tick(worker.id)).expired == 0


async def test_h20_a_running_job_past_its_active_deadline_is_asked_and_then_fails(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = new_job(active_deadline_seconds=60, max_attempts=9)
    await queue.enqueue([job])
    claimed = await worker.one()
    await pass_time(dsn, 61)
    assert (await queue.tick(worker.id)).expired == 1
    assert (await worker.beat()).controls == {(claimed.id, claimed.token): "deadline"}
    assert (await queue.tick(worker.id)).expired == 0, "asked once"
    await worker.ack(claimed, AckKind.CANCEL)
    view = await shown(queue, job)
    assert (view.state, view.reason) == (State.FAILED, Reason.DEADLINE_EXCEEDED)


async def test_h20_a_waiting_job_past_its_active_deadline_fails(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = new_job(active_deadline_seconds=60)
    await queue.enqueue([job])
    await worker.ack(await worker.one(), AckKind.RETRY, delay_seconds=3600, reason="Boom")
    await pass_time(dsn, 61)
    await queue.tick(worker.id)
    view = await shown(queue, job)
    assert (view.state, view.reason) == (State.FAILED, Reason.DEADLINE_EXCEEDED)
    assert "it waited: Boom" in view.message


async def test_h20_the_active_deadline_counts_from_the_first_run_over_all(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue([new_job(active_deadline_seconds=100)])
    first = await worker.one()
    await worker.ack(first, AckKind.RETRY)
    await pass_time(dsn, 50)
    second = await worker.one()
    assert first.deadline is not None
    assert second.deadline is not None
    assert second.deadline == first.deadline - timedelta(seconds=50), "the same moment, 50 s later"


async def test_h20_the_starting_deadline_stands_still_while_suspended(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = new_job(starting_deadline_seconds=60)
    await queue.enqueue([job])
    await pass_time(dsn, 20)
    await queue.suspend(job.uid)
    await pass_time(dsn, 3600)
    await queue.tick(worker.id)
    assert (await shown(queue, job)).state is State.SUSPENDED
    await queue.resume(job.uid)
    ((left,),) = await sql(dsn, "select extract(epoch from deadline - clock_timestamp())::float from waiting")
    assert 30 < left < 41
    await pass_time(dsn, 41)
    await queue.tick(worker.id)
    assert (await shown(queue, job)).state is State.FAILED


async def test_h20_the_starting_deadline_stands_still_while_the_queue_is_paused(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = new_job(starting_deadline_seconds=60)
    await queue.enqueue([job])
    await pass_time(dsn, 20)
    await queue.set_queue("agents", paused=True)
    await pass_time(dsn, 3600)
    await queue.tick(worker.id)
    assert (await shown(queue, job)).state is State.QUEUED
    await queue.set_queue("agents", paused=False)
    await queue.tick(worker.id)
    ((left,),) = await sql(dsn, "select extract(epoch from deadline - clock_timestamp())::float from waiting")
    assert 30 < left < 41


async def test_h20_a_pause_is_not_lost_when_the_job_is_suspended_during_it(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = new_job(starting_deadline_seconds=60)
    await queue.enqueue([job])
    await pass_time(dsn, 20)
    await queue.set_queue("agents", paused=True)
    await pass_time(dsn, 30)
    await queue.suspend(job.uid)
    await pass_time(dsn, 30)
    await queue.resume(job.uid)
    await pass_time(dsn, 30)
    await queue.set_queue("agents", paused=False)
    stood = "paused_between(queue, greatest(run_at, counts_from), clock_timestamp())"
    ((left,),) = await sql(
        dsn, f"select extract(epoch from deadline + {stood} - clock_timestamp())::float from waiting"
    )
    assert 30 < left < 41


async def test_h20_pauses_that_came_and_went_do_not_count_however_often(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = new_job(starting_deadline_seconds=60)
    await queue.enqueue([job])
    for _ in range(3):
        await queue.set_queue("agents", paused=True)
        await pass_time(dsn, 3600)
        await queue.set_queue("agents", paused=False)
        await pass_time(dsn, 15)
        await queue.tick(worker.id)
        assert (await shown(queue, job)).state is State.QUEUED
    await pass_time(dsn, 16)
    await queue.tick(worker.id)
    assert (await shown(queue, job)).reason == Reason.STARTING_DEADLINE_EXCEEDED


async def test_h20_forgotten_pauses_do_not_count_for_jobs_that_came_later(queue: Queue, dsn: str) -> None:
    for _ in range(3):
        await queue.set_queue("agents", paused=True)
        await pass_time(dsn, 100)
        await queue.set_queue("agents", paused=False)
    await sql(dsn, "delete from pause where paused_at < (select max(paused_at) from pause)")
    await queue.enqueue([new_job()])
    await pass_time(dsn, 10)
    between = "select extract(epoch from paused_between('agents', clock_timestamp() - make_interval(secs => %s), clock_timestamp()))"
    found = [(await sql(dsn, between, ago))[0][0] for ago in (5, 105, 1000)]
    assert found[0] == 0
    assert found[1:] == pytest.approx([95, 100], abs=20), "what passes between the statements comes on top"


async def test_h16_time_in_which_the_queue_was_paused_is_no_time_of_waiting(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = new_job(retry=RetryPolicy(max_wait_seconds=3600))
    await queue.enqueue([job])
    await worker.ack(await worker.one(), AckKind.SNOOZE, delay_seconds=30, reason="ModelRateLimited")
    for _ in range(2):
        await queue.set_queue("agents", paused=True)
        await pass_time(dsn, 2 * 86400)
        await queue.set_queue("agents", paused=False)
        await queue.tick(worker.id)
        await worker.beat()
        await worker.ack(await worker.one(), AckKind.SNOOZE, delay_seconds=30, reason="ModelRateLimited")
        assert (await shown(queue, job)).state is State.RETRYING
    await pass_time(dsn, 3600)
    await queue.tick(worker.id)
    await worker.ack(await worker.one(), AckKind.SNOOZE, delay_seconds=30, reason="ModelRateLimited")
    ended = await shown(queue, job)
    assert (ended.state, ended.reason) == (State.FAILED, Reason.WAIT_EXCEEDED)
    assert "waited 36" in ended.message, "the message leaves the pauses out, too"


async def test_h20_the_active_deadline_starts_over_on_resume(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = new_job(active_deadline_seconds=60)
    await queue.enqueue([job])
    claimed = await worker.one()
    await queue.suspend(job.uid)
    await worker.ack(claimed, AckKind.RELEASE)
    await pass_time(dsn, 3600)
    await queue.tick(worker.id)
    await queue.resume(job.uid)
    ((left,),) = await sql(dsn, "select extract(epoch from deadline - clock_timestamp())::float from waiting")
    assert 50 < left < 61


# -- waking ---------------------------------------------------------------------------------------


async def next_note(notes: asyncio.Queue[Note], kind: str) -> Note:
    async with asyncio.timeout(60):
        while True:
            note = await notes.get()
            if note.kind == kind:
                return note


@pytest.fixture
async def notes(queue: Queue) -> asyncio.Queue[Note]:
    """Notes that arrived, from after the listener stands."""
    arrived: asyncio.Queue[Note] = asyncio.Queue()

    async def listen() -> None:
        async for note in queue.listen():
            arrived.put_nowait(note)

    task = asyncio.create_task(listen())
    arrived.task = task  # type: ignore[attr-defined]
    await next_note(arrived, "poll")
    return arrived


async def test_h24_whoever_stores_a_later_due_time_says_so(
    queue: Queue, worker: TestWorker, notes: asyncio.Queue[Note]
) -> None:
    due = soon(777)
    job = new_job(run_at=due)
    await queue.enqueue([job])
    assert abs(float((await next_note(notes, "due")).payload) - due.timestamp()) < 0.001
    assert abs((await queue.tick(worker.id)).next_due_seconds - 777) < 20  # type: ignore[operator]

    await queue.enqueue([new_job()])
    before = time.time()
    await worker.ack(await worker.one(), AckKind.RETRY, delay_seconds=100)
    assert abs(float((await next_note(notes, "due")).payload) - before - 100) < 20
    await queue.suspend(job.uid)
    await queue.resume(job.uid)
    assert abs(float((await next_note(notes, "due")).payload) - due.timestamp()) < 0.001


async def test_h24_a_due_job_is_promoted_by_the_databases_clock_and_wakes_the_workers(
    queue: Queue, worker: TestWorker, dsn: str, notes: asyncio.Queue[Note]
) -> None:
    due = soon(60)
    job = new_job(run_at=due)
    await queue.enqueue([job])
    await pass_time(dsn, 59.5)
    async with asyncio.timeout(60):
        while (await queue.tick(worker.id)).promoted == 0:
            pass
    assert datetime.now(UTC) >= due - timedelta(seconds=59.5)
    assert (await next_note(notes, "ready")).payload == "agents"
    assert (await worker.one()).uid == job.uid


@pytest.mark.parametrize("what", ["enqueue", "retry", "release", "resume", "unpause", "raise the limit"])
async def test_h24_everything_that_makes_a_job_ready_wakes_the_workers(
    queue: Queue, worker: TestWorker, notes: asyncio.Queue[Note], what: str
) -> None:
    job = new_job(queue="slow", suspend=what == "resume")
    slots = {"slow": 1}
    if what not in ("enqueue",):
        await queue.enqueue([job])
    if what in ("retry", "release"):
        (claimed,) = await worker.claim(1, slots=slots)
    if what == "raise the limit":
        await queue.set_queue("slow", max_running=0)
    if what == "unpause":
        await queue.set_queue("slow", paused=True)
    await queue.enqueue([new_job(queue="marker")])
    async with asyncio.timeout(60):
        while (await notes.get()).payload != "marker":
            pass
    match what:
        case "enqueue":
            await queue.enqueue([job])
        case "retry":
            await worker.ack(claimed, AckKind.FAIL)
            assert await queue.retry(job.uid)
        case "release":
            await worker.ack(claimed, AckKind.RELEASE)
        case "resume":
            await queue.resume(job.uid)
        case "unpause":
            await queue.set_queue("slow", paused=False)
        case _:
            await queue.set_queue("slow", max_running=1)
    assert (await next_note(notes, "ready")).payload == "slow"


async def test_h24_a_control_request_wakes_the_worker_that_runs_the_job(
    queue: Queue, worker: TestWorker, notes: asyncio.Queue[Note]
) -> None:
    job = new_job()
    await queue.enqueue([job])
    await worker.one()
    await queue.cancel(job.uid)
    assert (await next_note(notes, "control")).payload == str(worker.id)


async def test_h24_a_listener_that_lost_its_connection_comes_back_and_says_poll(
    queue: Queue, dsn: str, notes: asyncio.Queue[Note]
) -> None:
    await sql(
        dsn,
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'test-listen'"
        " and datname = current_database()",
    )
    await next_note(notes, "poll")
    async with asyncio.timeout(60):
        while True:
            await queue.enqueue([new_job()])
            try:
                async with asyncio.timeout(1):
                    await next_note(notes, "ready")
                    return
            except TimeoutError:
                continue


# -- the claim hint --------------------------------------------------------------------------------


async def test_h25_a_late_commit_behind_the_claim_hint_is_claimed_within_the_bound(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    """A backlog never runs dry, so nothing but the time-out of the hint looks behind it."""
    late = new_job()
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await queue.enqueue([late], conn=conn)
        await queue.enqueue([new_job() for _ in range(20)])
        await worker.claim(10)
        await conn.commit()
    committed = time.monotonic()
    async with asyncio.timeout(60):
        while True:
            await queue.enqueue([new_job() for _ in range(10)])
            began = time.monotonic()
            claimed = await worker.claim(10)
            assert len(claimed) == 10, "the backlog ran dry, so this proved nothing"
            if late.uid in {job.uid for job in claimed}:
                break
            assert began - committed < RESCAN_SECONDS[1], "a claim that begins after the bound finds it"


async def test_h25_an_urgent_job_is_never_hidden_by_the_claim_hint(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([new_job() for _ in range(30)])
    await worker.claim(10)
    urgent = new_job(priority=0)
    await queue.enqueue([urgent])
    assert (await worker.claim(10))[0].uid == urgent.uid


async def test_h25_what_comes_back_behind_the_claim_hint_is_found_when_the_rest_runs_dry(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([new_job() for _ in range(15)])
    first = await worker.claim(10)
    await worker.ack(first[0], AckKind.RELEASE)
    found = await worker.claim(10)
    assert first[0].id in {job.id for job in found}
    assert len(found) == 6


async def test_h25_the_claim_hint_is_one_workers_own(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([new_job() for _ in range(15)])
    first = await worker.claim(10)
    await worker.ack(first[0], AckKind.RELEASE)
    other = await TestWorker(queue).register()
    assert (await other.one()).id == first[0].id


async def test_h14_a_second_loss_is_due_within_the_first_backoff(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await make_steady(dsn, worker)
    delays = []
    for _ in range(10):
        seen = change(retry=RetryPolicy(initial_delay_seconds=10, factor=2))
        await queue.apply([seen])
        await sql(dsn, "update waiting set losses = 1")
        victim = await TestWorker(queue).register()
        await victim.one()
        await queue.unregister(victim.id)
        await queue.tick(worker.id)
        view = await shown(queue, seen)
        delays.append((view.due_at - view.since).total_seconds())
        await queue.cancel(seen.uid)
    assert all(0 <= delay <= 20 for delay in delays)
    assert max(delays) - min(delays) > 1, "full jitter"
