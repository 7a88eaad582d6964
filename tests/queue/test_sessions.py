"""A session runs one job at a time, in the order in which they became due."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, NewJob, State
from agentjobs.values.reasons import Reason
from queue_builders import TestWorker, mirrored_job, new_job, pass_time, shown, sql, until, waits_for_a_lock

S = "team/app/user/talk"


def in_session(**fields: object) -> NewJob:
    return new_job(**{"session": S, **fields})


async def admitted(queue: Queue, *jobs: NewJob) -> None:
    await queue.enqueue(jobs)
    await queue.admit()


async def sessions(dsn: str) -> dict[str, int]:
    return dict(await sql(dsn, "select key, holder from session"))


async def test_invariant_5_a_session_runs_one_job_at_a_time_in_order(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    jobs = [in_session() for _ in range(4)]
    await admitted(queue, *jobs)
    for job in jobs:
        (claimed,) = await worker.claim(10)
        assert claimed.uid == job.uid
        assert list(await sessions(dsn)) == [S]
        assert await worker.ack(claimed) == "ok"
    assert await sessions(dsn) == {}


async def test_invariant_5_priority_does_not_reorder_within_a_session(
    queue: Queue, worker: TestWorker
) -> None:
    first, urgent = in_session(priority=9), in_session(priority=0)
    await admitted(queue, first, urgent)
    assert (await worker.one()).uid == first.uid


async def test_h17_a_job_that_waits_for_its_session_says_so(queue: Queue, worker: TestWorker) -> None:
    head, behind = in_session(), in_session()
    await admitted(queue, head, behind)
    assert (await shown(queue, behind)).reason == Reason.BEHIND_SESSION
    assert (await shown(queue, head)).reason == ""
    await worker.ack(await worker.one())
    assert (await shown(queue, behind)).reason == ""


@pytest.mark.parametrize(
    ("kind", "delay"), [(AckKind.RETRY, 3600), (AckKind.SNOOZE, 3600), (AckKind.RELEASE, 0)]
)
async def test_h17_a_started_unfinished_job_holds_its_session(
    queue: Queue, worker: TestWorker, kind: AckKind, delay: int
) -> None:
    first, second = in_session(), in_session()
    await admitted(queue, first, second)
    await worker.ack(await worker.one(), kind, delay_seconds=delay)
    claimed = await worker.claim(10)
    assert [job.uid for job in claimed] == ([] if delay else [first.uid])
    assert (await shown(queue, second)).reason == Reason.BEHIND_SESSION


async def test_h17_a_started_job_that_is_suspended_holds_its_session(
    queue: Queue, worker: TestWorker
) -> None:
    first, second = in_session(), in_session()
    await admitted(queue, first, second)
    await worker.ack(await worker.one(), AckKind.RETRY, delay_seconds=60)
    assert await queue.suspend(first.uid) is State.SUSPENDED
    assert await worker.claim(10) == []
    await queue.cancel(first.uid)
    assert (await worker.one()).uid == second.uid


async def test_h17_a_scheduled_job_holds_nothing_and_takes_its_place_when_due(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    later = in_session(run_at=datetime.now(UTC) + timedelta(hours=1))
    first, second = in_session(), in_session()
    await admitted(queue, later, first)
    claimed = await worker.one()
    assert claimed.uid == first.uid
    await pass_time(dsn, 2 * 3600)
    await queue.tick(worker.id)
    await admitted(queue, second)
    await worker.ack(claimed)
    claimed = await worker.one()
    assert claimed.uid == later.uid, "it became due before the second one was enqueued"
    await worker.ack(claimed)
    assert (await worker.one()).uid == second.uid


async def test_h17_a_suspended_head_that_never_started_lets_the_next_one_go(
    queue: Queue, worker: TestWorker
) -> None:
    head, behind = in_session(), in_session()
    await admitted(queue, head, behind)
    await queue.suspend(head.uid)
    claimed = await worker.one()
    assert claimed.uid == behind.uid
    assert await queue.resume(head.uid) is State.QUEUED
    await queue.admit()
    assert (await shown(queue, head)).reason == Reason.BEHIND_SESSION
    await worker.ack(claimed)
    assert (await worker.one()).uid == head.uid


async def test_h17_a_job_enqueued_suspended_holds_nothing(queue: Queue, worker: TestWorker, dsn: str) -> None:
    await admitted(queue, in_session(suspend=True))
    assert await sessions(dsn) == {}
    behind = in_session()
    await admitted(queue, behind)
    assert (await worker.one()).uid == behind.uid


async def test_h17_a_job_in_a_paused_queue_does_not_hold_up_its_session_in_another(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    slow, agents = in_session(queue="slow"), in_session()
    await admitted(queue, slow, agents)
    assert await worker.claim(10) == []
    await queue.set_queue("slow", paused=True, by="anna")
    claimed = await worker.one()
    assert claimed.uid == agents.uid
    assert (await shown(queue, slow)).reason == Reason.QUEUE_PAUSED

    await queue.set_queue("slow", paused=False)
    await queue.admit()
    assert (await shown(queue, slow)).reason == Reason.BEHIND_SESSION
    await worker.ack(claimed)
    assert [job.uid for job in await worker.claim(1, slots={"slow": 1})] == [slow.uid]


async def test_h17_jobs_enqueued_into_a_paused_queue_take_no_session(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.set_queue("slow", paused=True)
    await admitted(queue, in_session(queue="slow"))
    assert await sessions(dsn) == {}
    agents = in_session()
    await admitted(queue, agents)
    assert (await worker.one()).uid == agents.uid


async def test_h17_a_pause_that_races_with_admission_is_healed_by_the_tick(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    slow, agents = in_session(queue="slow"), in_session()
    await admitted(queue, slow, agents)
    await sql(dsn, "insert into queue (name, paused_at) values ('slow', clock_timestamp())")
    await queue.tick(worker.id)
    assert (await worker.one()).uid == agents.uid


async def test_h17_a_paused_queue_keeps_the_session_of_a_started_job(
    queue: Queue, worker: TestWorker
) -> None:
    first, second = in_session(queue="slow"), in_session()
    await admitted(queue, first, second)
    (claimed,) = await worker.claim(1, slots={"slow": 1})
    await worker.ack(claimed, AckKind.RETRY)
    await queue.set_queue("slow", paused=True)
    await queue.tick(worker.id)
    assert await worker.claim(10) == []


@pytest.mark.parametrize("end", ["cancel", "deadline", "fail", "complete", "exhausted"])
async def test_h17_every_end_of_a_head_lets_the_next_one_go(
    queue: Queue, worker: TestWorker, dsn: str, end: str
) -> None:
    head = in_session(starting_deadline_seconds=60, max_attempts=1)
    behind = in_session()
    await admitted(queue, head, behind)
    if end == "cancel":
        await queue.cancel(head.uid)
    elif end == "deadline":
        await pass_time(dsn, 120)
        await queue.tick(worker.id)
    else:
        kinds = {"fail": AckKind.FAIL, "complete": AckKind.COMPLETE, "exhausted": AckKind.RETRY}
        await worker.ack(await worker.one(), kinds[end])
    assert (await shown(queue, head)).state.final
    assert (await worker.one()).uid == behind.uid


async def test_h17_cancelling_a_job_behind_its_session_moves_nobody_else(
    queue: Queue, worker: TestWorker
) -> None:
    head, middle, last = in_session(), in_session(), in_session()
    await admitted(queue, head, middle, last)
    await queue.cancel(middle.uid)
    (claimed,) = await worker.claim(10)
    assert claimed.uid == head.uid
    await worker.ack(claimed)
    assert (await worker.one()).uid == last.uid


async def test_h18_sessions_differ_by_namespace_app_user_and_session(
    queue: Queue, worker: TestWorker
) -> None:
    keys = ["a/app/u/s", "b/app/u/s", "a/app2/u/s", "a/app/u2/s", "a/app/u/s2"]
    await admitted(queue, *(new_job(session=key) for key in keys))
    assert len(await worker.claim(10)) == 5


async def test_h18_a_job_with_a_session_of_its_own_takes_no_lock(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue([new_job(), new_job()])
    assert len(await worker.claim(10)) == 2
    assert await sessions(dsn) == {}


async def test_invariant_5_concurrent_producers_and_admitters_make_one_head(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    async def produce() -> list[NewJob]:
        jobs = [in_session() for _ in range(5)]
        for job in jobs:
            await queue.enqueue([job])
            await queue.admit()
        return jobs

    produced = await asyncio.gather(*(produce() for _ in range(4)))
    assert await sql(dsn, "select count(*) from waiting where state in ('r', 'l', 'n')") == [(1,)]
    order = []
    for _ in range(20):
        claimed = await worker.one()
        order.append(claimed.uid)
        await worker.ack(claimed)
    for jobs in produced:
        places = [order.index(job.uid) for job in jobs]
        assert places == sorted(places), "jobs of one producer stay in order"


@pytest.mark.parametrize("step", ["Admitted", "OfAPausedQueue", "Due"])
async def test_invariant_5_a_job_that_somebody_has_locked_is_not_passed_by_in_its_session(
    queue: Queue, worker: TestWorker, dsn: str, step: str
) -> None:
    """Whoever changes a job has locked it until the commit, which may be hours away: the others go on meanwhile."""
    due = datetime.now(UTC) + timedelta(seconds=60) if step == "Due" else None
    first, second = (in_session(run_at=due and due + timedelta(seconds=n)) for n in range(2))
    other = new_job(session="team/app/user/other", run_at=due)
    if step == "OfAPausedQueue":
        await queue.set_queue("agents", paused=True)
        await admitted(queue, first, second, other)
        await queue.set_queue("agents", paused=False)
    else:
        await queue.enqueue([first, second, other])
        await pass_time(dsn, 120)
    async with await psycopg.AsyncConnection.connect(dsn) as somebody:
        await somebody.execute("update agentjobs.waiting set pos = pos where id = 1")
        assert (await sql(dsn, "select uid from job where id = 1")) == [(first.uid,)]
        assert (await queue.tick(worker.id)).admitted == 1, "nothing calls again at once for what is locked"
        assert (await worker.one()).uid == other.uid
        assert await worker.claim(10) == []
        await somebody.rollback()
    await queue.tick(worker.id)
    for job in (first, second):
        claimed = await worker.one()
        assert claimed.uid == job.uid
        await worker.ack(claimed)


@pytest.mark.parametrize("locked", [1, 2, 3])
async def test_invariant_5_a_pause_moves_no_job_behind_one_of_its_session_that_somebody_has_locked(
    queue: Queue, worker: TestWorker, dsn: str, locked: int
) -> None:
    jobs = [in_session() for _ in range(3)]
    await admitted(queue, *jobs)
    async with await psycopg.AsyncConnection.connect(dsn) as somebody:
        await somebody.execute("update agentjobs.waiting set pos = pos where id = %s", [locked])
        await queue.set_queue("agents", paused=True)
        await queue.set_queue("agents", paused=False)
        await somebody.rollback()
    await _start_in_order(queue, worker, jobs)


async def test_invariant_5_a_queue_that_is_opened_in_the_middle_of_an_admission_keeps_its_order(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    """An admission that has looked for reopened queues, and not yet for jobs."""
    first, second = in_session(), in_session()
    await queue.set_queue("agents", paused=True)
    await admitted(queue, first)
    await queue.enqueue([second])
    await sql(dsn, "alter function reopened() rename to truly_reopened")
    await sql(
        dsn,
        "create function reopened() returns text[] language plpgsql stable as $$ declare v text[] := truly_reopened();"
        " begin perform pg_advisory_xact_lock_shared(17); return v; end $$",
    )
    async with await psycopg.AsyncConnection.connect(dsn) as somebody:
        await somebody.execute("select pg_advisory_xact_lock(17)")
        admitting = asyncio.create_task(queue.admit())
        await until(lambda: waits_for_a_lock(dsn))
        await queue.set_queue("agents", paused=False)
        await somebody.rollback()
    await admitting
    await _start_in_order(queue, worker, [first, second])


async def test_invariant_5_a_job_that_is_admitted_while_its_queue_is_put_aside_does_not_overtake(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    first, second = in_session(), in_session()
    await admitted(queue, first)
    await queue.enqueue([second])
    async with await psycopg.AsyncConnection.connect(dsn) as admitter:
        await admitter.execute("select agentjobs.admit()")
        pausing = asyncio.create_task(queue.set_queue("agents", paused=True))
        await until(lambda: waits_for_a_lock(dsn))
        await admitter.commit()
    await pausing
    await queue.set_queue("agents", paused=False)
    await _start_in_order(queue, worker, [first, second])


async def test_invariant_5_a_job_that_comes_while_others_are_put_aside_does_not_overtake(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    """The queue is paused, its jobs are being put aside, and it is opened again before that has committed."""
    first, second = in_session(), in_session()
    await admitted(queue, first)
    await queue.enqueue([second])
    await sql(dsn, "insert into queue (name, paused_at) values ('agents', now())")
    async with await psycopg.AsyncConnection.connect(dsn) as pauser:
        await pauser.execute("select agentjobs.yield_paused('agents')")
        await queue.set_queue("agents", paused=False)
        admitting = asyncio.create_task(queue.admit())
        await until(lambda: waits_for_a_lock(dsn))
        await pauser.commit()
    await admitting
    await _start_in_order(queue, worker, [first, second])


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("places", ["as the ids", "the other way round"])
async def test_invariant_5_a_queue_that_is_opened_while_its_jobs_are_put_aside_keeps_their_order(
    queue: Queue, worker: TestWorker, dsn: str, places: str, batches: int
) -> None:
    """In batches of two; the place of a job that was due late, or was resumed, is not in the order of the ids."""
    jobs = [in_session() for _ in range(5)]
    if places == "as the ids":
        await admitted(queue, *jobs)
    else:
        await admitted(queue, *reversed(jobs))
        await sql(
            dsn,
            "update waiting set pos = (pos >> 56 << 56) + 100 - id, state = case when id = 5 then 'r' else 'b' end",
        )
        await sql(dsn, "update session set holder = 5")
    await sql(dsn, "insert into queue (name, paused_at) values ('agents', now())")
    for _ in range(batches):
        assert await sql(dsn, "select yield_paused('agents', 2)") == [(2,)]
    await queue.set_queue("agents", paused=False)
    await _start_in_order(queue, worker, jobs)


async def _start_in_order(queue: Queue, worker: TestWorker, jobs: list[NewJob]) -> None:
    for job in jobs:
        await queue.tick(worker.id)
        claimed = await worker.one()
        assert claimed.uid == job.uid
        await worker.ack(claimed)


@pytest.mark.parametrize("step", ["promote", "admit"])
async def test_a_locked_job_with_many_of_its_session_behind_it_holds_up_no_other_session(
    queue: Queue, dsn: str, step: str
) -> None:
    """Of each batch of two: those behind the locked one would fill many batches."""
    due = datetime.now(UTC) + timedelta(seconds=60) if step == "promote" else None
    behind = [in_session(run_at=due) for _ in range(9)]
    others = [new_job(session=f"team/app/user/{n}", run_at=due) for n in range(5)]
    await queue.enqueue([*behind, *others])
    await pass_time(dsn, 120)
    async with await psycopg.AsyncConnection.connect(dsn) as somebody:
        await somebody.execute("update agentjobs.waiting set pos = pos where id = 1")
        moved = [(await sql(dsn, f"select {step}(2)"))[0][0] for _ in range(4)]
        assert (sum(moved), moved[-1]) == (5, 0), moved
        left = await sql(
            dsn, f"select session from waiting where state = '{'n' if step == 'admit' else 'l'}'"
        )
        assert left == [(S,)] * 9


async def test_a_locked_job_with_many_of_its_session_ahead_of_it_keeps_no_other_session_from_being_put_aside(
    queue: Queue, dsn: str
) -> None:
    """Of each batch of two: those ahead of the locked one, which is the last in line, would fill many batches."""
    others = [new_job(session=f"team/app/user/{n}") for n in range(5)]
    await admitted(queue, *others, *(in_session() for _ in range(9)))
    await sql(dsn, "insert into queue (name, paused_at) values ('agents', now())")
    async with await psycopg.AsyncConnection.connect(dsn) as somebody:
        await somebody.execute("update agentjobs.waiting set pos = pos where id = 14")
        moved = [(await sql(dsn, "select yield_paused('agents', 2)"))[0][0] for _ in range(4)]
        assert moved == [2, 2, 1, 0]
        left = await sql(dsn, "select session from waiting where state in ('r', 'b')")
        assert left == [(S,)] * 9


async def test_invariant_5_a_run_began_when_it_was_claimed_however_long_the_claim_had_waited(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    first, second = in_session(), in_session()
    await admitted(queue, first, second)
    other = await TestWorker(queue).register()
    async with await psycopg.AsyncConnection.connect(dsn) as somebody:
        await somebody.execute("select from agentjobs.worker where id = %s for update", [other.id])
        late = asyncio.create_task(other.one())
        await until(lambda: waits_for_a_lock(dsn))
        await worker.ack(await worker.one())
        await somebody.rollback()
    assert (await late).uid == second.uid
    await other.ack(await late)
    runs = [(await shown(queue, job)).attempts_log[-1] for job in (first, second)]
    assert runs[0].ended_at <= runs[1].started_at


async def test_h17_an_admitted_job_with_an_object_is_projected_with_its_reason(
    queue: Queue, dsn: str
) -> None:
    head, behind = mirrored_job("head", session=S), mirrored_job("behind", session=S)
    await admitted(queue, head, behind)
    stale = {entry.job.uid: entry.job.reason for entry in await queue.outbox(10, 0)}
    assert stale == {head.uid: "", behind.uid: "BehindSession"}
