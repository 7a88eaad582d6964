"""Who hears notifications: at most sixteen workers a queue, in turn those that can take a job; the others hear of work with their beats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import psycopg
import pytest

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import BeatResult
from queue_builders import TestWorker, expire_worker, new_job, sql

SEATS = 16
ROOM = ("agents",)


@pytest.fixture
async def queue(dsn: str) -> AsyncIterator[Queue]:
    async with await Queue.open(dsn, connections=8) as made:
        yield made


async def workers_of(queue: Queue, n: int) -> list[TestWorker]:
    return [await TestWorker(queue).register() for _ in range(n)]


async def beat(
    queue: Queue, worker: TestWorker, room: Sequence[str] = ROOM, *, hears: bool = True
) -> BeatResult:
    return await queue.beat(worker.id, [(job.id, job.token) for job in worker.held], (), room, hears=hears)


async def holders(dsn: str) -> list[str]:
    return [str(row[0]) for row in await sql(dsn, "select worker from lookout order by seat")]


async def test_sixteen_of_forty_workers_look_out_and_each_knows_its_place(dsn: str, queue: Queue) -> None:
    fleet = await workers_of(queue, 40)
    for worker in fleet:
        await beat(queue, worker)
    told = [(await beat(queue, worker)).seats for worker in fleet]
    seated = [seats["agents"] for seats in told if seats]
    assert sorted(seated) == [(place, SEATS) for place in range(SEATS)]
    assert [seats for seats in told if not seats] == [{}] * (40 - SEATS)
    assert len(set(await holders(dsn))) == SEATS


async def test_beats_at_once_give_each_seat_once_and_wait_for_nobody(dsn: str) -> None:
    async with await Queue.open(dsn) as one, await Queue.open(dsn) as other:
        fleet = [await TestWorker((one, other)[n % 2]).register() for n in range(40)]
        for _ in range(3):
            await asyncio.gather(*(beat(worker.queue, worker) for worker in fleet))
        assert len(set(await holders(dsn))) == SEATS
        with psycopg.connect(dsn) as held:
            held.execute("select from agentjobs.lookout for update")
            await expire_worker(dsn, *fleet[:30])
            async with asyncio.timeout(60):
                await asyncio.gather(*(beat(worker.queue, worker) for worker in fleet[30:]))


async def test_the_seat_of_a_worker_that_has_left_or_died_is_taken_with_the_next_beat(
    dsn: str, queue: Queue
) -> None:
    fleet = await workers_of(queue, SEATS + 2)
    for worker in fleet:
        await beat(queue, worker)
    assert not (await beat(queue, fleet[-1])).seats
    await queue.unregister(fleet[3].id)
    assert (await beat(queue, fleet[-1])).seats == {"agents": (3, SEATS)}
    await expire_worker(dsn, fleet[5])
    assert (await beat(queue, fleet[-2])).seats == {"agents": (5, SEATS)}
    assert str(fleet[5].id) not in await holders(dsn)


async def test_a_worker_with_room_takes_the_seat_of_one_without_where_a_job_waits_or_too_few_have_room(
    dsn: str, queue: Queue
) -> None:
    fleet = await workers_of(queue, SEATS + 12)
    for worker in fleet:
        await beat(queue, worker)
    for worker in fleet[: SEATS // 2]:
        await beat(queue, worker, ())
    spare = fleet[SEATS:]
    assert (await beat(queue, spare[0])).seats == {}, "half of the lookouts have room, and nothing waits"
    await queue.enqueue([new_job()])
    told = await beat(queue, spare[0])
    assert told.ready
    assert told.seats == {"agents": (0, SEATS // 2 + 1)}
    for worker in fleet[SEATS // 2 : SEATS]:
        await beat(queue, worker, ())
    await sql(dsn, "delete from waiting")
    seats = [(await beat(queue, worker)).seats for worker in spare[1:]]
    assert seats[:7] == [{"agents": (n, n + 1)} for n in range(1, 8)]
    assert seats[7:] == [{}] * (len(spare) - 8), "half have room again"
    assert len(set(await holders(dsn))) == SEATS


async def test_who_has_no_room_for_a_queue_is_no_lookout_of_it_though_it_has_room_for_another(
    dsn: str, queue: Queue
) -> None:
    one, other = await workers_of(queue, 2)
    for worker in (one, other):
        await beat(queue, worker, ("agents", "slow"))
    await beat(queue, one, ("slow",))
    assert (await beat(queue, other, ("agents", "slow"))).seats == {"agents": (0, 1), "slow": (1, 2)}


async def test_a_worker_that_hears_nothing_or_drains_gives_its_seat_back(dsn: str, queue: Queue) -> None:
    (worker,) = await workers_of(queue, 1)
    assert (await beat(queue, worker)).seats == {"agents": (0, 1)}
    await queue.enqueue([new_job()])
    deaf = await beat(queue, worker, hears=False)
    assert (deaf.seats, deaf.ready, deaf.workers) == (None, True, 1)
    assert await holders(dsn) == []
    assert (await beat(queue, worker)).seats == {"agents": (0, 1)}
    draining = await worker.beat()
    assert (draining.seats, draining.ready) == (None, False)
    assert await holders(dsn) == []


async def test_a_worker_without_a_seat_is_told_how_many_workers_there_are(dsn: str, queue: Queue) -> None:
    fleet = await workers_of(queue, 40)
    for worker in fleet:
        await beat(queue, worker)
    assert (await beat(queue, fleet[-1])).workers == 40


async def test_a_beat_tells_of_jobs_that_wait_in_the_queues_with_room_and_of_no_others(
    dsn: str, queue: Queue
) -> None:
    (worker,) = await workers_of(queue, 1)
    assert not (await beat(queue, worker)).ready
    await queue.enqueue([new_job(queue="slow")])
    assert not (await beat(queue, worker)).ready
    assert (await beat(queue, worker, ("agents", "slow"))).ready
    assert not (await beat(queue, worker, ())).ready
    await sql(dsn, "update waiting set state = 'q'")
    assert (await beat(queue, worker, ("slow",))).ready, "a job in quarantine"
    await queue.set_queue("slow", paused=True)


async def test_two_of_the_living_workers_tick_and_others_when_these_are_gone(dsn: str, queue: Queue) -> None:
    fleet = await workers_of(queue, 5)
    ticking = [worker for worker in fleet if (await beat(queue, worker)).ticks]
    assert len(ticking) == 2
    await expire_worker(dsn, *ticking)
    left = [worker for worker in fleet if worker not in ticking]
    assert sum([(await beat(queue, worker)).ticks for worker in left]) == 2


async def test_a_call_says_how_many_jobs_there_are_and_each_has_another_number(
    dsn: str, queue: Queue
) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("listen agentjobs_call")
        await queue.enqueue([new_job() for _ in range(3)])
        await queue.enqueue([new_job(queue="slow")])
        await queue.set_queue("agents", paused=True)
        await queue.set_queue("agents", paused=False)
        await queue.pass_on(["agents", "slow", "none"])
        told = [note.payload.split() async for note in conn.notifies(timeout=60, stop_after=6)]
    assert [(name, int(n)) for name, n, _ in told] == [
        ("agents", 3), ("slow", 1), ("agents", 1_000_000), ("agents", 1_000_000), ("agents", 4), ("slow", 4),
    ]  # fmt: skip
    assert len({number for *_, number in told}) >= 5
