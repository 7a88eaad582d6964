"""A password that is rotated is taken up at the next connect: nothing is restarted, no attempt is charged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.dsn import DsnFile
from agentjobs.queue.errors import QueueUnavailable
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State
from agentjobs.worker.supervisor.config import WorkerConfig
from processes import until
from rotation import RotatedRole
from worker_agents import call, write_modules
from workers import job, running_worker, state_of, step_of, submit, worker_config

Make = Callable[[str], RotatedRole]


@pytest.fixture
def role(dsn: str, tmp_path: Path) -> Iterator[Make]:
    """Makes roles that may do all that a worker does, each with a file of its own."""
    made: list[RotatedRole] = []

    def make(name: str) -> RotatedRole:
        found = RotatedRole(dsn, f"{name}_{uuid4().hex[:8]}", tmp_path / name)
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(sql.SQL("create role {} superuser").format(sql.Identifier(found.role)))
        made.append(found)
        found.rotate()
        return found

    yield make
    with psycopg.connect(dsn, autocommit=True) as conn:
        for one in made:
            conn.execute(sql.SQL("drop owned by {0} cascade; drop role {0}").format(sql.Identifier(one.role)))


def config(queue: RotatedRole, sessions: RotatedRole, tmp_path: Path) -> WorkerConfig:
    settings = AgentSettings(
        modules=("abuse",),
        preload=("abuse",),
        session_dsn=sessions.dsn()(),
        session_dsn_file=str(sessions.file),
    )
    path = write_modules(tmp_path / "modules")
    return replace(
        worker_config(queue.admin, path, settings=settings, heartbeat_seconds=0.5), dsn=queue.dsn()
    )


async def test_a_rotated_password_is_taken_up_by_every_connection_of_a_worker_and_by_runs_under_way(
    role: Make, tmp_path: Path
) -> None:
    queues, sessions = role("queue"), role("sessions")
    wanted = {"agentjobs-worker", "agentjobs-worker-beat", "agentjobs-worker-listen"}
    gate = tmp_path / "gate"
    async with (
        await Queue.open(queues.admin) as queue,
        running_worker(config(queues, sessions, tmp_path)),
    ):
        (before,) = await submit(queue, job(call("wait_for", file=str(gate)), max_attempts=1))
        await step_of(queue, before, "wait_for")
        for _ in range(2):
            queues.rotate()
            sessions.rotate()
            (after,) = await submit(queue, job(max_attempts=1))
            view = await state_of(queue, after)
            assert (view.state, view.attempts, view.run) == (State.COMPLETE, 1, 1), view.message
            await until(lambda: queues.connections() >= wanted, "all of the worker's connections are back")
        gate.touch()
        view = await state_of(queue, before)
        assert (view.state, view.attempts, view.run) == (State.COMPLETE, 1, 1), view.message


async def test_a_run_that_is_refused_because_the_file_is_late_is_not_charged(
    role: Make, tmp_path: Path
) -> None:
    queues, sessions = role("queue"), role("sessions")
    async with (
        await Queue.open(queues.admin) as queue,
        running_worker(config(queues, sessions, tmp_path)),
    ):
        sessions.rotate(tell=False)
        (uid,) = await submit(queue, job(max_attempts=1))
        view = await state_of(queue, uid, State.RETRYING, State.FAILED)
        assert (view.state, view.reason, view.attempts) == (State.RETRYING, "SessionStoreUnavailable", 0)
        assert sessions.password not in view.message
        sessions.tell()
        view = await state_of(queue, uid)
        assert (view.state, view.attempts) == (State.COMPLETE, 1)


async def answers(queue: Queue) -> bool:
    try:
        await queue.counts()
    except QueueUnavailable:
        return False
    return True


async def test_a_database_that_refuses_the_password_is_a_database_that_is_away(
    role: Make, tmp_path: Path
) -> None:
    queues = role("queue")
    async with await Queue.open(queues.dsn()) as queue, asyncio.timeout(150):
        assert await answers(queue)
        queues.rotate(tell=False)
        assert not await answers(queue), "cut"
        assert not await answers(queue), "refused"
        queues.tell()
        while not await answers(queue):
            pass


async def test_a_file_that_cannot_be_read_for_a_moment_leaves_the_last_url(tmp_path: Path) -> None:
    file = tmp_path / "url"
    dsn = DsnFile(file, "postgresql://first/db")
    assert dsn() == "postgresql://first/db"
    file.write_text("  postgresql://second/db\n")
    assert dsn() == "postgresql://second/db"
    for content in (b"", b"\xff\xfe"):
        file.write_bytes(content)
        assert dsn() == "postgresql://second/db"
    assert "second" not in repr(dsn), "it may hold a password"
