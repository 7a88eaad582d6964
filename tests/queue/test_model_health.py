"""Model health: a breaker per pool and model keeps an outage of a provider from eating attempts (docs/model-health.md)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from agentjobs.api.meta import format_time
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import (
    Ack,
    AckKind,
    ClaimedJob,
    ModelReport,
    NewJob,
    ObjectRef,
    RetryPolicy,
    State,
)
from agentjobs.transcript.transcripts import Transcripts
from agentjobs.values.reasons import Reason
from agentjobs.web.runs import Runs as WebRuns
from model_jobs import (
    ANSWERED,
    DOWN,
    FAILURES,
    LIMITED,
    MODEL,
    OTHER,
    REFUSED,
    break_model,
    breaker,
    hear,
    heard,
    held,
    job_of,
    jobs_of,
    module_job,
    open_breaker,
    probe_is_due,
)
from queue_builders import TestWorker, expire_worker, make_steady, new_job, pass_time, shown, sql

# opening -----------------------------------------------------------------------------------------------


async def test_a_lone_failure_charges_its_attempt_and_opens_nothing(queue: Queue, worker: TestWorker) -> None:
    jobs = jobs_of(FAILURES - 1)
    await queue.enqueue(jobs)
    result = await hear(worker, await worker.claim(), DOWN)
    assert result.blocked == frozenset()
    for job in jobs:
        view = await shown(queue, job)
        assert (view.state, view.reason, view.attempts) == (State.RETRYING, Reason.MODEL_SERVER_ERROR, 1)
    counting = await breaker(queue)
    assert counting is not None
    assert (counting.reason, counting.failures) == (None, FAILURES - 1)
    await queue.enqueue([job_of()])
    assert len(await worker.claim()) == 1, "the model's jobs go on"


async def test_invariant_7_five_failures_in_a_row_open_it_and_all_their_attempts_are_refunded(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    jobs = jobs_of(FAILURES)
    await queue.enqueue(jobs)
    for run in await worker.claim():
        last = await hear(worker, [run], DOWN)
    assert last.blocked == {run.id}
    opened = await open_breaker(queue)
    assert (opened.reason, opened.failures, opened.last_failure) == (
        "ModelUnavailable",
        5,
        "ModelServerError",
    )
    await queue.tick(worker.id)
    for job in jobs:
        view = await shown(queue, job)
        assert (view.state, view.reason, view.attempts) == (State.RETRYING, "ModelUnavailable", 0)
        assert "gemini-test is unavailable to pool default since 20" in view.message
        assert "5 failures in a row, the last: ModelServerError" in view.message
        assert "one job probes it at 20" in view.message
        assert [a.charged for a in view.attempts_log] == [False]
        assert view.next_attempt_at == opened.probe_at
    assert await held(dsn) == FAILURES


async def test_failures_of_one_job_are_its_own_fault(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([job_of(max_attempts=9)])
    for _ in range(FAILURES + 1):
        await hear(worker, [await worker.one()], DOWN, delay=0)
    counting = await breaker(queue)
    assert counting is not None
    assert (counting.reason, counting.failures) == (None, 1)


async def test_an_answer_in_between_ends_the_row(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue(jobs_of(FAILURES + 4))
    runs = await worker.claim()
    await hear(worker, runs[:4], DOWN)
    await hear(worker, runs[4:5], ANSWERED)
    assert await breaker(queue) is None
    await hear(worker, runs[5:], DOWN)
    counting = await breaker(queue)
    assert counting is not None
    assert counting.reason is None


async def test_a_last_attempt_in_the_reply_that_opens_it_is_refunded_too(
    queue: Queue, worker: TestWorker
) -> None:
    jobs = jobs_of(FAILURES, max_attempts=1)
    await queue.enqueue(jobs)
    await hear(worker, await worker.claim(), DOWN)
    for job in jobs:
        assert (await shown(queue, job)).state is State.RETRYING


async def test_one_refused_key_opens_it_and_the_job_waits(queue: Queue, worker: TestWorker) -> None:
    (job,) = await break_model(queue, worker, REFUSED)
    view = await shown(queue, job)
    assert (view.state, view.reason, view.attempts) == (State.RETRYING, "ModelAuthFailed", 0)
    assert "correct the pool's model key" in view.message
    await queue.enqueue(jobs_of(3))
    assert await worker.claim() == []


async def test_a_run_that_was_lost_says_nothing_of_its_model(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([job_of()])
    run = await worker.one()
    await worker.ack(run)
    await hear(worker, [run], REFUSED)
    assert await breaker(queue) is None


# while it is open --------------------------------------------------------------------------------------


async def test_while_it_is_open_the_pool_claims_no_job_of_the_model_and_others_go_on(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await break_model(queue, worker)
    blocked, innocent = jobs_of(40), jobs_of(15, OTHER)
    await queue.enqueue([job for pair in zip(blocked, blocked[15:], innocent, strict=False) for job in pair])
    claimed = await worker.claim() + await worker.claim()
    assert [run.uid for run in claimed] == [job.uid for job in innocent], "in their order"
    await queue.tick(worker.id)
    view = await shown(queue, blocked[0])
    assert (view.state, view.reason) == (State.QUEUED, "ModelUnavailable")
    assert await worker.claim() == []


async def test_jobs_that_come_or_become_due_later_are_kept_too(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await break_model(queue, worker)
    late = job_of()
    await queue.enqueue([late])
    assert await worker.claim() == []
    await queue.tick(worker.id)
    assert (await shown(queue, late)).reason == "ModelUnavailable"


async def test_a_failure_of_a_run_that_began_before_is_refunded(queue: Queue, worker: TestWorker) -> None:
    slow = job_of(max_attempts=1)
    await queue.enqueue([slow])
    run = await worker.one()
    await break_model(queue, worker)
    result = await hear(worker, [run], DOWN)
    assert result.blocked == {run.id}
    view = await shown(queue, slow)
    assert (view.state, view.attempts) == (State.RETRYING, 0)


async def test_h16_a_kept_job_waits_no_longer_than_its_policy_allows(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await break_model(queue, worker)
    impatient = job_of(retry=RetryPolicy(max_wait_seconds=600), session="s")
    behind = job_of(OTHER, session="s")
    await queue.enqueue([impatient, behind])
    await queue.admit()
    await worker.claim()
    await pass_time(dsn, 601)
    await queue.tick(worker.id)
    view = await shown(queue, impatient)
    assert (view.state, view.reason) == (State.FAILED, Reason.WAIT_EXCEEDED)
    assert "ModelUnavailable" in view.message
    assert behind.uid in {run.uid for run in await worker.claim()}, "its session is free"


async def test_h16_a_kept_job_does_not_wait_while_its_queue_is_paused(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await break_model(queue, worker)
    impatient = job_of(retry=RetryPolicy(max_wait_seconds=600))
    await queue.enqueue([impatient])
    await worker.claim()
    await pass_time(dsn, 300)
    for _ in range(2):
        await queue.set_queue("agents", paused=True)
        await pass_time(dsn, 3600)
        await queue.tick(worker.id)
        await queue.set_queue("agents", paused=False)
        await queue.tick(worker.id)
        assert (await shown(queue, impatient)).reason == Reason.MODEL_UNAVAILABLE
    await pass_time(dsn, 301)
    await queue.tick(worker.id)
    view = await shown(queue, impatient)
    assert (view.state, view.reason) == (State.FAILED, Reason.WAIT_EXCEEDED)
    assert "waited 60" in view.message


# probes and the ramp -----------------------------------------------------------------------------------


async def test_one_probe_at_a_time_then_twice_as_long_until_the_next(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await break_model(queue, worker)
    await queue.enqueue(jobs_of(20))
    assert await worker.claim() == []
    waits = []
    for _ in range(7):
        await probe_is_due(dsn)
        (probe,) = await worker.claim()
        assert await worker.claim() == [], "one at a time"
        await hear(worker, [probe], DOWN)
        rows = await sql(dsn, "select extract(epoch from probe_at - failed_at)::float8 from model_breaker")
        waits.append(rows[0][0])
        assert await worker.claim() == []
    for wait, wanted in zip(waits, (60, 120, 240, 480, 600, 600, 600), strict=True):
        assert 0.88 * wanted < wait < 1.12 * wanted


async def test_an_answer_begins_the_ramp_which_ends_with_the_slots_of_the_pool(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await break_model(queue, worker)
    await queue.enqueue(jobs_of(100))
    await probe_is_due(dsn)
    at_once = []
    runs = await worker.claim()
    while await breaker(queue) is not None:
        at_once.append(len(runs))
        await hear(worker, runs, ANSWERED)
        runs = await worker.claim()
    assert at_once == [1, 2, 4, 8]
    await queue.tick(worker.id)
    assert len(runs + await worker.claim(10 - len(runs))) == 10


async def test_a_failure_in_the_ramp_opens_it_again_and_is_refunded(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await break_model(queue, worker)
    await queue.enqueue(jobs_of(100))
    await probe_is_due(dsn)
    await hear(worker, await worker.claim(), ANSWERED)
    runs = await worker.claim()
    assert len(runs) == 2
    result = await hear(worker, runs, DOWN)
    assert result.blocked == {run.id for run in runs}
    opened = await open_breaker(queue)
    assert (opened.reason, opened.allowed) == ("ModelUnavailable", 0)
    rows = await sql(dsn, "select extract(epoch from probe_at - failed_at)::float8 from model_breaker")
    assert 26 < rows[0][0] < 34, "two that fail together are one failure"
    assert await worker.claim() == []


async def claimed_together(*workers: TestWorker) -> list[ClaimedJob]:
    """Each worker claims four times, all at once."""
    return [job for jobs in await asyncio.gather(*(w.claim() for w in workers * 4)) for job in jobs]


async def test_two_workers_share_the_ramp(queue: Queue, worker: TestWorker, dsn: str) -> None:
    other = await TestWorker(queue).register()
    await break_model(queue, worker)
    await queue.enqueue(jobs_of(100))
    await probe_is_due(dsn)
    probes = await claimed_together(worker, other)
    assert len(probes) == 1
    await hear(worker if worker.held else other, probes, ANSWERED)
    both = await claimed_together(worker, other) + await worker.claim() + await other.claim()
    assert len(both) == 2


async def test_a_probe_that_says_nothing_of_the_model_makes_room_for_the_next(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await break_model(queue, worker)
    await queue.enqueue(jobs_of(3))
    await probe_is_due(dsn)
    await worker.ack(await worker.one(), AckKind.RELEASE, reason=Reason.DRAINED)
    assert len(await worker.claim()) == 1


async def test_a_probe_whose_worker_is_lost_makes_room_for_the_next(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await break_model(queue, worker)
    await queue.enqueue(jobs_of(3))
    await probe_is_due(dsn)
    doomed = await TestWorker(queue).register()
    assert len(await doomed.claim()) == 1
    assert await worker.claim() == []
    await expire_worker(dsn, doomed)
    await make_steady(dsn, worker)
    assert (await queue.tick(worker.id)).rescued == 1
    assert len(await worker.claim()) == 1


async def test_a_worker_that_starts_probes_a_refused_key_at_once_and_nobody_else_does(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    (job,) = await break_model(queue, worker, REFUSED)
    restarted = await TestWorker(queue).register()
    assert await worker.claim() == [], "it has the key that was refused"
    (probe,) = await restarted.claim()
    assert probe.uid == job.uid
    await hear(restarted, [probe], ANSWERED)
    await queue.enqueue(jobs_of(5))
    assert len(await restarted.claim()) == 2


async def test_an_answer_to_a_run_that_began_before_brings_the_probe_forward(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([job_of()])
    slow = await worker.one()
    await break_model(queue, worker)
    await queue.enqueue(jobs_of(5))
    assert await worker.claim() == []
    await hear(worker, [slow], ANSWERED)
    assert len(await worker.claim()) == 1


async def test_a_breaker_that_nobody_waits_for_is_forgotten(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    (job,) = await break_model(queue, worker, REFUSED)
    await pass_time(dsn, 3600)
    await queue.tick(worker.id)
    assert await breaker(queue) is not None, "a job waits for it"
    await queue.cancel(job.uid)
    await queue.tick(worker.id)
    assert await breaker(queue) is None


async def test_a_reset_lets_every_job_go(queue: Queue, worker: TestWorker, dsn: str) -> None:
    await break_model(queue, worker)
    await queue.enqueue(jobs_of(20))
    await worker.claim()
    assert await queue.reset_model("default", MODEL) is True
    assert await queue.reset_model("default", MODEL) is False
    await queue.tick(worker.id)
    assert await held(dsn) == 0
    assert len(await worker.claim()) == 10


async def test_a_reset_finds_a_model_by_a_name_longer_than_what_is_kept_of_it(
    queue: Queue, worker: TestWorker
) -> None:
    long = "m" * 300
    await break_model(queue, worker, model=long)
    assert await queue.reset_model("default", long) is True


# rate limits -------------------------------------------------------------------------------------------


async def test_a_429_pauses_the_model_for_its_delay_so_that_its_jobs_do_not_each_call(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    (job,) = await break_model(queue, worker, LIMITED, asked=400)
    await queue.enqueue(jobs_of(30) + jobs_of(3, OTHER))
    assert len(await worker.claim()) == 3
    await queue.tick(worker.id)
    view = await shown(queue, job)
    assert (view.reason, view.attempts) == ("ModelRateLimited", 0)
    assert "is rate limited for pool default" in view.message
    assert view.next_attempt_at is not None
    assert f"goes on at {format_time(view.next_attempt_at)}" in view.message
    await pass_time(dsn, 300)
    assert await worker.claim() == []
    await pass_time(dsn, 101)
    assert len(await worker.claim()) > 0


async def test_after_a_429_half_as_many_go_on_as_ran(queue: Queue, worker: TestWorker, dsn: str) -> None:
    await queue.enqueue(jobs_of(40))
    runs = await worker.claim()
    await hear(worker, runs[:1], LIMITED, asked=60)
    await hear(worker, runs[1:4], LIMITED, asked=60)
    await hear(worker, runs[4:], ANSWERED)
    assert await worker.claim() == []
    await pass_time(dsn, 61)
    assert len(await worker.claim()) == 5


async def test_a_lone_server_error_beside_a_rate_limit_is_charged(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = job_of()
    await queue.enqueue([job])
    run = await worker.one()
    await break_model(queue, worker, LIMITED, asked=5)
    assert (await hear(worker, [run], DOWN)).blocked == frozenset()
    assert (await shown(queue, job)).attempts == 1


# two pools ---------------------------------------------------------------------------------------------


async def test_each_pool_has_its_own_breaker_and_the_other_still_gets_the_jobs(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    other = await TestWorker(queue, pool="elsewhere").register()
    failed = await break_model(queue, worker)
    fresh = jobs_of(8)
    await queue.enqueue(fresh)
    assert await worker.claim() == []
    assert await held(dsn) == len(failed) + len(fresh)
    await queue.tick(worker.id)
    view = await shown(queue, fresh[0])
    assert (view.reason, view.next_attempt_at) == ("", None), "the other pool may take it: that is no news"
    claimed = await other.claim() + await other.claim()
    assert {run.uid for run in claimed} == {job.uid for job in failed + fresh}
    assert await breaker(queue, pool="elsewhere") is None


async def test_only_where_all_pools_of_a_queue_are_without_the_model_its_jobs_say_so(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    other = await TestWorker(queue, pool="elsewhere").register()
    unconcerned = await TestWorker(queue, slots={"bulk": 3}, pool="third").register()
    await break_model(queue, worker)
    jobs = jobs_of(30)
    await queue.enqueue(jobs)
    assert await worker.claim() == []
    runs = await other.claim(FAILURES)
    await hear(other, runs, DOWN)
    assert await worker.claim() + await other.claim() + await unconcerned.claim() == []
    await queue.tick(worker.id)
    assert {(await shown(queue, job)).reason for job in jobs} == {"ModelUnavailable"}


async def test_the_jobs_of_a_pool_that_is_gone_are_let_go(queue: Queue, worker: TestWorker, dsn: str) -> None:
    await break_model(queue, worker)
    await queue.unregister(worker.id)
    other = await TestWorker(queue, slots={"bulk": 1}, pool="elsewhere").register()
    await queue.tick(other.id)
    assert await held(dsn) == 0
    assert await queue.model_health() == []


# modules -----------------------------------------------------------------------------------------------


async def test_a_module_is_kept_once_it_has_failed_by_the_model(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await break_model(queue, worker)
    await queue.enqueue([module_job("team.agent") for _ in range(4)])
    first, second = await worker.claim(2)
    result = await hear(worker, [first], DOWN)
    assert result.blocked == {first.id}, "the first run of a module goes through, and is refunded"
    assert await worker.claim() == []
    await hear(worker, [second], DOWN)
    assert (await open_breaker(queue)).blocked == FAILURES + 4


async def test_modules_that_share_a_model_open_one_breaker(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([module_job(f"team.agent_{n}") for n in range(FAILURES)])
    await hear(worker, await worker.claim(), DOWN)
    await queue.enqueue([job_of(), module_job("team.agent_1"), module_job("team.innocent")])
    assert [run.payload["agent"] for run in await worker.claim()] == [{"module": "team.innocent"}]


async def test_a_module_of_two_models_that_are_both_down_waits_for_both(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await break_model(queue, worker)
    await break_model(queue, worker, model=OTHER)
    team = [module_job("team.both") for _ in range(3)]
    await queue.enqueue(team)
    run = await worker.one()
    reports = tuple(ModelReport(model, DOWN, "ModelServerError", 0) for model in (MODEL, OTHER))
    await worker.ack(run, AckKind.RETRY, delay_seconds=15, reason="ModelServerError", models=reports)
    assert await worker.claim() == []

    async def recover(model: str) -> set[str]:
        """The model answers again; whose jobs ran until nothing more was let through."""
        await probe_is_due(dsn, model)
        ran = set()
        while runs := await worker.claim():
            ran |= {str(run.payload["agent"]) for run in runs}
            await hear(worker, runs, ANSWERED, model)
        return ran

    assert await recover(MODEL) == {str({"inline": {"model": MODEL}})}
    assert await recover(OTHER) == {str({"inline": {"model": OTHER}}), str({"module": "team.both"})}
    assert {(await shown(queue, job)).state for job in team} == {State.COMPLETE}


async def test_a_job_of_unknown_shape_is_never_kept(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([new_job()])
    run = await worker.one()
    assert (await hear(worker, [run], REFUSED)).blocked == frozenset()


# what people do to kept jobs ---------------------------------------------------------------------------


async def kept_job(queue: Queue, worker: TestWorker, **fields: Any) -> NewJob:
    await break_model(queue, worker)
    job = job_of(**fields)
    await queue.enqueue([job])
    await queue.admit()
    await worker.claim()
    await queue.tick(worker.id)
    assert (await shown(queue, job)).reason == "ModelUnavailable"
    return job


@pytest.mark.parametrize("what", ["cancel", "suspend"])
async def test_h17_a_kept_job_holds_its_session_until_it_is_taken_away(
    queue: Queue, worker: TestWorker, what: str
) -> None:
    job = await kept_job(queue, worker, session="s")
    behind = job_of(OTHER, session="s")
    await queue.enqueue([behind])
    await queue.admit()
    assert await worker.claim() == [], "invariant 5: in the order in which they became due"
    assert (await shown(queue, behind)).reason == Reason.BEHIND_SESSION
    await getattr(queue, what)(job.uid)
    assert (await worker.one()).uid == behind.uid


async def test_h19_a_kept_job_is_suspended_and_kept_again_after_it_is_resumed(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = await kept_job(queue, worker)
    await queue.suspend(job.uid)
    view = await shown(queue, job)
    assert (view.state, view.reason, view.message) == (State.SUSPENDED, "Suspended", "")
    await probe_is_due(dsn)
    assert len(await worker.claim()) == 1, "another one is the probe"
    await queue.resume(job.uid)
    assert await worker.claim() == []
    await queue.tick(worker.id)
    assert (await shown(queue, job)).reason == "ModelUnavailable"


async def test_h20_deadlines_of_kept_jobs_are_enforced(queue: Queue, worker: TestWorker, dsn: str) -> None:
    job = await kept_job(queue, worker, starting_deadline_seconds=60, session="s")
    behind = job_of(OTHER, session="s")
    await queue.enqueue([behind])
    await queue.admit()
    await pass_time(dsn, 61)
    await queue.tick(worker.id)
    assert (await shown(queue, job)).reason == Reason.STARTING_DEADLINE_EXCEEDED
    assert behind.uid in {run.uid for run in await worker.claim()}, "its session is free"


async def test_h17_a_pause_takes_the_session_from_a_kept_job_that_never_started(
    queue: Queue, worker: TestWorker
) -> None:
    job = await kept_job(queue, worker, session="s")
    elsewhere = job_of(OTHER, session="s", queue="bulk")
    await queue.enqueue([elsewhere])
    await queue.admit()
    await queue.set_queue("agents", paused=True)
    view = await shown(queue, job)
    assert (view.state, view.reason) == (State.QUEUED, Reason.QUEUE_PAUSED)
    bulk = await TestWorker(queue, slots={"bulk": 1}).register()
    assert (await bulk.one()).uid == elsewhere.uid


async def test_a_paused_queue_sends_no_probe(queue: Queue, worker: TestWorker, dsn: str) -> None:
    await break_model(queue, worker)
    await queue.set_queue("agents", paused=True)
    await probe_is_due(dsn)
    assert await worker.claim() == []
    await queue.set_queue("agents", paused=False)
    assert len(await worker.claim()) == 1


async def test_the_most_urgent_kept_job_is_the_probe(queue: Queue, worker: TestWorker, dsn: str) -> None:
    await break_model(queue, worker)
    urgent, later = job_of(), job_of(priority=1)
    await queue.enqueue([*jobs_of(5), urgent, later])
    assert await worker.claim() == []
    assert await queue.reprioritise(urgent.uid, 0)
    await probe_is_due(dsn)
    assert (await worker.one()).uid == urgent.uid


async def test_h21_a_new_round_of_a_cancelled_kept_job_is_kept(queue: Queue, worker: TestWorker) -> None:
    job = await kept_job(queue, worker)
    await queue.cancel(job.uid)
    assert await queue.retry(job.uid)
    assert await worker.claim() == []
    await queue.tick(worker.id)
    view = await shown(queue, job)
    assert (view.round, view.reason) == (2, "ModelUnavailable")


async def test_h14_a_suspect_is_kept_and_runs_alone_later(queue: Queue, worker: TestWorker, dsn: str) -> None:
    await break_model(queue, worker)
    suspect = job_of()
    await queue.enqueue([suspect, *jobs_of(3, OTHER)])
    await sql(
        dsn,
        "update waiting set state = 'q', losses = 3 from job where job.id = waiting.id and job.uid = %s",
        suspect.uid,
    )
    assert len(await worker.claim(idle=True)) == 3, "no worker makes room for it"
    await queue.reset_model("default", MODEL)
    await queue.tick(worker.id)
    (alone,) = await worker.claim(idle=True)
    assert (alone.uid, alone.solo) == (suspect.uid, True)


async def test_h15_a_run_that_was_asked_to_end_ends_whatever_its_model_did(
    queue: Queue, worker: TestWorker
) -> None:
    job, other = job_of(), job_of()
    await queue.enqueue([job, other])
    runs = await worker.claim()
    await break_model(queue, worker)
    await queue.cancel(job.uid)
    await queue.suspend(other.uid)
    await hear(worker, runs, DOWN)
    assert (await shown(queue, job)).state is State.CANCELLED
    assert (await shown(queue, other)).state is State.SUSPENDED


async def test_h6_a_result_that_cannot_be_stored_spoils_no_breaker(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue(jobs_of(2))
    good, bad = await worker.claim()
    answer = Ack(bad.id, bad.token, AckKind.COMPLETE, result="x", trace_id="\x00")
    result = await worker.step([heard(good, REFUSED), answer], {})
    assert len(result.answers) == 2
    assert (await open_breaker(queue)).failures == 1


async def test_a_namespace_sees_the_breaker_that_holds_up_its_modules(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    """A module's model is known by what its runs have said, not by its jobs."""
    job = replace(module_job("planner.agent:root"), ref=ObjectRef("c", "team", "trip"))
    await queue.enqueue([job])
    await hear(worker, [await worker.one()], REFUSED)
    assert (await shown(queue, job)).reason == Reason.MODEL_AUTH_FAILED
    assert "module:planner.agent:root" in (await open_breaker(queue)).targets
    runs = WebRuns(queue, await Transcripts.open(dsn))
    for namespace, seen in ((None, [MODEL]), ("team", [MODEL]), ("other", [])):
        found = await runs.models(namespace)
        assert [one.status.model for one in found.items] == seen, namespace


async def test_a_namespace_sees_the_breaker_of_its_module_among_any_number_of_others(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    """Beside more modules of others than a breaker names; waiting or running, with an object or without one."""
    await break_model(queue, worker, REFUSED)
    await sql(
        dsn,
        "insert into model_target select id, 'module:a-' || n from model_breaker, generate_series(1, 300) n",
    )
    await sql(dsn, "insert into model_target select id, 'module:zoo' from model_breaker")
    await queue.enqueue([replace(module_job("zoo"), ref=ObjectRef("c", "team", "a"))])
    await queue.enqueue([replace(job_of(MODEL), ref=ObjectRef("c", "inline", "a")), module_job("other")])
    assert await queue.models_of("team") == {("default", MODEL)}
    assert await queue.models_of("inline") == {("default", MODEL)}
    assert await queue.models_of("") == {("default", MODEL)}, "those of the test's own breaker"
    assert await queue.models_of("nobody") == set()
    await sql(dsn, "delete from model_target where target = 'module:zoo'")
    assert await queue.models_of("team") == set()


async def test_a_namespace_that_makes_up_models_costs_the_others_nothing(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    """Anybody may name a model. Its breakers are bounded by namespace, so another's model is held up as ever, and a claim looks at
    few of their jobs."""
    made_up, most = 130, 100
    for n in range(made_up):
        job = replace(job_of(f"made-up-{n}"), ref=ObjectRef("c", "loud", f"j{n}"))
        await queue.enqueue([job])
        await hear(worker, [await worker.one()], REFUSED, f"made-up-{n}")
    assert len(await queue.model_health()) == most
    rows = await sql(dsn, "select state, count(*) from waiting group by state order by state")
    assert dict(rows) == {"l": made_up - most, "m": most}, "what is beyond waits by its own policy"

    quiet = replace(job_of(MODEL), ref=ObjectRef("c", "quiet", "a"))
    await queue.enqueue([quiet])
    await hear(worker, [await worker.one()], REFUSED)
    assert (await open_breaker(queue)).targets
    assert (await shown(queue, quiet)).reason == Reason.MODEL_AUTH_FAILED


async def test_h26_a_claim_does_not_grow_with_the_targets_of_a_held_model(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    """Each module whose runs failed by a model is a target of its breaker, and anybody may name modules. Joined with each other,
    3,000 of them made a claim 300 times as long."""
    await break_model(queue, worker, REFUSED)

    async def seconds_of_a_claim(targets: int) -> float:
        await sql(
            dsn,
            "insert into model_target select id, 'module:m-' || n from model_breaker, generate_series(1, %s) n"
            " on conflict do nothing",
            targets,
        )
        for at in range(0, targets, 500):
            await queue.enqueue([module_job(f"m-{n}") for n in range(at + 1, min(at + 500, targets) + 1)])
        for _ in range(targets // 250 + 2):
            assert await worker.claim() == [], "they are put aside"
        await sql(dsn, "analyze")
        took = []
        for _ in range(5):
            await queue.enqueue([good := new_job()])
            began = time.perf_counter()
            (run,) = await worker.claim()
            took.append(time.perf_counter() - began)
            assert run.uid == good.uid
        return min(took)

    few = await seconds_of_a_claim(20)
    assert await seconds_of_a_claim(3000) < 60 * few
    assert await held(dsn) == 3021
    await probe_is_due(dsn)
    assert len(await worker.claim()) == 1, "its probe, whichever job that is"


async def test_a_job_that_another_pool_may_take_is_found_among_many_that_none_may(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    """More targets are held up for both pools than one claim looks at, and come before it in the index."""
    other = await TestWorker(queue, pool="other").register()
    await break_model(queue, worker, REFUSED)
    await break_model(queue, worker, REFUSED, "zzz")
    await sql(
        dsn,
        "insert into model_breaker (pool, model, kind, since, failed_at, probe_at)"
        " select 'other', model, kind, since, failed_at, probe_at from model_breaker where model = %s",
        MODEL,
    )
    await sql(
        dsn,
        "insert into model_target select id, model from model_breaker where pool = 'other'",
    )
    await sql(
        dsn,
        "insert into model_target select id, 'module:m-' || n from model_breaker, generate_series(1, 300) n where model = %s",
        MODEL,
    )
    await sql(dsn, "update model_breaker set probe_at = clock_timestamp() + interval '1 hour'")
    await queue.enqueue([module_job(f"m-{n}") for n in range(1, 301)])
    for _ in range(5):
        assert await worker.claim() == []
    found = []
    for _ in range(60):
        found += await other.claim()
    assert [run.payload["agent"]["inline"]["model"] for run in found] == ["zzz"]
