"""Enqueueing inside the caller's own transaction, and what that may never do to the workers (H12)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg.rows import dict_row

from agentjobs.queue.errors import JobRejected
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, OutputTail, Progress, State
from agentjobs.values.usage import Usage
from queue_builders import TestWorker, mirrored_job, new_job, shown, sql, whereabouts

S = "team/app/user/talk"


@pytest.fixture
async def caller(dsn: str) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        yield conn


async def test_jobs_appear_with_the_callers_commit_and_vanish_with_its_rollback(
    queue: Queue, worker: TestWorker, caller: psycopg.AsyncConnection, dsn: str
) -> None:
    await caller.execute("create table orders (n int)")
    kept, dropped = new_job(), new_job()
    await caller.execute("insert into orders values (1)")
    assert await queue.enqueue([kept], conn=caller) == {kept.uid: True}
    assert await worker.claim(10) == []
    await caller.commit()
    assert (await worker.one()).uid == kept.uid
    await queue.enqueue([dropped], conn=caller)
    await caller.rollback()
    assert await queue.show(dropped.uid) is None
    assert await sql(dsn, "select n from public.orders") == [(1,)]


async def test_a_connection_that_makes_other_rows_serves_as_well(queue: Queue, dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, row_factory=dict_row) as conn:
        job = new_job()
        assert await queue.enqueue([job], conn=conn) == {job.uid: True}
        assert await queue.enqueue([job], conn=conn) == {job.uid: False}


async def test_a_refused_job_leaves_the_callers_transaction_usable(
    queue: Queue, caller: psycopg.AsyncConnection
) -> None:
    with pytest.raises(JobRejected, match="queue"):
        await queue.enqueue([new_job(queue="Not A Label")], conn=caller)
    job = new_job()
    assert await queue.enqueue([job], conn=caller) == {job.uid: True}


async def test_h12_a_callers_open_transaction_stalls_no_worker(
    queue: Queue, worker: TestWorker, caller: psycopg.AsyncConnection, dsn: str
) -> None:
    """It holds new jobs of sessions, heads and followers, and of plain queues, one limited, one paused."""
    await queue.set_queue("limited", max_running=2)
    await queue.set_queue("paused", paused=True)
    known = [
        new_job(session=S),
        new_job(session=S),
        new_job(),
        new_job(queue="limited"),
        mirrored_job("known"),
    ]
    await queue.enqueue(known)
    await queue.admit()
    theirs = new_job()
    await queue.enqueue(
        [
            new_job(session=S),
            new_job(session="another"),
            theirs,
            new_job(queue="limited"),
            new_job(queue="paused", session=S),
            mirrored_job("new"),
        ],
        conn=caller,
    )
    waited: list[object] = []
    their_backend = caller.info.backend_pid

    async def watch() -> None:
        while not waited:
            waited.extend(
                await sql(
                    dsn,
                    "select query from pg_stat_activity where wait_event_type = 'Lock' and %s = any(pg_blocking_pids(pid))",
                    their_backend,
                )
            )
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    worker.slots = {"agents": 10, "limited": 10, "paused": 10}
    async with asyncio.timeout(120):
        for _ in range(20):
            more = [new_job(session=S), new_job(), new_job(queue="limited")]
            await asyncio.gather(queue.enqueue(more), queue.tick(worker.id), worker.beat())
            claimed = await worker.claim(10)
            said = [Progress(j.id, j.token, "step", 1, Usage()) for j in claimed]
            await queue.progress(worker.id, said)
            for number, job in enumerate(claimed):
                await worker.ack(job, AckKind.RELEASE if number % 3 == 2 else AckKind.COMPLETE)
            await queue.suspend(more[0].uid)
            await queue.resume(more[0].uid)
            await queue.cancel(more[1].uid)
            await queue.set_queue("limited", max_running=2)
            await queue.outbox(10, 0)
            await queue.explain()
    watching.cancel()
    assert waited == []
    done = (await whereabouts(dsn))["outcome"]
    assert done >= 40
    await caller.commit()
    assert theirs.uid in {job.uid for job in await worker.claim(64, slots={"agents": 64})}, "it is there now"
    assert (await whereabouts(dsn))["job"] == 5 + 60 + 6


async def test_h12_a_session_job_of_an_open_transaction_takes_its_place_at_the_commit(
    queue: Queue, worker: TestWorker, caller: psycopg.AsyncConnection
) -> None:
    early, late = new_job(session=S), new_job(session=S)
    await queue.enqueue([early], conn=caller)
    await queue.enqueue([late])
    await queue.admit()
    claimed = await worker.one()
    assert claimed.uid == late.uid
    await caller.commit()
    await queue.admit()
    assert (await shown(queue, early)).reason == "BehindSession"
    await worker.ack(claimed)
    assert (await worker.one()).uid == early.uid


async def test_h12_the_heartbeat_and_progress_wait_for_nobodys_row(
    queue: Queue, worker: TestWorker, dsn: str, caller: psycopg.AsyncConnection
) -> None:
    await queue.enqueue([new_job()])
    held = await worker.one()
    await caller.execute("select * from agentjobs.running for update")
    async with asyncio.timeout(60):
        assert (await worker.beat()).alive
        said = [Progress(held.id, held.token, "x", 1, Usage())]
        assert await queue.progress(worker.id, said) == 0, "skipped, and said again with the next beat"
    await caller.rollback()
    assert await queue.progress(worker.id, said) == 1
    # nor for the output that a reader looks at
    await queue.want_output(held.uid)
    printed = [OutputTail(held.id, held.token, "said", 0)]
    await caller.execute("select * from agentjobs.output_tail for update")
    async with asyncio.timeout(60):
        assert list((await worker.beat()).wanted) == [(held.id, held.token)]
        assert await queue.store_output(worker.id, printed) == 0
    await caller.rollback()
    assert await queue.store_output(worker.id, printed) == 1
    view = await queue.show(held.uid)
    assert view is not None
    assert (view.state, view.step) == (State.RUNNING, "x")
