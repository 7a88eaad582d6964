"""Who may run a job, and what happens when a reply, a worker or the database is lost."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import psycopg
import pytest

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import Ack, AckKind, NewJob, Progress, State
from agentjobs.values.usage import Usage
from queue_builders import (
    TestWorker,
    expire_worker,
    make_steady,
    new_job,
    pass_time,
    shown,
    sql,
    until,
    waits_for_a_lock,
    whereabouts,
)


async def one_running(queue: Queue, worker: TestWorker, **fields: object) -> NewJob:
    job = new_job(**fields)
    await queue.enqueue([job])
    await worker.one()
    return job


async def rescuer(queue: Queue, dsn: str) -> TestWorker:
    other = await TestWorker(queue).register()
    await make_steady(dsn, other)
    return other


async def lose(queue: Queue, dsn: str, worker: TestWorker, judge: TestWorker) -> int:
    await expire_worker(dsn, worker)
    return (await queue.tick(judge.id)).rescued


async def test_h8_a_lost_claim_reply_gives_the_job_back_with_the_attempt_refunded(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = new_job()
    await queue.enqueue([job])
    lost = await worker.one()
    worker.held.clear()  # the reply never arrived

    assert (await worker.beat()).disowned == [], "it may still arrive"
    await pass_time(dsn, 6)
    beat = await worker.beat()
    assert beat.disowned == [(lost.id, lost.token)]
    assert await queue.disown(worker.id, beat.disowned) == 1

    view = await shown(queue, job)
    assert (view.state, view.attempts, view.run) == (State.QUEUED, 0, 1)
    assert [(a.outcome, a.reason, a.charged) for a in view.attempts_log] == [("lost", "ClaimLost", False)]
    again = await worker.one()
    assert (again.attempt, again.run) == (1, 2)


async def test_h8_a_claim_that_is_still_in_flight_is_nobodys_loss(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue([new_job()])
    claimed = await worker.one()
    worker.held.clear()
    await pass_time(dsn, 60)
    assert (await worker.beat(in_flight=[claimed.token])).disowned == []


async def test_h8_what_is_held_is_not_disowned_and_a_late_disown_changes_nothing(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue([new_job()])
    claimed = await worker.one()
    await pass_time(dsn, 60)
    assert (await worker.beat()).disowned == []
    assert await worker.ack(claimed) == "ok"
    assert await queue.disown(worker.id, [(claimed.id, claimed.token)]) == 0


@pytest.mark.parametrize("kind", list(AckKind))
async def test_h9_a_lost_ack_reply_is_answered_already(
    queue: Queue, worker: TestWorker, kind: AckKind
) -> None:
    await queue.enqueue([new_job()])
    claimed = await worker.one()
    assert await worker.ack(claimed, kind, delay_seconds=60) == "ok"
    assert await worker.ack(claimed, kind, delay_seconds=60) == "already"


async def test_h9_an_ack_of_a_run_that_was_claimed_again_is_still_already(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([new_job()])
    first = await worker.one()
    assert await worker.ack(first, AckKind.RETRY, reason="Boom") == "ok"
    second = await worker.one()
    assert await worker.ack(first, AckKind.RETRY, reason="Boom") == "already"
    assert await worker.ack(second) == "ok"
    assert await worker.ack(first, AckKind.RETRY) == "already"


async def test_h9_each_ack_of_a_batch_has_its_own_answer(queue: Queue, worker: TestWorker, dsn: str) -> None:
    await queue.enqueue([new_job() for _ in range(3)])
    done, taken, new = await worker.claim(3)
    await worker.ack(done)
    await sql(dsn, "update running set token = token + 100 where id = %s", taken.id)
    result = await worker.step([Ack(j.id, j.token, AckKind.COMPLETE) for j in (done, taken, new)], {})
    assert result.answers == {done.id: "already", taken.id: "lost", new.id: "ok"}


@pytest.mark.parametrize("kind", [AckKind.COMPLETE, AckKind.RETRY, AckKind.CANCEL])
@pytest.mark.parametrize("change", ["control = 'k'", "step = 'search', event_count = 3"])
async def test_h15_an_ack_that_waits_for_a_change_of_its_row_moves_the_job_whole(
    queue: Queue, worker: TestWorker, dsn: str, kind: AckKind, change: str
) -> None:
    """A cancel or a progress report commits between the ack's snapshot and its lock."""
    await queue.enqueue([new_job(), new_job()])
    raced, other = await worker.claim(2)
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute(f"update agentjobs.running set {change} where id = %s", (raced.id,))
        acks = [Ack(job.id, job.token, kind, delay_seconds=60) for job in (raced, other)]
        step = asyncio.create_task(worker.step(acks, {}))
        await until(lambda: waits_for_a_lock(dsn))
        await conn.commit()
    assert set((await step).answers.values()) == {"ok"}
    now = await whereabouts(dsn)
    assert (now["running"], now["waiting"] + now["outcome"]) == (0, 2)


async def test_invariant_2_an_ack_of_a_run_that_lost_its_job_changes_nothing_and_is_told(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = await one_running(queue, worker)
    (stale,) = worker.held
    judge = await rescuer(queue, dsn)
    assert await lose(queue, dsn, worker, judge) == 1
    taken = await judge.one()

    assert await worker.ack(stale, result="from the dead") == "lost"
    view = await shown(queue, job)
    assert (view.state, view.worker) == (State.RUNNING, f"worker-{judge.id.hex[:4]}")
    assert await judge.ack(taken, result="from the living") == "ok"
    assert (await shown(queue, job)).result == "from the living"


async def test_invariant_2_the_token_alone_is_not_the_fence_the_worker_belongs_to_it(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([new_job()])
    claimed = await worker.one()
    thief = await TestWorker(queue).register()
    assert await thief.ack(claimed) == "lost"
    assert await worker.ack(claimed) == "ok"


async def test_h10_an_expired_worker_claims_nothing_and_is_told(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue([new_job()])
    await expire_worker(dsn, worker)
    result = await worker.step()
    assert (result.alive, list(result.jobs)) == (False, [])
    assert (await whereabouts(dsn))["waiting"] == 1


async def test_h10_a_worker_that_never_registered_claims_nothing(queue: Queue) -> None:
    await queue.enqueue([new_job()])
    stranger = TestWorker(queue)
    result = await stranger.step()
    assert (result.alive, list(result.jobs)) == (False, [])
    assert (await stranger.beat()).alive is False


async def test_h10_a_worker_that_was_given_up_must_register_under_a_new_name(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    judge = await rescuer(queue, dsn)
    await lose(queue, dsn, worker, judge)
    assert (await worker.beat()).alive is False
    reborn = await TestWorker(queue).register()
    assert (await reborn.beat()).alive is True


async def test_h10_an_ack_that_comes_before_the_rescue_counts(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    """First commit wins: the work is done, and nobody else had begun."""
    job = await one_running(queue, worker)
    await expire_worker(dsn, worker)
    assert await worker.ack(worker.held[0]) == "ok"
    assert (await shown(queue, job)).state is State.COMPLETE


async def test_h11_an_outage_of_the_database_rescues_nobody_and_charges_nothing(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = await one_running(queue, worker)
    other = await rescuer(queue, dsn)
    # 60 s in which nobody could beat
    await sql(
        dsn,
        "update worker set beat_at = beat_at - interval '60 s', steady_since = steady_since - interval '60 s'",
    )

    assert (await queue.tick(other.id)).rescued == 0, "who has not beaten judges nobody"
    assert (await other.beat()).alive is True
    assert (await queue.tick(other.id)).rescued == 0, "a gap resets how long one was steady"
    assert (await worker.beat()).alive is True
    await make_steady(dsn, other)
    assert (await queue.tick(other.id)).rescued == 0, "the other one is back"
    assert await worker.ack(worker.held[0]) == "ok"
    assert (await shown(queue, job)).attempts == 1


async def test_h11_an_outage_a_little_shorter_than_the_expiry_rescues_nobody_either(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    """The judge beat last just before the outage, the other one almost a beat earlier."""
    await one_running(queue, worker)
    judge = await rescuer(queue, dsn)
    await sql(dsn, "update worker set beat_at = beat_at - interval '14 s' where id = %s", judge.id)
    await sql(dsn, "update worker set beat_at = beat_at - interval '18 s' where id = %s", worker.id)
    assert (await judge.beat()).alive is True
    assert (await queue.tick(judge.id)).rescued == 0
    assert (await worker.beat()).alive is True


async def test_invariant_3_a_long_run_of_a_live_worker_is_never_rescued(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await one_running(queue, worker)
    judge = await rescuer(queue, dsn)
    await pass_time(dsn, 30 * 86400)
    assert (await queue.tick(judge.id)).rescued == 0
    assert await worker.ack(worker.held[0]) == "ok"


async def test_invariant_3_the_jobs_of_an_unregistered_worker_go_back(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = await one_running(queue, worker)
    judge = await rescuer(queue, dsn)
    await queue.unregister(worker.id)
    assert (await queue.tick(judge.id)).rescued == 1
    assert (await shown(queue, job)).state is State.QUEUED


async def test_h14_losses_charge_nothing_then_wait_then_run_alone_then_fail(queue: Queue, dsn: str) -> None:
    job = new_job(max_attempts=1)
    await queue.enqueue([job])
    judge = await rescuer(queue, dsn)
    seen = []
    for loss in range(1, 6):
        victim = await TestWorker(queue).register()
        await pass_time(dsn, 3600)  # the second loss waits with jitter
        await queue.tick(judge.id)
        claimed = await victim.one(idle=True)
        assert (claimed.attempt, claimed.run, claimed.solo) == (1, loss, loss > 3)
        assert await lose(queue, dsn, victim, judge) == 1
        view = await shown(queue, job)
        seen.append((view.state.value, view.reason, view.attempts))
    assert seen == [
        ("Queued", "WorkerLost", 0),
        ("Retrying", "WorkerLost", 0),
        ("Queued", "Quarantined", 0),
        ("Queued", "Quarantined", 0),
        ("Failed", "WorkerLost", 0),
    ]
    assert [a.charged for a in (await shown(queue, job)).attempts_log] == [False] * 5


async def test_h14_a_suspect_job_is_claimed_only_by_a_worker_that_holds_nothing_else(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    suspect, plain = new_job(), new_job()
    await queue.enqueue([suspect])
    await sql(dsn, "update waiting set state = 'q', losses = 3")
    await queue.enqueue([plain])
    assert [j.uid for j in await worker.claim(10)] == [plain.uid], "a busy worker leaves it"
    idle = await TestWorker(queue).register()
    (alone,) = await idle.claim(10, idle=True)
    assert (alone.uid, alone.solo) == (suspect.uid, True)


async def test_h14_one_bad_job_does_not_fail_its_neighbours(queue: Queue, dsn: str) -> None:
    jobs = [new_job(max_attempts=1) for _ in range(3)]
    await queue.enqueue(jobs)
    judge = await rescuer(queue, dsn)
    victim = await TestWorker(queue).register()
    assert len(await victim.claim()) == 3
    assert await lose(queue, dsn, victim, judge) == 3
    for claimed in await judge.claim():
        assert await judge.ack(claimed) == "ok"
    assert {(await shown(queue, job)).state for job in jobs} == {State.COMPLETE}


async def test_h28_what_a_lost_run_spent_is_kept_with_its_attempt_and_counts(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = await one_running(queue, worker)
    (held,) = worker.held
    spent = Usage(100, 20, 120, 2, 1)
    assert await queue.progress(worker.id, [Progress(held.id, held.token, "search", 7, spent)]) == 1
    judge = await rescuer(queue, dsn)
    await lose(queue, dsn, worker, judge)
    (attempt,) = (await shown(queue, job)).attempts_log
    assert (attempt.usage, attempt.event_count) == (spent, 7)
    assert "search" in attempt.message
    again = await judge.one()
    assert again.spent == spent
    await judge.ack(again, usage=Usage(1, 1, 2, 1, 0))
    assert (await shown(queue, job)).usage == Usage(101, 21, 122, 3, 1)


async def test_h28_progress_of_a_run_that_is_not_ours_changes_nothing(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([new_job()])
    held = await worker.one()
    usage = Usage(1, 1, 2, 1, 0)
    assert await queue.progress(uuid4(), [Progress(held.id, held.token, "x", 1, usage)]) == 0
    assert await queue.progress(worker.id, [Progress(held.id, held.token + 1, "x", 1, usage)]) == 0
    assert await queue.progress(worker.id, [Progress(held.id, held.token, "x", 1, usage)]) == 1
    assert await queue.progress(worker.id, [Progress(held.id, held.token, "x", 1, usage)]) == 0, "unchanged"


async def test_invariant_3_two_judges_at_once_rescue_each_job_once(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue([new_job() for _ in range(20)])
    worker.slots = {"agents": 20}
    assert len(await worker.claim()) == 20
    judges = [await rescuer(queue, dsn) for _ in range(3)]
    await expire_worker(dsn, worker)
    results = await asyncio.gather(*(queue.tick(judge.id) for judge in judges))
    assert sum(r.rescued for r in results) == 20
    assert (await whereabouts(dsn)) == {"waiting": 20, "running": 0, "outcome": 0, "job": 20}


async def test_what_a_run_had_spent_when_its_worker_was_lost_counts_for_its_job(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job, spent = new_job(), Usage(70, 7, 77, 3, 2)
    await queue.enqueue([job])
    run = await worker.one()
    assert await queue.progress(worker.id, [Progress(run.id, run.token, "look_up", 5, spent)]) == 1
    judge = await TestWorker(queue).register()
    await make_steady(dsn, judge)
    await expire_worker(dsn, worker)
    await queue.tick(judge.id)

    view = await shown(queue, job)
    assert (view.usage, view.attempts_log[0].usage, view.attempts_log[0].event_count) == (spent, spent, 5)
    await pass_time(dsn, 60)
    await queue.tick(judge.id)
    again = await judge.one()
    assert again.spent == spent, "the budget counts it"
    await judge.ack(again, usage=Usage(1, 1, 2, 1, 0))
    assert (await shown(queue, job)).usage == Usage(71, 8, 79, 4, 2)
