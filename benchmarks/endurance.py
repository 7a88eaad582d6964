"""What is left of many short jobs: memory, processes, descriptors, threads, files and connections of one worker.

One worker process with ten slots and its sessions in Postgres, as deployed; inline agents on ``echo``, one model call
each. And how long a slot takes to be free again after its run's process has died.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import psycopg

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import JobView, NewJob, State
from agentjobs.worker.process import linux
from benchmarks import report
from benchmarks.clients import ROOT
from benchmarks.parts import Part, part
from benchmarks.report import Options, Table, number
from benchmarks.server import Server

JOBS = 10_000
WARM_JOBS = 500
STEPS = 5
CRASHES = 100
_BATCH = 500
_LIMIT_SECONDS = 3600.0
_POLL_SECONDS = 2.0
"""Counting finished jobs costs Postgres more, the more there are."""
_MODULE = "benchmarks.agents"
_FLAGS = (
    *("--queue=agents=10", "--queue=one=1", "--model=echo"),
    *(f"--module={_MODULE}", f"--preload={_MODULE}"),
)
_INLINE = {"inline": {"type": "llm", "name": "echo", "model": "echo", "instruction": "Answer."}}
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Left:
    """What the worker holds while it is idle."""

    supervisor_mib: float
    template_mib: float
    processes: int
    descriptors: tuple[int, int]
    """Of supervisor and template."""
    threads: tuple[int, int]
    files: int
    """Below the worker's TMPDIR and in /dev/shm."""
    connections: int

    def row(self, jobs: int) -> tuple[str, ...]:
        return (
            f"{jobs:,}",
            number(self.supervisor_mib),
            number(self.template_mib),
            str(self.processes),
            " + ".join(map(str, self.descriptors)),
            " + ".join(map(str, self.threads)),
            str(self.files),
            str(self.connections),
        )


def job(message: str, *, agent: dict[str, object] | None = None, queue: str = "agents") -> NewJob:
    uid = uuid4()
    payload = {
        "v": 1,
        "namespace": "bench",
        "name": uid.hex[:8],
        "agent": agent or _INLINE,
        "message": message,
    }
    return NewJob(uid, payload, queue=queue, max_attempts=1)


async def finish(queue: Queue, jobs: int) -> None:
    """Enqueues that many and waits until none is left."""
    for start in range(0, jobs, _BATCH):
        await queue.enqueue([job(f"hello {n}") for n in range(start, min(jobs, start + _BATCH))])
    await until_idle(queue)


async def until_idle(queue: Queue) -> None:
    deadline = time.monotonic() + _LIMIT_SECONDS
    final = {State.COMPLETE, State.FAILED}
    while any(n for (_, state), n in (await queue.counts()).items() if state not in final):
        if time.monotonic() > deadline:
            raise RuntimeError(f"jobs are left after {_LIMIT_SECONDS:.0f} s")
        await asyncio.sleep(_POLL_SECONDS)


async def left_of(worker: Part, dsn: str, folder: Path) -> Left:
    """Looked at when the last executors are gone, and the next standby waits."""
    supervisor = worker.process.pid
    deadline = time.monotonic() + 30
    while True:
        processes = linux.processes()
        template = next(pid for pid, one in processes.items() if one.parent == supervisor)
        executors = [pid for pid, one in processes.items() if one.parent == template]
        if len(executors) <= 1 or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)  # the standby's touch, and the memory that it returns
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        cursor = await connection.execute(
            "select count(*) from pg_stat_activity where application_name like 'agentjobs%'"
        )
        row = await cursor.fetchone()
    return Left(
        supervisor_mib=processes[supervisor].resident_bytes / _MIB,
        template_mib=processes[template].resident_bytes / _MIB,
        processes=2 + len(executors),
        descriptors=(descriptors(supervisor), descriptors(template)),
        threads=(threads(supervisor), threads(template)),
        files=files_below(folder),
        connections=row[0] if row else 0,
    )


def files_below(folder: Path) -> int:
    """And in shared memory."""
    return sum(path.is_file() for path in [*folder.rglob("*"), *Path("/dev/shm").glob("*agentjobs*")])


def descriptors(pid: int) -> int:
    """Needs root, or the right to trace: the supervisor forbids it to its own user."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


async def endure(worker: Part, dsn: str, folder: Path, options: Options) -> Table:
    jobs, warm = options.count(JOBS, 50), options.count(WARM_JOBS, 20)
    rows = []
    async with await Queue.open(dsn) as queue:
        await finish(queue, warm)
        rows.append((await left_of(worker, dsn, folder)).row(warm))
        for step in range(1, STEPS + 1):
            await finish(queue, jobs // STEPS)
            rows.append((await left_of(worker, dsn, folder)).row(warm + step * (jobs // STEPS)))
        failed = sum(n for (_, state), n in (await queue.counts()).items() if state is State.FAILED)
    if failed:
        raise RuntimeError(f"{failed} of {jobs + warm} jobs failed")
    return Table(
        f"{jobs:,} short jobs through one worker",
        "python -m benchmarks.endurance",
        (
            *("jobs so far", "supervisor MiB", "template MiB", "processes"),
            *("descriptors", "threads", "files", "connections"),
        ),
        rows,
        "Resident memory, idle, supervisor + template; the standby is the third process. Aim: flat, and nothing left over",
    )


async def slot(dsn: str, folder: Path, options: Options) -> Table:
    deaths = folder / "deaths"
    message = f'echo:call crash {{"file": "{deaths}"}}'
    crashing = [
        job(message, agent={"module": f"{_MODULE}:mortal"}, queue="one")
        for _ in range(options.count(CRASHES, 5) + 1)
    ]
    async with await Queue.open(dsn) as queue:
        await queue.enqueue(crashing)
        await until_idle(queue)
        views = [await seen(queue, one.uid) for one in crashing]
    died = sorted(float(line) for line in deaths.read_text().splitlines())
    claimed = sorted(view.attempts_log[-1].started_at.timestamp() for view in views)
    ms = [(after - before) * 1000 for before, after in zip(died, claimed[1:], strict=False)]
    deaths.unlink()
    return Table(
        "A slot after the death of its run's process",
        "python -m benchmarks.endurance",
        ("deaths", "p50 ms", "p95 ms", "longest ms"),
        [
            (
                str(len(ms)),
                number(report.percentile(ms, 0.5)),
                number(report.percentile(ms, 0.95)),
                number(max(ms)),
            )
        ],
        "From ``os._exit`` in a tool to the claim of the slot's next job. Aim: less than 200 ms".replace(
            "``", "`"
        ),
    )


async def seen(queue: Queue, uid: UUID) -> JobView:
    view = await queue.show(uid)
    if view is None:
        raise RuntimeError(f"job {uid} is gone")
    return view


def run(options: Options) -> list[Table]:
    with (
        Server() as server,
        server.database() as dsn,
        tempfile.TemporaryDirectory(prefix="agentjobs-bench-") as logs,
        tempfile.TemporaryDirectory(prefix="agentjobs-bench-") as scratch,
        part(
            "worker",
            *_FLAGS,
            dsn=dsn,
            folder=Path(logs),
            env={"TMPDIR": scratch, "AGENTJOBS_PATH": str(ROOT)},
        ) as worker,
    ):
        folder = Path(scratch)
        return [
            asyncio.run(endure(worker, dsn, folder, options)),
            asyncio.run(slot(dsn, folder, options)),
        ]


if __name__ == "__main__":
    report.main(run, __doc__)
