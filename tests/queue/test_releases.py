"""A run that a worker gives back: what it charges, how long the job waits, and what people see (H16, H30)."""

from __future__ import annotations

import pytest

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, State
from agentjobs.values.reasons import Reason
from queue_builders import TestWorker, new_job, pass_time, shown, sql

LONGEST_SECONDS = 300


async def until_due(queue: Queue, worker: TestWorker, dsn: str) -> float:
    """Passes the time until the one job is due; how long it had to wait when it was given back."""
    ((seconds,),) = await sql(dsn, "select extract(epoch from run_at - since)::float from waiting")
    await pass_time(dsn, seconds + 1)
    await queue.tick(worker.id)
    return float(seconds)


@pytest.mark.parametrize(
    "reason", [Reason.PAYLOAD_UNSUPPORTED, Reason.EXECUTOR_CRASHED, Reason.SUSPENDED, ""], ids=str
)
async def test_h16_a_release_that_is_no_drain_charges_nothing_however_often(
    queue: Queue, worker: TestWorker, dsn: str, reason: str
) -> None:
    job = new_job(max_attempts=1)
    await queue.enqueue([job])
    for _ in range(20):
        await worker.ack(await worker.one(), AckKind.RELEASE, reason=reason, delay_seconds=1)
        await until_due(queue, worker, dsn)
    view = await shown(queue, job)
    assert (view.state, view.attempts, view.run) == (State.QUEUED, 0, 20)
    await worker.ack(await worker.one())
    assert (await shown(queue, job)).state is State.COMPLETE


@pytest.mark.parametrize("reason", [Reason.DRAINED, Reason.LEASE_EXPIRED])
async def test_h16_only_a_workers_own_end_counts_as_a_drain(
    queue: Queue, worker: TestWorker, reason: str
) -> None:
    job = new_job(max_attempts=1)
    await queue.enqueue([job])
    for _ in range(6):
        await worker.ack(await worker.one(), AckKind.RELEASE, reason=reason)
    view = await shown(queue, job)
    assert (view.reason, view.exhausted) == (reason, True)


async def test_h16_releases_between_drains_are_none_of_them(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = new_job(max_attempts=2)
    await queue.enqueue([job])
    charged = []
    for _ in range(6):
        await worker.ack(await worker.one(), AckKind.RELEASE, reason=Reason.EXECUTOR_CRASHED, delay_seconds=1)
        await until_due(queue, worker, dsn)
        await worker.ack(await worker.one(), AckKind.RELEASE, reason=Reason.DRAINED)
        charged.append((await shown(queue, job)).attempts)
    assert charged == [0] * 5 + [1]


@pytest.mark.parametrize(
    ("reason", "seconds"), [(Reason.PAYLOAD_UNSUPPORTED, 30), (Reason.EXECUTOR_CRASHED, 1)]
)
async def test_h30_a_job_that_can_begin_nowhere_says_why_and_is_tried_less_and_less_often(
    queue: Queue, worker: TestWorker, dsn: str, reason: str, seconds: float
) -> None:
    job = new_job()
    await queue.enqueue([job])
    waited = []
    for n in range(1, 13):
        await worker.ack(
            await worker.one(), AckKind.RELEASE, reason=reason, message="cannot begin", delay_seconds=seconds
        )
        view = await shown(queue, job)
        assert (view.state, view.reason) == (State.RETRYING, reason)
        assert view.message == "cannot begin" + (f"; given back {n} times in a row" if n > 1 else "")
        waited.append(round(await until_due(queue, worker, dsn)))
    assert waited == [min(LONGEST_SECONDS, seconds * 2**n) for n in range(12)]
    await worker.ack(await worker.one(), AckKind.RETRY)
    await worker.ack(await worker.one(), AckKind.RELEASE, reason=reason, delay_seconds=seconds)
    assert round(await until_due(queue, worker, dsn)) == seconds, "a run that began ends the row"


async def test_h20_a_payload_that_was_too_new_has_not_started_the_active_deadline(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = new_job(active_deadline_seconds=100)
    await queue.enqueue([job])
    for _ in range(3):
        await worker.ack(
            await worker.one(), AckKind.RELEASE, reason=Reason.PAYLOAD_UNSUPPORTED, delay_seconds=50
        )
        await until_due(queue, worker, dsn)
    started = await worker.one()
    ((left,),) = await sql(dsn, "select extract(epoch from deadline - clock_timestamp())::float from running")
    assert 90 < left <= 100
    await worker.ack(started, AckKind.RETRY)
    await pass_time(dsn, 60)
    await worker.ack(await worker.one(), AckKind.RELEASE, reason=Reason.PAYLOAD_UNSUPPORTED, delay_seconds=50)
    await pass_time(dsn, 50)
    await queue.tick(worker.id)
    assert (await shown(queue, job)).reason == Reason.DEADLINE_EXCEEDED, "once it has begun it runs on"


async def test_h16_a_snooze_of_a_run_that_was_asked_to_suspend_ends_nothing(
    queue: Queue, worker: TestWorker
) -> None:
    """From now on the job does not wait: it is suspended."""
    job = new_job()
    await queue.enqueue([job])
    claimed = await worker.one()
    await queue.suspend(job.uid)
    await worker.ack(claimed, AckKind.SNOOZE, delay_seconds=100_000, reason="ModelRateLimited")
    assert (await shown(queue, job)).state is State.SUSPENDED


async def test_h16_a_job_that_gave_way_to_a_pause_waits_for_its_model_no_more(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    """A blocked job of a session that never started is new again in a paused queue, and may then stand behind another job."""
    job = new_job(session="s")
    await queue.enqueue([job])
    await queue.admit()
    await sql(
        dsn,
        "update waiting set state = 'm', target = 'model', wait_since = clock_timestamp(),"
        " held_until = clock_timestamp() + interval '1 hour'",
    )
    await queue.set_queue("agents", paused=True)
    await queue.tick(worker.id)
    await queue.set_queue("agents", paused=False)
    await queue.admit()
    await pass_time(dsn, 100_000)
    await worker.ack(await worker.one(), AckKind.SNOOZE, delay_seconds=1, reason="ModelRateLimited")
    assert (await shown(queue, job)).state is State.RETRYING
