"""What the queue's tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gemini import FakeGemini, served

import databases
from agentjobs.queue.queue import Queue
from queue_builders import TestWorker
from worker_agents import write_modules
from workers import Start, WorkerProcess, end_all

if TYPE_CHECKING:
    from agentjobs.agents.sessions.service import JobSessions


@pytest.fixture
async def queue(dsn: str) -> AsyncIterator[Queue]:
    """The queue of a fresh database."""
    async with await Queue.open(dsn, application_name="test") as opened:
        yield opened


@pytest.fixture
async def worker(queue: Queue) -> TestWorker:
    """A registered worker with ten slots of queue ``agents``."""
    return await TestWorker(queue).register()


@pytest.fixture(scope="module")
def database(postgres: Any, migrated_template: str) -> Iterator[str]:
    """A fresh database for all tests of a module, which share a worker."""
    with databases.database(postgres, migrated_template) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def model() -> Iterator[FakeGemini]:
    """A fake of Gemini for all tests of a module, and this process's environment pointing to it."""
    with pytest.MonkeyPatch.context() as patch, served(patch) as server:
        yield server


@pytest.fixture
def own_process() -> Iterator[None]:
    """The session services of this process are made anew by the test, and end with it, as in a process of its own."""
    from agentjobs.agents.sessions.service import (
        forget_services,  # it brings ADK, which most tests need not wait for
    )

    forget_services()
    yield
    forget_services()


@pytest.fixture
async def sessions(dsn: str) -> AsyncIterator[JobSessions]:
    """The session store of a fresh database."""
    from agentjobs.agents.sessions.service import JobSessions

    store = JobSessions(dsn)
    yield store
    await store.release()


@pytest.fixture
def start(dsn: str, tmp_path: Path) -> Iterator[Start]:
    """Starts a worker process; all of them are ended with the test."""
    started: list[WorkerProcess] = []
    path = write_modules(tmp_path / "modules")

    def start(**options: object) -> WorkerProcess:
        started.append(WorkerProcess(dsn, path, tmp_path, **options))
        return started[-1]

    yield start
    end_all(started)
