"""After many short jobs a worker holds what it held before. 10,000 of them: python -m benchmarks.endurance."""

from __future__ import annotations

import gc
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State
from agentjobs.worker.process import linux
from agentjobs.worker.supervisor.supervisor import Worker
from processes import family, until
from worker_agents import call, write_modules
from workers import job, running_worker, state_of, submit, worker_config

WARM_JOBS = 30
JOBS = 150
FEW = 5
OBJECTS = 3 * JOBS
"""Of Python's; a pool's new connection is some hundred, and one run that is kept is dozens."""
MEMORY_MIB = 8
"""What the allocators may keep; a kilobyte a job would be seen in the benchmark, a whole process here."""


@dataclass(frozen=True)
class Held:
    processes: int
    descriptors: dict[str, int]
    threads: int
    files: int
    objects: int

    def no_more_than(self, before: Held) -> bool:
        """Pools may have opened a connection more; a leak would show with every job."""
        return (
            self.processes == before.processes
            and self.files == before.files
            and self.threads <= before.threads + FEW
            and self.objects <= before.objects + OBJECTS
            and all(count <= before.descriptors[name] + FEW for name, count in self.descriptors.items())
        )


def held(worker: Worker, scratch: Path) -> Held:
    template = worker.executors.template_pid
    assert template is not None
    gc.collect()
    files = [p for p in [*scratch.rglob("*"), *Path("/dev/shm").glob("*agentjobs*")] if p.is_file()]
    return Held(
        processes=len(family(template)),
        descriptors={
            "supervisor": len(os.listdir("/proc/self/fd")),
            "template": len(os.listdir(f"/proc/{template}/fd")),
        },
        threads=threading.active_count(),
        files=len(files),
        objects=len(gc.get_objects()),
    )


def resident_mib(worker: Worker) -> list[float]:
    """Of supervisor (here: the whole test) and template."""
    processes = linux.processes()
    return [
        processes[pid].resident_bytes / 2**20 for pid in (os.getpid(), worker.executors.template_pid or 0)
    ]


async def play(queue: Queue, jobs: int) -> None:
    messages = ["hello", call("shout", mib=0), call("crash"), call("note", file=os.devnull), "echo:fail 400"]
    uids = await submit(queue, *(job(messages[n % 5], max_attempts=1) for n in range(jobs)))
    for uid in uids:
        assert (await state_of(queue, uid, seconds=240)).state in (State.COMPLETE, State.FAILED)


async def test_many_short_jobs_leave_nothing_behind(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    config = worker_config(dsn, write_modules(tmp_path / "modules"))
    async with await Queue.open(dsn) as queue, running_worker(config) as worker:

        def idle() -> bool:
            template = worker.executors.template_pid
            one_standby = template is not None and len(family(template)) == 2
            return one_standby and worker.executors.idle_standbys == 1 and not worker.runs.unacked

        await play(queue, WARM_JOBS)
        await until(idle, "the worker is idle")
        before, memory = held(worker, scratch), resident_mib(worker)
        await play(queue, JOBS)
        await until(idle, "the worker is idle again")
        await until(lambda: held(worker, scratch).no_more_than(before), f"no more than {before}")
        grown = [after - then for after, then in zip(resident_mib(worker), memory, strict=True)]
        assert max(grown) < MEMORY_MIB
