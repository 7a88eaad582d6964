"""One job's value hurts only that job: hostile runs, agents and rows beside twenty innocent jobs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import JobView, NewJob, RetryPolicy, State
from agentjobs.values.bounds import MOST
from agentjobs.values.reasons import Reason
from agentjobs.worker.supervisor.supervisor import Worker
from hostile import MEMBERS, Hostile, write_hostile_modules
from hostile_examples import SEED, examples
from queue_builders import sql
from worker_agents import write_modules
from workers import job, running_worker, state_of, submit, worker_config

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]  # on a busy machine

SECONDS = 500
"""For all jobs together, on a busy machine."""
IMPATIENT = RetryPolicy(initial_delay_seconds=0, max_delay_seconds=0, max_wait_seconds=1)
"""A refunded wait is longer than this job may wait: it ends."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def worker(database: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Worker]:
    path = write_modules(tmp_path_factory.mktemp("modules"))
    write_hostile_modules(Path(path))
    modules = ("innocent", "hostile", "chatty")
    async with running_worker(worker_config(database, path, queues={"agents": 8}, modules=modules)) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def queue(database: str, worker: Worker) -> AsyncIterator[Queue]:
    async with await Queue.open(database, application_name="test") as opened:
        yield opened


async def enqueue_hostile(queue: Queue, dsn: str, one: Hostile, folder: Path) -> bool:
    """False: the database refuses the row, as it should."""
    if not one.payload:
        text = one.text(folder)
        await submit(queue, job(text, module=one.module, uid=one.uid, max_attempts=1, retry=IMPATIENT))
        return True
    row = {"uid": str(one.uid), "queue": "agents", "max_attempts": 1, **one.row}
    text = f'[{json.dumps(row)[:-1]}, "payload": {one.payload}}}]'
    refused = ""
    try:
        await sql(dsn, "select agentjobs.enqueue(%s::json)", text)
    except psycopg.Error as error:
        refused = str(error)
    assert one.refused in refused if one.refused else not refused or one.generated, (one.id, refused)
    return not refused


def check_end(one: Hostile, view: JobView) -> None:
    """A hostile job has ended for a reason that people can look up, with numbers that all parts can hold."""
    if view.state is not State.COMPLETE:
        ended = view.attempts_log[-1] if view.attempts_log else None
        assert (ended.reason if ended is not None else view.reason) in set(Reason), one.id
        assert view.reason in set(Reason), one.id
    assert "Jane Roe" not in view.message + "".join(run.message for run in view.attempts_log), one.id
    usage = view.usage
    for count in (usage.prompt_tokens, usage.output_tokens, usage.total_tokens, usage.llm_calls):
        assert 0 <= count <= MOST, one.id


def check_worker(worker: Worker) -> None:
    """The worker is well, and says so; its metrics are numbers."""
    assert worker.problems() == []
    status, page = worker._metrics()
    assert status == 200
    values = [line.rsplit(" ", 1)[1] for line in page.encode().decode().splitlines() if line[0] != "#"]
    assert all(float(value) < float("inf") for value in values)


async def run_beside_innocents(
    queue: Queue, worker: Worker, dsn: str, hostile: list[Hostile], folder: Path
) -> None:
    innocents: list[NewJob] = []
    ran = []
    for number, one in enumerate(hostile):
        if await enqueue_hostile(queue, dsn, one, folder):
            ran.append(one)
        if number % max(1, len(hostile) // 20) == 0 and len(innocents) < 20:
            innocents.append(job(f"answer {number}", module="innocent", max_attempts=1))
            await submit(queue, innocents[-1])
    async with asyncio.timeout(SECONDS):
        for innocent in innocents:
            view = await state_of(queue, innocent.uid, seconds=SECONDS)
            assert (view.state, view.run) == (State.COMPLETE, 1), view
        for one in ran:
            check_end(one, await state_of(queue, one.uid, seconds=SECONDS))
    check_worker(worker)
    await queue.jobs(JobFilter(), limit=1000)
    await queue.board()
    await queue.stats(most_queues=10, other="other")


async def test_h6_twenty_innocent_jobs_beside_every_hostile_value_complete_and_each_ends_with_its_reason(
    queue: Queue, worker: Worker, database: str, tmp_path: Path
) -> None:
    templates = worker.executors.templates
    await run_beside_innocents(queue, worker, database, MEMBERS, tmp_path)
    assert worker.executors.templates == templates, "the template lives"


async def test_h6_twenty_innocent_jobs_beside_generated_hostile_values_complete(
    queue: Queue, worker: Worker, database: str, tmp_path: Path
) -> None:
    print(f"AGENTJOBS_HOSTILE_SEED={SEED}")  # noqa: T201, shown where the test fails
    await run_beside_innocents(queue, worker, database, examples(), tmp_path)
