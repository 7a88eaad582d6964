"""Claims of several workers, which pass by each other: where all have got to, rows that somebody holds, and what comes back."""

from __future__ import annotations

import asyncio
import time

import psycopg

from agentjobs.queue.claim_hint import RESCAN_SECONDS
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind
from queue_builders import TestWorker, new_job, sql


async def pair(queue: Queue, slots: int = 1000) -> tuple[TestWorker, TestWorker]:
    return (
        await TestWorker(queue, {"agents": slots}).register(),
        await TestWorker(queue, {"agents": slots}).register(),
    )


async def place(dsn: str, name: str = "agents") -> int:
    return int((await sql(dsn, "select pos from claimed_to(%s)", name))[0][0])


async def test_a_claim_begins_where_the_claims_of_others_have_got_to(queue: Queue, dsn: str) -> None:
    await queue.enqueue([new_job() for _ in range(600)])
    one, other = await pair(queue)
    await one.claim(10)
    await other.claim(10)
    last = [await one.claim(60) for _ in range(4)][-1][-1]
    assert await place(dsn) in range(last.pos - 64, last.pos + 1)
    assert (await other.claim(10))[0].pos > last.pos


async def test_the_place_is_seen_before_the_claim_commits_and_stays_after_its_rollback(
    queue: Queue, dsn: str
) -> None:
    await queue.enqueue([new_job() for _ in range(200)])
    one, _ = await pair(queue)
    async with await psycopg.AsyncConnection.connect(dsn, options="-c search_path=agentjobs") as conn:
        await conn.execute(
            "select claim(%s, 1, '{agents}', '{60}', 60, false, null, interval '15 s')", (one.id,)
        )
        assert await place(dsn) > 0
        await conn.rollback()
    taken = [job for _ in range(4) for job in await one.claim(50)]
    assert len(taken) == 200, "what a claim gave back is found by the next scan"


async def test_h25_what_came_back_behind_all_claims_is_found_by_the_next_scan_and_drained_first(
    queue: Queue,
) -> None:
    await queue.enqueue([new_job() for _ in range(600)])
    one, other = await pair(queue)
    first = await one.claim(60)
    await other.claim(60)
    await one.claim(60)
    for job in first[:20]:
        await one.ack(job, AckKind.RELEASE)
    released, found, began = {job.id for job in first[:20]}, list[int](), time.monotonic()
    while not found:
        await queue.enqueue([new_job() for _ in range(5)])
        waited = time.monotonic() - began
        found = [job.id for job in await other.claim(5) if job.id in released]
        assert found or waited < RESCAN_SECONDS[1] + 5, "a claim that begins after the bound finds it"
        await asyncio.sleep(0.05)
    while len(found) < 20:
        claimed = await other.claim(5)
        assert {job.id for job in claimed} <= released, "they come first, as long as there are any"
        found += [job.id for job in claimed]


async def test_rows_that_a_transaction_holds_are_passed_by_and_come_with_the_next_scan(
    queue: Queue, dsn: str
) -> None:
    await queue.enqueue([new_job() for _ in range(30)])
    one, _ = await pair(queue)
    async with await psycopg.AsyncConnection.connect(dsn, options="-c search_path=agentjobs") as conn:
        held = {
            row[0]
            for row in await (
                await conn.execute("select id from waiting order by pos limit 5 for update")
            ).fetchall()
        }
        claimed = await one.claim(10)
        assert len(claimed) == 10
        assert not held & {job.id for job in claimed}
    rest = await one.claim(30)
    assert held <= {job.id for job in rest}


async def test_queues_that_share_a_register_hide_nothing_from_each_other(queue: Queue, dsn: str) -> None:
    names = [
        str(row[0])
        for row in await sql(
            dsn,
            "select 'q' || i from generate_series(1, 400) i where register_of('q' || i) = register_of('q1') limit 3",
        )
    ]
    workers = [await TestWorker(queue, {name: 100}).register() for name in names]
    await queue.enqueue([new_job(queue=name) for _ in range(300) for name in names])
    for _ in range(3):
        for name, worker in zip(names, workers, strict=True):
            claimed = await worker.claim(60)
            assert [job.queue for job in claimed] == [name] * 60
            assert [job.pos for job in claimed] == sorted(job.pos for job in claimed)
            assert await place(dsn, name) <= claimed[-1].pos


async def test_however_many_claim_at_once_each_job_goes_to_one(queue: Queue, dsn: str) -> None:
    await queue.enqueue([new_job() for _ in range(2000)])
    workers = [await TestWorker(queue, {"agents": 2000}).register() for _ in range(8)]

    async def drain(worker: TestWorker) -> list[int]:
        mine: list[int] = []
        while jobs := await worker.claim(20):
            mine += [job.id for job in jobs]
        return mine

    taken = [id_ for ids in await asyncio.gather(*map(drain, workers)) for id_ in ids]
    assert (len(taken), len(set(taken))) == (2000, 2000)
