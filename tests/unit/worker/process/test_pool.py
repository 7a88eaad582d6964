"""Executors: real processes forked from a real template, and everything that a tool can do to them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agentjobs.agents.verdict.outcome import AgentEvent, Verdict
from agentjobs.worker.process.ended import Ended
from agentjobs.worker.process.handle import ExecutorHandle
from agentjobs.worker.process.pool import ExecutorPool
from agentjobs.worker.process.stopping import Why
from agentjobs.worker.supervisor.acks import crash_message
from processes import alive, until
from worker_agents import call, write_modules
from worker_builders import MEMORY_MIB, attempt_spec_of, executor_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_modules(tmp_path_factory.mktemp("modules"))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def executors(path: str) -> AsyncIterator[ExecutorPool]:
    async with ExecutorPool(executor_settings(path)) as made:
        async with asyncio.timeout(60):
            await made.wait_ready()
        yield made


async def run(executors: ExecutorPool, message: str, **changes: Any) -> Ended:
    executor = await executors.spawn(attempt_spec_of(message, **changes), lambda _: None)
    return await end_of(executor)


async def end_of(executor: ExecutorHandle) -> Ended:
    async with asyncio.timeout(60):
        return await executor.ended()


async def spawn_waiting(executors: ExecutorPool) -> ExecutorHandle:
    """A run that is inside an async tool, and would stay there."""
    inside = asyncio.Event()

    def saw(event: AgentEvent) -> None:
        if event.kind == "tool_call":
            inside.set()

    executor = await executors.spawn(attempt_spec_of(call("wait")), saw)
    patient(executor)
    async with asyncio.timeout(60):
        await inside.wait()
    return executor


def patient(executor: ExecutorHandle) -> None:
    """No harder step comes while a busy machine has it wait for the CPU: what it does, it does by itself."""
    executor._grace_seconds = 120


async def stopped_inside(executors: ExecutorPool, tool: str, why: Why, file: Path) -> Ended:
    """The end of a run that was stopped when it was inside ``tool``, which makes ``file``."""
    executor = await executors.spawn(attempt_spec_of(call(tool, file=str(file))), lambda _: None)
    await until(file.exists, "the run is inside its tool")
    executor.stop(why)
    return await end_of(executor)


def answer(ended: Ended) -> str | None:
    assert ended.outcome is not None, crash_message(ended)
    return ended.outcome.result


async def test_an_answer_its_events_and_what_was_printed_arrive(executors: ExecutorPool) -> None:
    seen: list[AgentEvent] = []
    executor = await executors.spawn(attempt_spec_of(call("shout", mib=0)), seen.append)
    ended = await end_of(executor)
    assert answer(ended) == "shouted"
    assert [(event.kind, event.tool) for event in seen] == [
        ("tool_call", "shout"),
        ("tool_result", "shout"),
        ("text", ""),
    ]
    assert ended.event_count == 3
    assert ended.log_tail == "the end\n"
    assert ended.cpu_seconds > 0
    assert ended.max_resident_bytes > 0


async def test_what_adk_logs_beside_the_answer_is_printed_and_in_the_outcome(executors: ExecutorPool) -> None:
    ended = await run(executors, call("no_such_tool"))
    assert ended.outcome is not None
    assert ended.outcome.verdict is Verdict.COMPLETE
    (warning,) = ended.outcome.warnings
    assert ended.log_tail == f"warning: {warning}\n"
    assert warning in ended.outcome.message


async def test_events_arrive_while_the_run_goes_on(executors: ExecutorPool) -> None:
    executor = await spawn_waiting(executors)
    assert not executor.done
    executor.kill()
    await end_of(executor)


@pytest.mark.parametrize(
    ("message", "status"), [(call("crash", status=7), 7), (call("segfault"), -11)], ids=["_exit", "segfault"]
)
async def test_a_crash_is_its_own_runs_only_and_has_its_exact_status(
    executors: ExecutorPool, message: str, status: int
) -> None:
    ended = await run(executors, message)
    assert (ended.outcome, ended.exit_status, ended.why) == (None, status, None)
    assert answer(await run(executors, "next", module="innocent")) == "next"


@pytest.mark.parametrize("tool", ["leave", "leave_async"])
async def test_sys_exit_in_a_tool_is_a_crash_and_no_cancel(executors: ExecutorPool, tool: str) -> None:
    ended = await run(executors, call(tool))
    assert not ended.cancelled
    assert ended.outcome is None
    assert "sys.exit" in ended.crash


async def test_an_endless_loop_is_stopped_at_its_timeout(executors: ExecutorPool, tmp_path: Path) -> None:
    ended = await stopped_inside(executors, "burn", Why.TIMEOUT, tmp_path / "inside")
    assert (ended.outcome, ended.exit_status, ended.why) == (None, -15, Why.TIMEOUT)


async def test_an_endless_loop_that_ignores_sigterm_is_killed(
    executors: ExecutorPool, tmp_path: Path
) -> None:
    ended = await stopped_inside(executors, "burn_deaf", Why.TIMEOUT, tmp_path / "inside")
    assert (ended.outcome, ended.exit_status, ended.why) == (None, -9, Why.TIMEOUT)


async def test_an_endless_loop_in_a_tools_thread_hears_the_cancel(path: str) -> None:
    settings = executor_settings(path)
    settings = replace(settings, agents=replace(settings.agents, tool_threads=1))
    async with ExecutorPool(settings) as executors:
        executor = await executors.spawn(attempt_spec_of(call("burn_in_thread"), timeout=1), lambda _: None)
        patient(executor)
        ended = await end_of(executor)
    assert (ended.cancelled, ended.why) == (True, Why.TIMEOUT)


@pytest.mark.parametrize("why", [Why.CANCEL, Why.DEADLINE, Why.TIMEOUT, Why.SUSPEND, Why.DRAIN])
async def test_a_synchronous_tool_keeps_nobody_from_stopping_its_run(
    executors: ExecutorPool, tmp_path: Path, why: Why
) -> None:
    ended = await stopped_inside(executors, "sleep", why, tmp_path / "inside")
    assert (ended.outcome, ended.exit_status, ended.why) == (None, -15, why)


async def test_what_a_run_did_is_told_before_its_synchronous_tool_begins(
    executors: ExecutorPool, tmp_path: Path
) -> None:
    seen: list[AgentEvent] = []
    file = tmp_path / "inside"
    executor = await executors.spawn(attempt_spec_of(call("sleep", file=str(file))), seen.append)
    await until(file.exists, "the run is inside its tool")
    await until(lambda: executor.usage.tool_calls, "its usage has come")
    assert [(event.kind, event.tool) for event in seen] == [("tool_call", "sleep")]
    assert (executor.usage.llm_calls, executor.usage.tool_calls) == (1, 1)
    assert executor.usage.total_tokens > 0
    executor.kill()
    assert (await end_of(executor)).usage == executor.usage


@pytest.mark.parametrize(("why", "verdict"), [(Why.CANCEL, Verdict.CANCELLED), (Why.DRAIN, None)])
async def test_a_stop_is_heard_when_a_synchronous_tool_ends_in_time(
    executors: ExecutorPool, tmp_path: Path, why: Why, verdict: Verdict | None
) -> None:
    file = tmp_path / "inside"
    executor = await executors.spawn(
        attempt_spec_of(call("sleep", file=str(file), seconds=1.0)), lambda _: None
    )
    patient(executor)
    await until(file.exists, "the run is inside its tool")
    executor.stop(why)
    ended = await end_of(executor)
    assert (ended.outcome and ended.outcome.verdict, ended.exit_status, ended.why) == (verdict, None, why)


@pytest.mark.parametrize("why", [Why.DRAIN, Why.SUSPEND])
async def test_h27_a_resumable_stop_cancels_the_task(executors: ExecutorPool, why: Why) -> None:
    executor = await spawn_waiting(executors)
    executor.stop(why)
    ended = await end_of(executor)
    assert (ended.cancelled, ended.outcome, ended.why) == (True, None, why)


@pytest.mark.parametrize("why", [Why.CANCEL, Why.DEADLINE])
async def test_h27_a_users_cancel_lets_adk_seal_the_history(executors: ExecutorPool, why: Why) -> None:
    executor = await spawn_waiting(executors)
    executor.stop(why)
    ended = await end_of(executor)
    assert ended.outcome is not None, "the run ended by itself, before any harder step"
    assert (ended.outcome.verdict, ended.why) == (Verdict.CANCELLED, why)


async def test_a_lost_run_is_killed_at_once(executors: ExecutorPool) -> None:
    executor = await spawn_waiting(executors)
    executor.stop(Why.LOST)
    ended = await end_of(executor)
    assert (ended.exit_status, ended.why) == (-9, Why.LOST)


async def test_a_heavier_reason_replaces_a_lighter_one(executors: ExecutorPool) -> None:
    executor = await executors.spawn(attempt_spec_of(call("burn_deaf")), lambda _: None)
    executor.stop(Why.DRAIN)
    executor.stop(Why.CANCEL)
    executor.stop(Why.SUSPEND)
    ended = await end_of(executor)
    assert ended.why is Why.CANCEL


async def test_a_stop_right_after_the_start_is_heard(executors: ExecutorPool) -> None:
    """Before the process exists: the message waits in its socket."""
    for _ in range(3):
        executor = await executors.spawn(attempt_spec_of(call("wait")), lambda _: None)
        executor.stop(Why.DRAIN)
        ended = await end_of(executor)
        assert ended.why is Why.DRAIN
        assert ended.outcome is None


async def test_a_memory_bomb_is_stopped_by_its_own_limit(executors: ExecutorPool) -> None:
    ended = await run(executors, call("eat", mib=4 * MEMORY_MIB))
    assert ended.outcome is None or ended.outcome.verdict is not Verdict.COMPLETE
    assert ended.max_resident_bytes < (MEMORY_MIB + 200) * 2**20
    assert answer(await run(executors, "next", module="innocent")) == "next"


async def test_a_memory_bomb_of_several_processes_is_killed_by_the_watchdog(executors: ExecutorPool) -> None:
    ended = await run(executors, call("eat_with_children", children=4, mib=MEMORY_MIB // 2 - 20))
    assert (ended.exit_status, ended.why) == (-9, Why.MEMORY)


async def test_memory_below_the_limit_is_nobodys_business(executors: ExecutorPool) -> None:
    assert answer(await run(executors, call("count_pages", mib=MEMORY_MIB // 2))) == "touched"


@pytest.mark.parametrize("killed", [False, True], ids=["after an answer", "after a kill"])
async def test_no_process_outlives_its_run(executors: ExecutorPool, tmp_path: Path, killed: bool) -> None:
    file = tmp_path / "pids"
    seconds = 600.0 if killed else 0.0
    executor = await executors.spawn(
        attempt_spec_of(call("leave_processes", file=str(file), wait=seconds)), lambda _: None
    )
    await until(file.exists, "the processes are there")
    pids = [int(pid) for pid in file.read_text().split()]
    assert len(pids) == 4
    if killed:
        assert all(alive(pid) for pid in pids)
        executor.kill()
    ended = await end_of(executor)
    await until(lambda: not any(alive(pid) for pid in pids), f"{pids} are gone")
    assert ended.exit_status == (-9 if killed else None)


async def test_a_thread_that_a_tool_left_does_not_keep_the_process(executors: ExecutorPool) -> None:
    assert answer(await run(executors, call("leave_thread"))) == "left"


async def test_100_mb_of_output_are_drained_and_the_last_64_kib_kept(executors: ExecutorPool) -> None:
    ended = await run(executors, call("shout", mib=100))
    assert answer(ended) == "shouted"
    assert len(ended.log_tail.encode()) == 64 * 1024
    assert ended.log_tail.endswith("y\nthe end\n")


async def test_an_executor_has_its_own_descriptors_and_environment_only(executors: ExecutorPool) -> None:
    beside = await spawn_waiting(executors)
    assert answer(await run(executors, call("environment", name="SEEN"))) == "by agents"
    few, again = [await run(executors, call("descriptors")) for _ in range(2)]
    assert answer(few) == answer(again)
    assert int(answer(few) or 0) < 15
    beside.kill()
    await end_of(beside)


async def test_twenty_innocent_runs_beside_every_abuse_all_answer(
    executors: ExecutorPool, tmp_path: Path
) -> None:
    abuses = [
        call("crash"),
        call("segfault"),
        call("leave"),
        call("burn_deaf"),
        call("eat", mib=4 * MEMORY_MIB),
        call("leave_processes", file=str(tmp_path / "pids")),
        call("shout", mib=20),
    ]
    bad = [run(executors, message, timeout=2) for message in abuses]
    good = [run(executors, f"answer {n}", module="innocent") for n in range(20)]
    ends = await asyncio.gather(*good, *bad)
    assert [answer(ended) for ended in ends[:20]] == [f"answer {n}" for n in range(20)]


async def test_the_template_has_one_thread_and_stands_by(executors: ExecutorPool) -> None:
    assert executors.template_pid is not None
    assert len(os.listdir(f"/proc/{executors.template_pid}/task")) == 1
    await until(lambda: executors.idle_standbys == 1, "a standby is touched")
    assert executors.templates == 1, "nothing above has harmed the template"
