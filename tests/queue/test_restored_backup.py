"""A dump of a database that is at work, restored on another server by the commands of docs/install.md."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from agentjobs.agents.sessions.service import JobSessions
from agentjobs.local.postgres import EmbeddedPostgres, find_binaries
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import JobView, NewJob, State
from databases import OPTIONS, migrate
from worker_agents import call
from workers import Start, WorkerProcess, end_all, job, state_of, step_of, submit

pytestmark = pytest.mark.timeout(180)

INSTALL = Path(__file__).parents[2] / "docs" / "install.md"


@pytest.fixture
def other_server() -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(options=OPTIONS).start()
    try:
        yield server
    finally:
        server.stop()


def as_documented(command: str, folder: Path, **urls: str) -> None:
    """Runs the line of docs/install.md that begins so."""
    line = re.search(rf"^    ({command} .+?)(?: +#.*)?$", INSTALL.read_text(), re.MULTILINE)
    assert line, f"docs/install.md has no command {command}"
    path = f"{find_binaries()}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", line[1]],
        cwd=folder,
        env=os.environ | urls | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def status_of_migrations(dsn: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "agentjobs.cli", "migrate", "status"],
        env=os.environ | {"AGENTJOBS_DATABASE_URL": dsn},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def talk(message: str) -> NewJob:
    """A job of the session ``talk``."""
    made = job(message, max_attempts=1, session="talk")
    made.payload.update(appName="app", userID="ann", sessionID="talk")
    return made


async def test_jobs_of_a_restored_dump_go_on_where_they_were(
    dsn: str, start: Start, other_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = start(health_port=0)
    async with await Queue.open(dsn) as queue:
        (done,) = await submit(queue, talk("the first word"))
        assert (await state_of(queue, done)).state is State.COMPLETE
        (running,) = await submit(queue, talk(call("wait_for", file=str(gate))))
        await step_of(queue, running, "wait_for")
        (behind,) = await submit(queue, talk("the last word"))
        await queue.set_queue("closed", paused=True, by="ops", reason="a backup")
        soon = datetime.now(UTC) + timedelta(seconds=2)
        waiting = await submit(queue, job(), job(run_at=soon), job(queue="closed"))
        before = {uid: await queue.show(uid) for uid in (done, waiting[-1])}

        as_documented("pg_dump", tmp_path, ADMIN_URL=dsn)
        worker.signal(signal.SIGKILL)

    restored = other_server.create_database("restored")
    as_documented("pg_restore", tmp_path, EMPTY_URL=restored)
    assert status_of_migrations(restored) == status_of_migrations(dsn)
    migrate(restored)  # it has nothing to do, and harms nothing

    gate.touch()
    path = str(tmp_path / "modules")
    second = WorkerProcess(restored, path, tmp_path, health_port=0, queues={"agents": 5, "closed": 1})
    try:
        await all_go_on(restored, before, [running, behind, *waiting[:2]], waiting[-1])
    finally:
        end_all([second])


async def all_go_on(
    restored: str, before: Mapping[UUID, JobView | None], open_: Sequence[UUID], paused: UUID
) -> None:
    """Jobs that ended or are paused are as they were, the others end well, and their conversation is whole."""
    async with await Queue.open(restored) as queue:
        assert {uid: await queue.show(uid) for uid in before} == before
        for uid in open_:
            view = await state_of(queue, uid)
            assert (view.state, view.attempts) == (State.COMPLETE, 1), view
        assert await queue.show(paused) == before[paused]
        await queue.set_queue("closed", paused=False, by="ops")
        assert (await state_of(queue, paused)).state is State.COMPLETE
    sessions = JobSessions(restored)
    try:
        session = await sessions.get_session(app_name="team/app", user_id="ann", session_id="talk")
    finally:
        await sessions.release()
    assert session is not None
    said = [part.text for event in session.events if event.content for part in event.content.parts or ()]
    assert said.index("the first word") < said.index("the last word")
