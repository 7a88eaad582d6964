"""Workers for the tests: in the test's own process, or in one of their own that can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.queue.errors import QueueUnavailable
from agentjobs.queue.listen import Note
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import FINAL_STATES, JobView, NewJob, RetryPolicy, State
from agentjobs.worker.supervisor.config import WorkerConfig
from agentjobs.worker.supervisor.supervisor import Worker
from processes import until

QUICK = RetryPolicy(initial_delay_seconds=1, factor=1, max_delay_seconds=1)
UNTOLD = {
    "poll_seconds": 3600.0, "heartbeat_seconds": 3600.0, "tick_seconds": 3600.0, "expiry_seconds": 10_800.0,
}  # fmt: skip
"""Of a worker that no poll, no beat and no tick tells of work. See :func:`untold`."""


def worker_config(dsn: str, path: str, **changes: Any) -> WorkerConfig:
    """Five slots of queue ``agents``, sessions in the same database, short times."""
    modules = tuple(changes.pop("modules", ("abuse", "innocent")))
    settings = AgentSettings(modules=modules, preload=modules, session_dsn=dsn, models=("echo",))
    values: dict[str, Any] = {
        "dsn": dsn,
        "queues": {"agents": 5},
        "settings": settings,
        "name": "test-worker",
        "drain_seconds": 1.0,
        "stop_grace_seconds": 1.0,
        "path": (path,),
        "own_process": False,
        "memory_limit_mib": 256,
    }
    return WorkerConfig(**(values | changes))


def job(message: str = "hello", *, module: str = "abuse", **fields: Any) -> NewJob:
    uid = fields.pop("uid", None) or uuid4()
    payload = {
        "v": 1,
        "namespace": "team",
        "name": f"job-{uid.hex[:6]}",
        "agent": {"module": module},
        "message": message,
    }
    return NewJob(**{"uid": uid, "payload": payload, "retry": QUICK, **fields})


async def submit(queue: Queue, *jobs: NewJob) -> list[UUID]:
    await queue.enqueue(jobs)
    return [one.uid for one in jobs]


async def seen(queue: Queue, uid: UUID) -> JobView | None:
    """The job as it is now; None: not known, or the database is away at the moment."""
    try:
        return await queue.show(uid)
    except QueueUnavailable:
        return None


async def state_of(queue: Queue, uid: UUID, *states: State, seconds: float = 60.0) -> JobView:
    """Waits until the job is in one of the states (none given: has ended)."""
    wanted = states or tuple(FINAL_STATES)
    view = None
    try:
        async with asyncio.timeout(seconds):
            while (view := await seen(queue, uid)) is None or view.state not in wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.03)
    except TimeoutError:
        raise AssertionError(f"job {uid} is not {wanted} within {seconds} s: {view}") from None
    return view


async def step_of(queue: Queue, uid: UUID, tool: str) -> None:
    """Waits until a progress report says that the run is inside that tool."""
    async with asyncio.timeout(60):
        while (view := await seen(queue, uid)) is None or view.step != tool:  # noqa: ASYNC110
            await asyncio.sleep(0.03)


@asynccontextmanager
async def running_worker(
    config: WorkerConfig, queue: type[Queue] = Queue, *, ready: bool = True
) -> AsyncIterator[Worker]:
    """A worker in this process; at the end it must drain cleanly."""
    worker = Worker(config, queue=queue)
    running = asyncio.ensure_future(worker.run())
    try:
        if ready:
            await is_ready(worker)
        yield worker
    finally:
        for _ in range(3):
            worker.drain("the test ends")
        async with asyncio.timeout(60):
            status = await running
    assert status == 0


async def is_ready(worker: Worker) -> None:
    try:
        async with asyncio.timeout(90):
            while worker.problems():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"the worker is not ready: {worker.problems()}") from None


class Unpolled(Queue):
    """The real queue; its listeners ask for a poll once, and then no more, whatever becomes of their connections."""

    async def listen(self, *args: Any, **options: Any) -> AsyncGenerator[Note, None]:
        asked = False
        async with aclosing(super().listen(*args, **options)) as notes:
            async for note in notes:
                if note.kind != "poll" or not asked:
                    yield note
                asked = asked or note.kind == "poll"


@asynccontextmanager
async def untold(dsn: str, path: str, **changes: Any) -> AsyncIterator[tuple[Worker, Queue]]:
    """A worker that looks out for its queues, and its queue. What it does not hear of by a call, or notice by itself, it does not
    notice: within the hour comes no poll, no beat, no tick and no look."""
    config = worker_config(dsn, path, **{**UNTOLD, **changes})
    async with (
        await Queue.open(dsn, expiry_seconds=UNTOLD["expiry_seconds"]) as queue,
        running_worker(config, Unpolled) as worker,
    ):
        worker.identity.beat_wanted.set()  # its first one was sent before it was ready, and gave it no seat
        await until(lambda: worker.identity.seats, "it has a seat")
        yield worker, queue


SCRIPT = """
import asyncio, ctypes, json, os, sys
import uvloop
from agentjobs.telemetry.log import configure
from workers import worker_config
from agentjobs.worker.supervisor.supervisor import Worker

async def main():
    options = json.loads(sys.argv[1])
    configure("info")
    worker = Worker(worker_config(os.environ.pop("DSN"), options.pop("path"), own_process=True, **options))
    status = await worker.run()
    heavy = [m for m in ("google.adk", "google.genai", "sqlalchemy", "kopf", "kubernetes") if m in sys.modules]
    dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE
    traced = "opentelemetry" in sys.modules
    end = {"event": "the end", "heavy_modules": heavy, "dumpable": dumpable, "opentelemetry": traced}
    print(json.dumps(end), file=sys.stderr, flush=True)
    return status

sys.exit(uvloop.run(main()))
"""


class WorkerProcess:
    """A worker in a process of its own, with its log in a file."""

    def __init__(self, dsn: str, path: str, folder: Path, **options: Any) -> None:
        self.log = folder / f"worker-{uuid4().hex[:6]}.log"
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parent),
            "DSN": dsn,
            "AGENTJOBS_DATABASE_URL": dsn,
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, json.dumps({"path": path, **options})],
                env=environment,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        whole = self.log.read_bytes().rpartition(b"\n")[0].decode()  # the last line may be half written
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [line for line in lines if name is None or line["event"] == name]

    def text(self) -> str:
        return self.log.read_text()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def event(self, name: str, seconds: float = 90.0) -> dict[str, Any]:
        """Waits for that line in the log."""
        async with asyncio.timeout(seconds):
            while True:
                ended = self.process.poll() is not None  # before the look: what it said last counts
                if found := self.events(name):
                    return found[-1]
                assert not ended, self.text()[-4000:]
                await asyncio.sleep(0.03)

    async def exit(self, seconds: float = 60.0) -> int:
        async with asyncio.timeout(seconds):
            while (status := self.process.poll()) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return status

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


Start = Callable[..., WorkerProcess]
"""Of the fixture ``start``."""


def end_all(workers: Iterable[WorkerProcess]) -> None:
    for worker in workers:
        worker.end()
