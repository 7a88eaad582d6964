"""H13: workers that are stopped, cut off or asleep while others take their jobs over."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from agentjobs.agents.sessions.service import JobSessions
from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import JobView, State
from agentjobs.worker.process.lease import boot_seconds
from processes import alive, family, until
from worker_agents import call, write_modules
from workers import WorkerProcess, end_all, is_ready, job, running_worker, state_of, submit, worker_config

EXPIRY_SECONDS = 2.0
SHORT = {"heartbeat_seconds": 0.5, "expiry_seconds": EXPIRY_SECONDS}
NOTHING_HAPPENS_SECONDS = 1.0
"""Without deadline and fence, a run takes a tenth of it for its next step."""

Start = Callable[..., WorkerProcess]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write_modules(tmp_path / "modules")


@pytest.fixture
def start(dsn: str, path: str, tmp_path: Path) -> Iterator[Start]:
    """Starts a worker process with a short expiry; all of them are ended with the test."""
    started: list[WorkerProcess] = []

    def start(**options: object) -> WorkerProcess:
        started.append(WorkerProcess(dsn, path, tmp_path, **{**SHORT, **options}))
        return started[-1]

    yield start
    for worker in started:
        send(signal.SIGCONT, family(worker.pid))
    end_all(started)


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        if alive(pid):
            os.kill(pid, number)


async def stored(dsn: str, uid: UUID) -> list[str]:
    """What the conversation holds: ``call stamp``, ``result stamp``, ``text``, in the order of the session."""
    sessions = JobSessions(dsn)
    try:
        session = await sessions.get_session(
            app_name="team/agentjobs", user_id="system", session_id=f"job-{uid}"
        )
        assert session is not None
        return [what(event) for event in session.events]
    finally:
        await sessions.release()


def what(event: Any) -> str:
    calls, results = event.get_function_calls(), event.get_function_responses()
    if calls or results:
        return " ".join([*(f"call {c.name}" for c in calls), *(f"result {r.name}" for r in results)])
    return "text"


def stamps(file: Path) -> list[tuple[float, int, str]]:
    """When each call began, in which run, and its note."""
    if not file.exists():
        return []
    lines = [line.split() for line in file.read_text().splitlines()]
    return [(float(line[0]), int(line[1]), line[2] if len(line) > 2 else "") for line in lines]


def inside(gate: Path, run: int) -> int:
    """The pid of that run, which waits in ``wait_for_run``."""
    return int(Path(f"{gate}.{run}.inside").read_text())


def let_through(gate: Path, run: int) -> None:
    Path(f"{gate}.{run}").touch()


def lost_once(view: JobView) -> bool:
    first = view.attempts_log[0]
    return (first.reason, first.charged, view.attempts, view.run) == ("WorkerLost", False, 1, 2)


async def test_invariant_2_h13_a_stopped_worker_that_wakes_beside_its_successor_begins_and_writes_nothing(
    dsn: str, start: Start, tmp_path: Path
) -> None:
    file, gate = tmp_path / "stamps", tmp_path / "gate"
    stamp = call("stamp", file=str(file))
    first = start(lease_grace_seconds=600)
    async with await Queue.open(dsn, expiry_seconds=EXPIRY_SECONDS) as queue:
        await first.event("template.ready")
        (uid,) = await submit(
            queue, job(f"{stamp}\n{call('wait_for_run', file=str(gate))}\n{stamp}\n{stamp}")
        )
        await until(Path(f"{gate}.1.inside").exists, "the first run is inside its tool")
        run = inside(gate, 1)
        stopped = family(first.pid)
        assert run in stopped
        send(signal.SIGSTOP, stopped)
        start()
        await until(Path(f"{gate}.2.inside").exists, "the successor is inside the same tool")
        before = await stored(dsn, uid)

        let_through(gate, 1)
        send(signal.SIGCONT, [pid for pid in stopped if pid != first.pid])  # nobody tells the run anything
        await until(Path(f"{gate}.1.left").exists, "the late run's tool has returned")
        await asyncio.sleep(NOTHING_HAPPENS_SECONDS)
        assert await stored(dsn, uid) == before
        assert alive(run), "it waits for a renewal"

        send(signal.SIGCONT, [first.pid])
        await first.event("worker.expired")
        await until(lambda: not alive(run), "the late run is killed by its supervisor")
        assert await stored(dsn, uid) == before
        let_through(gate, 2)
        view = await state_of(queue, uid)
    assert (view.state, lost_once(view)) == (State.COMPLETE, True)
    assert [run for _, run, _ in stamps(file)] == [1, 2, 2], "nothing of the late run, and nothing twice"
    assert await stored(dsn, uid) == [
        *(
            "text",
            "call stamp",
            "result stamp",
            "call wait_for_run",
            "call wait_for_run",
            "result wait_for_run",
        ),
        *("call stamp", "result stamp", "call stamp", "result stamp", "text"),
    ]


async def test_h13_a_stopped_worker_whose_jobs_nobody_took_goes_on_when_it_wakes(
    dsn: str, start: Start, tmp_path: Path
) -> None:
    """A laptop that was closed: all deadlines are long over, and the first beat renews the lease."""
    gate, grace = tmp_path / "gate", 5.0
    worker = start(lease_grace_seconds=grace)
    async with await Queue.open(dsn, expiry_seconds=EXPIRY_SECONDS) as queue:
        await worker.event("template.ready")
        (uid,) = await submit(queue, job(call("wait_for_run", file=str(gate)), max_attempts=1))
        await until(Path(f"{gate}.1.inside").exists, "the run is inside its tool")
        stopped = family(worker.pid)
        send(signal.SIGSTOP, stopped)
        await asyncio.sleep(EXPIRY_SECONDS + grace + 3)
        send(signal.SIGCONT, stopped)
        let_through(gate, 1)
        view = await state_of(queue, uid)
    assert (view.state, view.result, view.attempts) == (State.COMPLETE, "run 1", 1)


async def test_h13_the_runs_of_a_stopped_supervisor_stop_by_themselves_at_the_deadline(
    dsn: str, start: Start, tmp_path: Path
) -> None:
    file, steps = tmp_path / "stamps", 30  # of 0.2 s at least: longer than the lease, on any machine
    message = "\n".join(call("stamp", file=str(file), note=str(n), seconds=0.2) for n in range(steps))
    first = start(lease_grace_seconds=1.5)
    async with await Queue.open(dsn, expiry_seconds=EXPIRY_SECONDS) as queue:
        await first.event("template.ready")
        (uid,) = await submit(queue, job(message))
        await until(lambda: len(stamps(file)) > 2, "the run makes one call after the other")
        executors = [pid for pid in family(first.pid) if pid != first.pid][1:]
        send(signal.SIGSTOP, [first.pid])
        deadline = await lease_end(dsn)
        start()
        innocent = await submit(queue, *(job(f"hello {n}", module="innocent") for n in range(20)))
        await until(lambda: not any(alive(pid) for pid in executors), "the runs end after the grace")
        view = await state_of(queue, uid, seconds=240)
        others = [await state_of(queue, one) for one in innocent]
        send(signal.SIGCONT, [first.pid])
        await first.event("worker.expired")
    assert [other.result for other in others] == [f"hello {n}" for n in range(20)]
    assert (view.state, lost_once(view)) == (State.COMPLETE, True)
    late = [began for began, run, _ in stamps(file) if run == 1 and began > deadline]
    assert len(late) <= 1, "past the deadline began no call but one that was let through right before it"
    notes = [int(note) for _, _, note in stamps(file)]
    assert sorted(set(notes)) == list(range(steps))
    assert len(notes) <= steps + 1, "at most the call that was under way is repeated"


async def lease_end(dsn: str) -> float:
    """By ``boot_seconds``: an expiry after the newest beat that Postgres has of any worker."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        cursor = await connection.execute(
            "select extract(epoch from clock_timestamp() - max(beat_at)) from agentjobs.worker"
        )
        row = await cursor.fetchone()
    assert row is not None
    return boot_seconds() - float(row[0]) + EXPIRY_SECONDS


async def test_h11_h13_runs_end_after_the_grace_of_a_long_outage_and_nothing_is_charged(
    own_postgres: EmbeddedPostgres, path: str
) -> None:
    dsn = own_postgres.dsn("agentjobs")
    memory = worker_config(dsn, path).settings
    config = worker_config(
        dsn,
        path,
        **{**SHORT, "expiry_seconds": 3 * EXPIRY_SECONDS},  # a busy machine must not end a second lease
        lease_grace_seconds=0.5,
        settings=type(memory)(modules=memory.modules, models=memory.models),
    )
    async with await Queue.open(dsn) as queue, running_worker(config) as worker:
        uids = await submit(queue, *(job(call("wait_in_first_run"), max_attempts=1) for _ in range(3)))
        for uid in uids:
            await state_of(queue, uid, State.RUNNING)
        before = worker.identity.uuid
        own_postgres.kill()
        await until(lambda: len(worker.runs.unacked) == 3, "the runs have ended while the database is away")
        own_postgres.restart()
        views = [await state_of(queue, uid) for uid in uids]
        await is_ready(worker)
        assert worker.identity.uuid == before
    assert [(view.state, view.result, view.attempts) for view in views] == [(State.COMPLETE, "run 2", 1)] * 3
    assert {(v.attempts_log[0].reason, v.attempts_log[0].charged) for v in views} == {("LeaseExpired", False)}
