"""Slots, limits and pauses of queues."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from agentjobs.dsn import current
from agentjobs.queue import numbers
from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, State
from agentjobs.values.reasons import Reason
from queue_builders import TestWorker, mirrored_job, new_job, shown, sql, until, waits_for_a_lock, whereabouts


async def test_invariant_6_a_limit_is_never_overshot_however_many_workers_claim(
    queue: Queue, dsn: str
) -> None:
    await queue.enqueue([new_job() for _ in range(60)])
    await queue.set_queue("agents", max_running=7)
    workers = [await TestWorker(queue).register() for _ in range(4)]
    peak = done = 0
    async with asyncio.timeout(120):
        while done < 60:
            await asyncio.gather(*(worker.claim(5) for worker in workers))
            peak = max(peak, (await whereabouts(dsn))["running"])
            for worker in workers:
                for job in worker.held[:2]:
                    assert await worker.ack(job) == "ok"
                    done += 1
    assert peak == 7


async def test_invariant_6_a_claim_that_began_after_the_limit_was_set_respects_it(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    """The limit's transaction is still open when the claim begins, and commits first."""
    await queue.enqueue([new_job() for _ in range(5)])
    await queue.set_queue("agents", max_running=5)
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("select agentjobs.set_queue('agents', null, '', '', true, 2)")
        claim = asyncio.create_task(worker.claim(5))
        await until(lambda: waits_for_a_lock(dsn))
        await conn.commit()
    assert len(await claim) == 2


async def test_h22_a_limit_below_what_runs_kills_nothing_and_lets_nothing_start(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([new_job() for _ in range(6)])
    held = await worker.claim(4)
    await queue.set_queue("agents", max_running=2)
    assert (await worker.beat()).controls == {}
    for job in held[:2]:
        await worker.ack(job)
        assert await worker.claim(5) == []
    await worker.ack(held[2])
    assert len(await worker.claim(5)) == 1


async def test_h22_a_raised_or_removed_limit_counts_at_once(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([new_job() for _ in range(6)])
    await queue.set_queue("agents", max_running=1)
    assert len(await worker.claim(9)) == 1
    await queue.set_queue("agents", max_running=3)
    assert len(await worker.claim(9)) == 2
    await queue.set_queue("agents", max_running=None)
    assert len(await worker.claim(9)) == 3
    (state,) = await queue.queues()
    assert (state.max_running, state.paused) == (None, False)


async def test_a_limited_queue_does_not_hold_up_another(queue: Queue, worker: TestWorker) -> None:
    await queue.set_queue("slow", max_running=1)
    await queue.enqueue([new_job(queue="slow", priority=0) for _ in range(3)])
    await queue.enqueue([new_job() for _ in range(3)])
    got = await worker.claim(6, slots={"slow": 5, "agents": 5})
    assert sorted(job.queue for job in got) == ["agents"] * 3 + ["slow"]


async def test_a_paused_queue_gives_nothing_and_loses_nothing(queue: Queue, worker: TestWorker) -> None:
    job = new_job()
    await queue.enqueue([job])
    await queue.set_queue("agents", paused=True, by="anna", reason="model is down")
    assert await worker.claim(5) == []
    await queue.enqueue([new_job()])
    assert await worker.claim(5) == []
    (state,) = await queue.queues()
    assert (state.paused, state.paused_by, state.paused_reason) == (True, "anna", "model is down")
    assert state.paused_at is not None
    await queue.set_queue("agents", paused=False)
    assert len(await worker.claim(5)) == 2


async def test_a_pause_lets_running_jobs_end_and_their_retries_wait(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([new_job(), new_job()])
    one, two = await worker.claim(2)
    await queue.set_queue("agents", paused=True)
    assert await worker.ack(one) == "ok"
    assert await worker.ack(two, AckKind.RETRY) == "ok"
    assert await worker.claim(5) == []


async def test_pausing_keeps_the_limit_and_limiting_keeps_the_pause(queue: Queue) -> None:
    await queue.set_queue("agents", max_running=3)
    await queue.set_queue("agents", paused=True)
    await queue.set_queue("agents", max_running=4)
    (state,) = await queue.queues()
    assert (state.paused, state.max_running) == (True, 4)


async def test_h23_free_slots_of_one_queue_are_never_filled_with_anothers_jobs(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([new_job(queue="agents", priority=0) for _ in range(10)])
    await queue.enqueue([new_job(queue="scheduled", priority=9) for _ in range(10)])
    got = await worker.claim(slots={"agents": 2, "scheduled": 3})
    assert [job.queue for job in got] == ["agents"] * 2 + ["scheduled"] * 3


async def test_h23_the_total_bounds_all_queues_and_the_most_urgent_go_first(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([new_job(queue="agents", priority=5) for _ in range(5)])
    await queue.enqueue([new_job(queue="scheduled", priority=0) for _ in range(2)])
    got = await worker.claim(4, slots={"agents": 5, "scheduled": 5})
    assert [job.queue for job in got] == ["scheduled"] * 2 + ["agents"] * 2


async def test_h23_no_slots_claim_nothing(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([new_job()])
    assert (await worker.step((), {"agents": 0})).jobs == []
    assert (await worker.step((), {})).jobs == []
    assert await worker.claim(0) == []
    assert await worker.claim(5, slots={"others": 5}) == []


async def test_each_job_is_claimed_once_by_many_workers_at_once(queue: Queue, dsn: str) -> None:
    await queue.enqueue([new_job(priority=n % 10) for n in range(200)])
    workers = [await TestWorker(queue, {"agents": 200}).register() for _ in range(6)]
    await asyncio.gather(*(worker.claim(20) for worker in workers for _ in range(2)))
    for worker in workers:
        await worker.claim(64)
        await worker.claim(64)
        await worker.claim(64)
        await worker.claim(64)
    held = [job.id for worker in workers for job in worker.held]
    assert (len(held), len(set(held))) == (200, 200)


async def test_a_waiting_job_with_an_object_says_why(queue: Queue, worker: TestWorker, dsn: str) -> None:
    jobs = {q: mirrored_job(q, queue=q) for q in ("paused", "full", "nobody", "agents")}
    held_back = mirrored_job("new", queue="paused", session="s")
    await queue.enqueue([*jobs.values(), held_back])
    await queue.set_queue("paused", paused=True, by="anna", reason="upgrade")
    await queue.set_queue("full", max_running=0)
    serving = TestWorker(queue, {"full": 1, "agents": 1, "paused": 1})
    await serving.register()
    await queue.explain()
    await queue.admit()
    why = {q: await shown(queue, job) for q, job in jobs.items()}
    assert {q: v.reason for q, v in why.items()} == {
        "paused": Reason.QUEUE_PAUSED,
        "full": Reason.QUEUE_FULL,
        "nobody": Reason.NO_WORKERS,
        "agents": "",
    }
    assert why["paused"].message == "queue paused is paused by anna: upgrade"
    assert why["nobody"].message == "no live worker serves queue nobody; served: agents, full, paused"
    assert (await shown(queue, held_back)).reason == Reason.QUEUE_PAUSED

    assert await queue.explain() == 0, "nothing changed, so nothing is written"
    await queue.set_queue("paused", paused=False)
    await queue.explain()
    assert (await shown(queue, jobs["paused"])).reason == ""
    await queue.admit()
    assert (await shown(queue, held_back)).reason == ""


async def test_a_list_finds_rare_jobs_among_many_and_its_pages_lose_none(
    queue: Queue, worker: TestWorker, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "LIST_LOOK", 7)
    jobs = [new_job(queue="b" if n % 10 == 0 else "agents", priority=n % 3) for n in range(60)]
    await queue.enqueue(jobs)
    for run in await worker.claim(40, slots={"agents": 40}):
        await worker.ack(run, AckKind.FAIL if run.id % 9 == 0 else AckKind.COMPLETE)
    await sql(dsn, "update outcome set finished_at = '2020-01-01' where mod(id, 2) = 0")
    assert await queue.prune() > 0
    everything = (await queue.jobs(JobFilter(), limit=100)).jobs
    assert [v.id for v in everything] == sorted((v.id for v in everything), reverse=True)
    for state in State:
        for name in (None, "agents", "b"):
            right = [v.id for v in everything if v.state is state and name in (None, v.queue)]
            paged: list[int] = []
            after = None
            while True:
                page = await queue.jobs(
                    JobFilter(states=frozenset({state}), queue=name), after=after, limit=2
                )
                paged += [v.id for v in page.jobs]
                after = page.next
                if after is None:
                    break
            assert paged == right, (state, name)


async def test_counts_and_lists_agree_with_the_states(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([new_job(queue="b") for _ in range(3)] + [new_job(suspend=True), new_job()])
    one, two = await worker.claim(2, slots={"b": 2})
    await worker.ack(one, AckKind.RETRY, delay_seconds=60)
    counts = {(q, s.value): n for (q, s), n in (await queue.counts()).items()}
    assert counts == {
        ("b", "Queued"): 1,
        ("b", "Running"): 1,
        ("b", "Retrying"): 1,
        ("agents", "Suspended"): 1,
        ("agents", "Queued"): 1,
    }
    listed = (await queue.jobs(JobFilter(queue="b"))).jobs
    assert sorted(v.state.value for v in listed) == ["Queued", "Retrying", "Running"]
    assert [v.id for v in listed] == sorted((v.id for v in listed), reverse=True)
    first = await queue.jobs(JobFilter(queue="b"), limit=1)
    assert [v.id for v in (await queue.jobs(JobFilter(queue="b"), after=first.next, limit=1)).jobs] == [
        listed[1].id
    ]
    same = await queue.jobs(JobFilter(states=frozenset({listed[0].state}), queue="b"))
    assert [v.id for v in same.jobs] == [listed[0].id]
    await worker.ack(two)
    assert (await queue.jobs(JobFilter(namespace="nowhere"))).jobs == []
    assert await sql(current(worker.queue._direct_dsn), "select count(*) from outcome") == [(1,)]
