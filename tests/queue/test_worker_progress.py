"""Where running jobs are, soon after they got there, and cheaply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import psycopg

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import Progress, State
from agentjobs.worker.supervisor.supervisor import Worker
from processes import until
from worker_agents import call, write_modules
from workers import job, running_worker, state_of, step_of, submit, worker_config

LONG_BEAT = {"heartbeat_seconds": 60.0, "expiry_seconds": 300.0}
"""Whatever is told soon is not told by a heartbeat."""


class Reporting(Queue):
    """The real queue; remembers which progress was told, and when. Each statement waits while ``free`` is not set."""

    told: list[tuple[float, int]]
    free: asyncio.Event

    async def progress(self, worker: UUID, rows: Sequence[Progress]) -> int:
        Reporting.told.append((time.monotonic(), len(rows)))
        await Reporting.free.wait()
        return await super().progress(worker, rows)


def inside(worker: Worker) -> int:
    """Runs that have told a first event."""
    executors = [run.executor for run in worker.runs.running.values()]
    return sum(one is not None and one.event_count > 0 for one in executors)


async def test_progress_of_all_running_jobs_is_told_by_one_statement_a_second_at_most(
    dsn: str, tmp_path: Path
) -> None:
    Reporting.told, Reporting.free = [], asyncio.Event()
    go = tmp_path / "go"
    config = worker_config(dsn, write_modules(tmp_path / "modules"), queues={"agents": 5}, **LONG_BEAT)
    async with await Queue.open(dsn) as queue, running_worker(config, Reporting) as worker:
        uids = await submit(queue, *(job(call("wait_for", file=str(go))) for _ in range(5)))
        await until(lambda: inside(worker) == 5, "each run is inside its tool, however long that took")
        assert len(Reporting.told) <= 1
        Reporting.free.set()
        for uid in uids:
            await step_of(queue, uid, "wait_for")
            view = await state_of(queue, uid, State.RUNNING)
            assert (view.event_count, view.usage.llm_calls) == (1, 1)
            assert view.usage.total_tokens > 0
        await until(lambda: not worker.runs.progressed.is_set(), "all is told")
        quiet = len(Reporting.told)
        await asyncio.sleep(2.5)
        assert len(Reporting.told) == quiet, "nothing is said while nothing happens"
        go.touch()
        for uid in uids:
            await state_of(queue, uid)
    times = [at for at, _ in Reporting.told]
    assert all(after - before >= 1.0 for before, after in pairwise(times))
    assert max(rows for _, rows in Reporting.told) > 1, "several jobs in one statement"


async def test_progress_whose_row_is_held_by_somebody_is_told_again(dsn: str, tmp_path: Path) -> None:
    Reporting.told, Reporting.free = [], asyncio.Event()
    Reporting.free.set()
    config = worker_config(dsn, write_modules(tmp_path / "modules"), **LONG_BEAT)
    async with (
        await Queue.open(dsn) as queue,
        running_worker(config, Reporting),
        await psycopg.AsyncConnection.connect(dsn) as holder,
    ):
        (uid,) = await submit(queue, job(call("wait", seconds=600)))
        async with asyncio.timeout(60):
            while not (await holder.execute("select 1 from agentjobs.running for update")).rowcount:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await until(lambda: Reporting.told, "it was told, and skipped")
        await holder.rollback()
        await step_of(queue, uid, "wait")
        await queue.cancel(uid)
