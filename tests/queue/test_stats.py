"""The numbers by which people watch the queue and scale workers."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from agentjobs.queue import numbers
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, NewJob, State, WorkerInfo
from agentjobs.queue.stats import QueueStats
from model_jobs import MODEL, OTHER, REFUSED, break_model, job_of
from queue_builders import TestWorker, expire_worker, mirrored_job, new_job, sql


async def stats(queue: Queue, most: int = 200) -> QueueStats:
    return await queue.stats(most_queues=most, other="_other")


def jobs(n: int, queue: str = "agents", **fields: Any) -> list[NewJob]:
    return [new_job(queue=queue, **fields) for _ in range(n)]


async def test_an_empty_queue_has_no_numbers_and_no_lag(queue: Queue) -> None:
    found = await stats(queue)
    assert (found.depth, found.running, found.workers) == ({}, {}, {})
    assert (found.outbox, found.outbox_lag_seconds) == (0, 0.0)


async def test_depth_running_slots_and_waits_are_counted_by_queue(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue(jobs(2))
    await worker.claim(2)
    await queue.enqueue(jobs(3) + jobs(1, "bulk") + jobs(1, "bulk", suspend=True))
    await queue.register(WorkerInfo(uuid4(), "operator", {}, "test", "operator"))
    await sql(dsn, "update waiting set since = since - interval '90 s' where queue = 'bulk' and state = 'r'")
    found = await stats(queue)
    assert found.depth == {
        ("agents", State.QUEUED): 3,
        ("bulk", State.QUEUED): 1,
        ("bulk", State.SUSPENDED): 1,
    }
    assert found.ready == {"agents": 3, "bulk": 1}
    assert found.running == {"agents": 2, "bulk": 0}
    assert found.slots == {"agents": 10, "bulk": 0}
    assert found.workers == {"default": 1}, "an operator is no worker"
    assert 90 <= found.oldest_wait_seconds["bulk"] < 120
    assert found.oldest_wait_seconds["agents"] < 30


async def wanted(dsn: str, *queues: str) -> dict[str, int]:
    """As an autoscaler that asks Postgres is told."""
    return {queue: (await sql(dsn, f"select wanted_slots('{queue}')"))[0][0] for queue in queues}


async def test_slots_are_wanted_for_what_runs_and_what_a_slot_could_take(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue(jobs(2))
    await worker.claim(2)
    await queue.enqueue(
        jobs(3)
        + jobs(3, session="one")
        + jobs(2, suspend=True)
        + jobs(5, "limited")
        + jobs(4, "quiet")
        + jobs(1, "new", session="two")
    )
    await queue.set_queue("limited", max_running=2)
    await queue.set_queue("quiet", paused=True)
    names = ("agents", "limited", "quiet", "new", "unknown")
    told = {"agents": 2 + 3 + 3, "limited": 2, "quiet": 0, "new": 1, "unknown": 0}
    assert await wanted(dsn, *names) == told
    assert {**(await stats(queue)).wanted, "unknown": 0} == told
    await queue.admit()
    told["agents"] = 2 + 3 + 1  # two of the session are behind the third
    await sql(
        dsn,
        "update waiting set state = 'q' where ctid = (select min(ctid) from waiting where state = 'r' and queue = 'agents')",
    )
    assert await wanted(dsn, *names) == told, "one in quarantine wants a slot, too"
    assert {**(await stats(queue)).wanted, "unknown": 0} == told


async def test_jobs_that_are_held_up_by_their_model_want_one_slot_for_its_next_try(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await break_model(queue, worker, REFUSED)
    await queue.enqueue([job_of(), job_of()])
    assert await worker.claim() == []
    assert await sql(dsn, "select distinct state from waiting") == [("m",)]
    assert await wanted(dsn, "agents") == (await stats(queue)).wanted == {"agents": 1}
    await queue.set_queue("agents", paused=True)
    assert await wanted(dsn, "agents") == (await stats(queue)).wanted == {"agents": 0}


async def test_what_runs_wants_its_slots_though_the_queue_is_paused_or_its_limit_was_lowered(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue(jobs(3))
    await worker.claim(3)
    await queue.enqueue(jobs(4))
    await queue.set_queue("agents", max_running=1)
    assert await wanted(dsn, "agents") == (await stats(queue)).wanted == {"agents": 3}
    await queue.set_queue("agents", paused=True, max_running=9)
    assert await wanted(dsn, "agents") == (await stats(queue)).wanted == {"agents": 3}


async def test_a_job_that_no_slot_could_take_is_not_ready(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue(jobs(3, session="one") + jobs(2, "quiet"))
    await queue.admit()
    await queue.set_queue("quiet", paused=True)
    found = await stats(queue)
    assert found.depth == {("agents", State.QUEUED): 3, ("quiet", State.QUEUED): 2}
    assert found.ready == {"agents": 1, "quiet": 0}


async def test_jobs_that_wait_for_a_model_are_counted_by_pool_and_model_and_are_not_ready(
    queue: Queue, worker: TestWorker
) -> None:
    await break_model(queue, worker, REFUSED)
    await queue.enqueue([job_of(), job_of(), job_of(OTHER)])
    await worker.claim()
    found = await stats(queue)
    assert found.blocked == {("default", MODEL, "ModelAuthFailed"): 3}
    assert found.ready == {"agents": 0}


async def test_a_queue_that_is_served_or_was_paused_has_zeros(queue: Queue, worker: TestWorker) -> None:
    await queue.set_queue("quiet", paused=True)
    found = await stats(queue)
    assert found.depth == {("agents", State.QUEUED): 0, ("quiet", State.QUEUED): 0}
    assert found.running == {"agents": 0, "quiet": 0}
    assert found.paused == {"agents": False, "quiet": True}


async def test_queues_beyond_the_bound_are_summed_up_and_the_served_ones_never(
    queue: Queue, worker: TestWorker
) -> None:
    for n in range(1, 8):
        await queue.enqueue(jobs(n, f"invented-{n}"))
    found = await stats(queue, most=3)
    assert found.depth == {
        ("agents", State.QUEUED): 0,
        ("invented-7", State.QUEUED): 7,
        ("invented-6", State.QUEUED): 6,
        ("_other", State.QUEUED): 1 + 2 + 3 + 4 + 5,
    }
    assert "_other" in found.oldest_wait_seconds


async def test_pages_add_up(
    queue: Queue, worker: TestWorker, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await break_model(queue, worker, REFUSED)
    await queue.enqueue([*jobs(7), *jobs(5, "bulk"), job_of(), job_of()])
    await worker.claim(3)
    await queue.enqueue([mirrored_job(str(n)) for n in range(6)])
    await sql(dsn, "update waiting set since = since - make_interval(secs => id)")
    whole = await stats(queue)
    for page in (1, 2, 3):
        monkeypatch.setattr(numbers, "COUNT_PAGE", page)
        paged = await stats(queue)
        assert (paged.depth, paged.ready, paged.blocked, paged.outbox) == (
            whole.depth, whole.ready, whole.blocked, whole.outbox,
        )  # fmt: skip
        for name, seconds in whole.oldest_wait_seconds.items():
            assert seconds <= paged.oldest_wait_seconds[name] < seconds + 30


async def test_a_dead_worker_has_no_slots(queue: Queue, worker: TestWorker, dsn: str) -> None:
    await expire_worker(dsn, worker)
    found = await stats(queue)
    assert (found.workers, found.slots) == ({}, {})


async def test_the_lag_of_statuses_is_that_of_the_oldest(queue: Queue, dsn: str) -> None:
    await queue.enqueue([mirrored_job()])
    await sql(dsn, "update outbox set marked_at = marked_at - interval '40 s'")
    found = await stats(queue)
    assert found.outbox == 1
    assert 40 <= found.outbox_lag_seconds < 70


async def test_a_retrying_job_is_no_queued_one(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue(jobs(1))
    (claimed,) = await worker.claim(1)
    await worker.ack(claimed, AckKind.RETRY, delay_seconds=600)
    found = await stats(queue)
    assert found.depth == {("agents", State.QUEUED): 0, ("agents", State.RETRYING): 1}
