"""The template's own life: unfit modules, its death, the supervisor's death."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agentjobs.worker.process.ended import Ended
from agentjobs.worker.process.handle import ExecutorHandle
from agentjobs.worker.process.pool import ExecutorPool
from processes import alive, until
from worker_agents import call, write_modules
from worker_builders import attempt_spec_of, executor_settings


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write_modules(tmp_path / "modules")


async def warm(executors: ExecutorPool) -> None:
    async with asyncio.timeout(90):
        await executors.wait_ready()


async def end_of(executor: ExecutorHandle) -> Ended:
    async with asyncio.timeout(60):
        return await executor.ended()


async def test_modules_unfit_for_the_template_are_left_out_and_named_and_work_in_the_executor(
    path: str,
) -> None:
    preload = ("starts_thread", "fails", "dies", "innocent")
    async with ExecutorPool(executor_settings(path, preload=preload, standbys=0)) as executors:
        await warm(executors)
        assert executors.templates == 4, "a fresh one after each unfit module"
        thread, fails, dies = executors.warnings
        assert "starts_thread is not preloaded: its import starts 1 thread(s)" in thread
        assert "fails is not preloaded" in fails
        assert "this module is broken" in fails
        assert "dies is not preloaded: the process died while importing it" in dies
        assert executors.template_pid is not None
        assert len(os.listdir(f"/proc/{executors.template_pid}/task")) == 1

        threaded = await end_of(await executors.spawn(attempt_spec_of("hi", "starts_thread"), lambda _: None))
        assert threaded.outcome is not None
        assert threaded.outcome.result == "hi"
        broken = await end_of(await executors.spawn(attempt_spec_of("hi", "fails"), lambda _: None))
        assert broken.outcome is not None
        assert broken.outcome.reason == "AgentInvalid"
        died = await end_of(await executors.spawn(attempt_spec_of("hi", "dies"), lambda _: None))
        assert (died.outcome, died.exit_status) == (None, 9)


async def test_when_the_template_dies_its_runs_end_nothing_is_left_and_the_next_one_works(
    path: str, tmp_path: Path
) -> None:
    file = tmp_path / "pids"
    async with ExecutorPool(executor_settings(path, standbys=2)) as executors:
        await warm(executors)
        message = call("leave_processes", file=str(file), wait=600)
        executor = await executors.spawn(attempt_spec_of(message), lambda _: None)
        await until(file.exists, "the run has its processes")
        pids = [int(pid) for pid in file.read_text().split()]
        template = executors.template_pid
        assert template is not None
        os.kill(template, signal.SIGKILL)

        ended = await end_of(executor)
        assert ended.outcome is None
        assert "template process ended with status -9" in ended.never_ran
        await until(lambda: not any(alive(pid) for pid in pids), f"{pids} are gone")
        assert not executors.ready or executors.template_pid != template

        await warm(executors)
        after = await end_of(await executors.spawn(attempt_spec_of("hi", "innocent"), lambda _: None))
        assert after.outcome is not None
        assert after.outcome.result == "hi"
        assert executors.templates == 2


async def test_a_spawn_waits_for_the_next_template(path: str) -> None:
    async with ExecutorPool(executor_settings(path)) as executors:
        spawning = asyncio.ensure_future(executors.spawn(attempt_spec_of("hi", "innocent"), lambda _: None))
        ended = await end_of(await spawning)
        assert ended.outcome is not None
        assert ended.outcome.result == "hi"


async def test_the_end_of_the_supervisor_ends_all(path: str, tmp_path: Path) -> None:
    async with ExecutorPool(executor_settings(path, standbys=2)) as executors:
        await warm(executors)
        file = tmp_path / "pids"
        message = call("leave_processes", file=str(file), wait=600)
        executor = await executors.spawn(attempt_spec_of(message), lambda _: None)
        await until(file.exists, "the run has its processes")
        pids = [int(pid) for pid in file.read_text().split()]
        template = executors.template_pid
        assert template is not None
    assert not alive(template)
    assert not any(alive(pid) for pid in pids)
    assert (await end_of(executor)).outcome is None


SUPERVISOR = """
import asyncio, os, sys
from worker_agents import call
from worker_builders import attempt_spec_of, executor_settings
from agentjobs.worker.process.pool import ExecutorPool

async def main(path, file):
    async with ExecutorPool(executor_settings(path, standbys=2)) as executors:
        await executors.wait_ready()
        message = call("leave_processes", file=file, wait=600)
        await executors.spawn(attempt_spec_of(message), lambda _: None)
        await executors.spawn(attempt_spec_of(call("burn_deaf")), lambda _: None)
        print(executors.template_pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


def start_supervisor(path: str, file: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "support")}
    command = [sys.executable, "-c", SUPERVISOR, path, file]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)


async def test_nothing_outlives_a_supervisor_that_is_killed(path: str, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    supervisor = start_supervisor(path, str(file))
    try:
        await until(file.exists, "the run has its processes", seconds=90)
        assert supervisor.stdout is not None
        template = int(supervisor.stdout.readline())
        pids = [template, *(int(pid) for pid in file.read_text().split()), *descendants(template)]
        assert len(pids) >= 8
    finally:
        supervisor.kill()
        supervisor.wait()
    await until(lambda: not any(alive(pid) for pid in pids), f"{pids} are gone")


def descendants(pid: int) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found
