"""Idle is idle, and the tick is one process's work at a time (H26)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from agentjobs.database.connection import Row
from agentjobs.queue import numbers
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import WorkerInfo
from agentjobs.queue.release import RELEASE
from agentjobs.worker.process.lease import Lease
from agentjobs.worker.supervisor.heartbeat import Heartbeat
from agentjobs.worker.supervisor.identity import Identity
from agentjobs.worker.supervisor.runs import Runs
from queue_builders import TestWorker, make_steady, new_job, pass_time, sql, until, whereabouts


async def test_h26_nothing_to_do_writes_nothing(queue: Queue, worker: TestWorker, dsn: str) -> None:
    await queue.tick(worker.id)
    written: list[int] = []
    for _ in range(3):  # Postgres itself may write meanwhile: autovacuum, a checkpoint
        ((before,),) = await sql(dsn, "select pg_current_wal_insert_lsn()::text")
        await queue.tick(worker.id)
        await worker.claim(10)
        written += (await sql(dsn, "select pg_current_wal_insert_lsn() - %s::pg_lsn", before))[0]
    assert min(written) < 2000, "room for a lock and a checkpointer's record, not for rows"


@pytest.mark.parametrize("paused", [False, True])
async def test_h26_an_idle_worker_costs_at_most_two_statements_a_second(
    queue: Queue, worker: TestWorker, paused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute by the intervals that a worker is built with, every statement counted."""
    if paused:
        await queue.enqueue([new_job(session="s")])
        await queue.set_queue("agents", paused=True)
        await queue.tick(worker.id)
    calls = 0

    def counting(fetch: Callable[..., Awaitable[list[Row]]]) -> Callable[..., Awaitable[list[Row]]]:
        async def counted(*args: Any) -> list[Row]:
            nonlocal calls
            calls += 1
            return await fetch(*args)

        return counted

    for database in (queue._db, queue._beats):
        monkeypatch.setattr(database, "fetch", counting(database.fetch))
    for _ in range(int(60 / numbers.TICK_SECONDS)):
        await queue.tick(worker.id)
    for _ in range(int(60 / numbers.HEARTBEAT_SECONDS)):
        await worker.beat()
    for _ in range(int(60 / numbers.POLL_SECONDS)):
        await worker.step()
        calls += 1  # the listener's own look at its connection
    assert calls <= 120


async def test_h26_only_one_process_ticks_at_a_time_and_nobody_waits(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue([new_job(run_at=datetime.now(UTC) + timedelta(minutes=1))])
    await pass_time(dsn, 120)
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("select agentjobs.tick(%s, '15 s')", (worker.id,))
        async with asyncio.timeout(60):
            elsewhere = await queue.tick(worker.id)
        assert (elsewhere.ticked_elsewhere, elsewhere.promoted) == (True, 0)
        await conn.rollback()
    assert (await queue.tick(worker.id)).promoted == 1


async def test_h26_a_killed_ticker_holds_up_nobody(queue: Queue, worker: TestWorker, dsn: str) -> None:
    """The lock is the transaction's: it goes with the connection."""
    conn = await psycopg.AsyncConnection.connect(dsn)
    await conn.execute("select agentjobs.tick(%s, '15 s')", (worker.id,))
    pid = conn.info.backend_pid
    await sql(dsn, "select pg_terminate_backend(%s)", pid)

    async def free() -> bool:
        return not (await queue.tick(worker.id)).ticked_elsewhere

    await until(free)
    await conn.close()


async def test_h26_one_tick_does_everything_that_time_does(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await make_steady(dsn, worker)
    lost = await TestWorker(queue, {"lost": 1}).register()
    await queue.enqueue(
        [
            new_job(run_at=datetime.now(UTC) + timedelta(minutes=1)),
            new_job(starting_deadline_seconds=60),
            new_job(queue="lost"),
            new_job(session="s"),
            new_job(queue="lost"),
        ]
    )
    await lost.claim(1)
    await queue.unregister(lost.id)
    await pass_time(dsn, 120)
    result = await queue.tick(worker.id)
    assert (result.promoted, result.expired, result.rescued, result.admitted) == (1, 1, 1, 1)


async def test_h26_an_admission_that_a_crash_left_undone_is_done_by_the_next_tick(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([new_job(session="s")])
    assert (await queue.tick(worker.id)).admitted == 1
    assert len(await worker.claim(10)) == 1


async def test_h26_a_tick_takes_only_rows_that_nobody_holds(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue([new_job(run_at=datetime.now(UTC) + timedelta(minutes=1)) for _ in range(3)])
    await pass_time(dsn, 120)
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("select * from agentjobs.waiting order by id limit 1 for update")
        async with asyncio.timeout(60):
            assert (await queue.tick(worker.id)).promoted == 2
    assert (await queue.tick(worker.id)).promoted == 1
    assert (await whereabouts(dsn))["waiting"] == 3


async def test_a_worker_that_rests_ticks_with_the_beat_by_which_those_that_ticked_are_dead(
    queue: Queue, dsn: str
) -> None:
    identity = Identity()
    identity.uuid = UUID(int=2**128 - 1)  # the last in line
    identity.ticks = False
    heartbeat = Heartbeat(
        queue, identity, Runs({"agents": 1}), Lease(), seconds=numbers.HEARTBEAT_SECONDS,
        expiry_seconds=numbers.EXPIRY_SECONDS, info=lambda: WorkerInfo(identity.uuid, "last", {"agents": 1}, "test"),
        ready=lambda: True, lost=fails, releases=(RELEASE, RELEASE), drain=pytest.fail,
    )  # fmt: skip
    for _ in range(2):
        await TestWorker(queue, {"agents": 1}).register()
    await heartbeat._once()
    assert (identity.ticks, identity.tick_wanted.is_set()) == (False, False)
    await sql(
        dsn, "update agentjobs.worker set beat_at = beat_at - interval '12 s' where id <> %s", identity.uuid
    )
    await heartbeat._once()
    assert (identity.ticks, identity.tick_wanted.is_set()) == (True, True)


async def fails() -> None:
    pytest.fail("the worker is taken for dead")
