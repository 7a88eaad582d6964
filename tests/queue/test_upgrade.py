"""An upgrade of a live system: 200,000 waiting jobs, four workers that claim, and nobody stands still.

The release after this one (``releases/2``) adds a column to ``waiting``, fills it in batches, builds an index and changes
functions. ``AGENTJOBS_UPGRADE_JOBS`` is another number of jobs.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from agentjobs.queue import migrate
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import Ack, AckKind
from agentjobs.queue.release import RELEASE
from queue_builders import TestWorker, new_job, sql
from releases import dump, releases

pytestmark = pytest.mark.timeout(420)
JOBS = int(os.environ.get("AGENTJOBS_UPGRADE_JOBS", "200000"))
LOOK_SECONDS = 0.05
"""The pause between two looks of an onlooker at the server. Looks are the clock of these tests: it stands still while the machine does."""
MOST_SECONDS = 5.0
"""That a claim or a heartbeat may wait for a lock: the upgrade's LOCK_TIMEOUT, and what a busy machine adds. By the looks' clock."""
MOST_CALL_SECONDS = 10.0
"""That a call may take in all: 0.2 to 0.6 s on two quiet cores, and what a busy machine adds. By the looks' clock, below an expiry of 15 s."""
EXPIRY_SECONDS = 120.0
"""Of the workers here: a machine that stands still for a while ends none of them."""
FILL = """
insert into job (id, uid, queue, priority, due_at, max_attempts, attempt_timeout, payload, bytes, round_at, created_at, accepted_at,
                 facet)
select nextval('position'), gen_random_uuid(), 'agents', 2, now(), 3, 1800, '{"v": 1}', 8, now(), now(), now(),
       1 from generate_series(1, %s);
insert into waiting (id, facet, queue, pos, state, mirrored, bytes, run_at, since)
select id, facet, queue, pos(priority, id), 'r', false, bytes, due_at, due_at from job
"""
LOCK_WAITS = """
select pid, query_start from pg_stat_activity
where datname = current_database() and wait_event_type = 'Lock' and application_name ^@ 'load'
"""


class Load:
    """Four workers that claim and ack, and their heartbeats, each on connections of its own; and an onlooker."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.longest = {"step": 0.0, "beat": 0.0, "lock": 0.0}
        self.done = 0
        self._looks = 0
        self._steps: Counter[UUID] = Counter()
        """Of each worker; the number of a step is its claim's token."""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        self._stack = AsyncExitStack()
        for n in range(4):
            working, beating = [
                await self._stack.enter_async_context(
                    await Queue.open(
                        self._dsn, application_name=f"load {n} {what}", expiry_seconds=EXPIRY_SECONDS
                    )
                )
                for what in ("step", "beat")
            ]
            worker = await TestWorker(working).register()
            beats = TestWorker(beating, id=worker.id)
            self._tasks += [
                asyncio.create_task(self._for_ever("step", partial(self._work, worker))),
                asyncio.create_task(self._for_ever("beat", partial(self._beat, beats))),
            ]
        self._tasks.append(asyncio.create_task(self._watch()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    async def _for_ever(self, what: str, call: Callable[[], Awaitable[None]]) -> None:
        while True:
            started = self._looks
            await call()
            self._lasted(what, started)
            await asyncio.sleep(0.02)

    def _lasted(self, what: str, since_look: int) -> None:
        self.longest[what] = max(self.longest[what], (self._looks - since_look) * LOOK_SECONDS)

    async def _work(self, worker: TestWorker) -> None:
        acks = [Ack(job.id, job.token, AckKind.COMPLETE, result="done") for job in worker.held]
        worker.held = []
        self._steps[worker.id] += 1
        answers = (await worker.step(acks, {"agents": 50}, total=50)).answers
        assert all(answer.value == "ok" for answer in answers.values())
        self.done += len(acks)

    async def _beat(self, worker: TestWorker) -> None:
        under_way = self._steps[worker.id]
        assert (await worker.beat([under_way - 1, under_way])).alive
        await asyncio.sleep(0.1)

    async def _watch(self) -> None:
        first: dict[tuple[Any, ...], int] = {}
        """The first look at each statement that waits."""
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as conn:
            while True:
                waiting = await (await conn.execute(LOCK_WAITS)).fetchall()
                self._looks += 1
                first = {statement: first.get(statement, self._looks) for statement in waiting}
                for look in first.values():
                    self._lasted("lock", look)
                await asyncio.sleep(LOOK_SECONDS)

    def check(self) -> None:
        """Everybody still works, and nobody stood in line for long."""
        for task in self._tasks:
            if task.done():
                task.result()
        assert self.longest["lock"] < MOST_SECONDS, self.longest
        assert max(self.longest.values()) < MOST_CALL_SECONDS, self.longest
        said = {name: round(seconds, 3) for name, seconds in self.longest.items()}
        sys.stdout.write(f"longest: {said}; jobs done: {self.done}\n")


async def deadlocks(dsn: str) -> int:
    ((count,),) = await sql(dsn, "select deadlocks from pg_stat_database where datname = current_database()")
    return int(count)


async def fill(dsn: str, jobs: int) -> None:
    for statement in FILL.replace("%s", str(jobs)).split(";"):
        await sql(dsn, statement)


async def test_h30_an_upgrade_stops_no_claim_and_no_heartbeat_and_causes_no_deadlock(
    dsn: str, tmp_path: Path
) -> None:
    release = releases(tmp_path)[1]
    await fill(dsn, JOBS)
    async with Load(dsn) as load:
        await asyncio.sleep(1)
        before = load.done
        started = time.monotonic()
        done = await migrate.up(dsn, release=release)
        seconds = time.monotonic() - started
        sys.stdout.write(f"{JOBS} jobs: {seconds:.1f} s for {done}, {load.done - before} jobs meanwhile\n")
        await asyncio.sleep(1)
        load.check()
    assert await deadlocks(dsn) == 0
    assert await sql(dsn, "select count(*) from waiting where shard is null") == [(0,)]
    assert load.done > before, "the workers claimed meanwhile"


async def test_a_callers_open_transaction_holds_up_the_upgrade_and_nobody_else(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The column needs a moment without writers; while it is not to be had, claims go on in the pauses (H12)."""
    release = releases(tmp_path)[1]
    await fill(dsn, 2_000)
    async with (
        await Queue.open(dsn) as queue,
        await psycopg.AsyncConnection.connect(dsn) as own,
        Load(dsn) as load,
    ):
        await queue.enqueue([new_job()], conn=own)
        upgrade = asyncio.create_task(migrate.up(dsn, release=release))
        await asyncio.sleep(MOST_SECONDS + 2)
        assert not upgrade.done()
        assert (await migrate.status(dsn)).version == migrate.SCHEMA_VERSION
        before = load.done
        await queue.enqueue([new_job() for _ in range(500)])
        async with asyncio.timeout(120):
            while load.done == before:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await own.commit()
        await upgrade
        load.check()
    assert await deadlocks(dsn) == 0


async def test_the_functions_are_changed_in_the_middle_of_claims_and_each_claim_is_whole(
    dsn: str, tmp_path: Path
) -> None:
    """Back and forth between two releases, ten times: no call finds a function missing."""
    first, second = releases(tmp_path)[:2]
    functions_only = [
        type(first)(RELEASE + n, first.steps, text, first.grants)
        for n, text in enumerate(
            [first.functions, *[f"{second.functions.split('-- shard_of')[0]}\n-- {n}\n" for n in range(10)]]
        )
    ]
    await fill(dsn, 20_000)
    async with Load(dsn) as load:
        for release in functions_only[1:]:
            assert await migrate.up(dsn, release=release) == [release.title]
            await asyncio.sleep(0.1)
        load.check()
    assert load.done > 0
    assert dump(dsn) != []
    assert await deadlocks(dsn) == 0
