"""H13 in the executors: past the deadline nothing begins, whoever could tell them is stopped or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agentjobs.agents.verdict.outcome import AgentEvent
from agentjobs.worker.process.ended import Ended
from agentjobs.worker.process.handle import ExecutorHandle
from agentjobs.worker.process.lease import boot_seconds
from agentjobs.worker.process.pool import ExecutorPool
from agentjobs.worker.process.stopping import Why
from processes import until
from worker_agents import call, write_modules
from worker_builders import attempt_spec_of, executor_settings

Open = Callable[..., AbstractAsyncContextManager[ExecutorPool]]
LONG = 600.0
LEASE_SECONDS, SHORT_LEASE_SECONDS = 10.0, 3.0
"""Longer than a busy machine lets a process wait for the CPU; and where its end harms nobody, for the grace is long."""
NOTHING_HAPPENS_SECONDS = 0.5
"""Without the gate, a run takes a tenth of it for its next step."""


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def opened(grace: float = LONG, **changes: Any) -> AsyncIterator[ExecutorPool]:
        path = write_modules(tmp_path / "modules")
        settings = executor_settings(path, lease_grace_seconds=grace, standbys=0, **changes)
        async with ExecutorPool(settings) as executors:
            async with asyncio.timeout(60):
                await executors.wait_ready()
            yield executors

    return opened


async def start(
    executors: ExecutorPool, message: str, seen: list[AgentEvent] | None = None
) -> ExecutorHandle:
    return await executors.spawn(attempt_spec_of(message), (seen if seen is not None else []).append)


async def end_of(executor: ExecutorHandle) -> Ended:
    async with asyncio.timeout(60):
        return await executor.ended()


def let_through(gate: Path) -> None:
    Path(f"{gate}.1").touch()


def result_of(ended: Ended) -> str | None:
    assert ended.outcome is not None, ended
    return ended.outcome.result


async def test_h13_past_the_deadline_no_model_call_begins_until_the_renewal(
    opened: Open, tmp_path: Path
) -> None:
    gate, seen = tmp_path / "gate", list[AgentEvent]()
    async with opened() as executors:
        executor = await start(executors, call("wait_for_run", file=str(gate)), seen)
        await until(Path(f"{gate}.1.inside").exists, "the run is inside its tool")
        executors.lease.renew(boot_seconds() - 1)
        let_through(gate)
        await until(lambda: len(seen) == 2, "the tool has answered")
        await asyncio.sleep(NOTHING_HAPPENS_SECONDS)
        assert [event.kind for event in seen] == ["tool_call", "tool_result"]
        executors.lease.renew(boot_seconds() + LONG)
        assert result_of(await end_of(executor)) == "run 1"


async def test_h13_a_run_that_starts_past_the_deadline_waits_for_the_renewal(opened: Open) -> None:
    seen = list[AgentEvent]()
    async with opened() as executors:
        executors.lease.renew(boot_seconds() - 1)
        executor = await start(executors, "hello", seen)
        await asyncio.sleep(NOTHING_HAPPENS_SECONDS)
        assert not seen
        executors.lease.renew(boot_seconds() + LONG)
        assert result_of(await end_of(executor)) == "hello"


async def test_h13_a_run_whose_lease_is_not_renewed_ends_after_the_grace_and_can_be_continued(
    opened: Open,
) -> None:
    async with opened(grace=0.5, stop_grace_seconds=LONG) as executors:
        async with renewed(executors):
            waiting = await start(executors, call("wait"))
            await until(lambda: waiting.event_count, "the run is inside its tool")
        ended = await end_of(waiting)
        assert (ended.why, ended.outcome, ended.cancelled) == (Why.LEASE, None, False)
        assert ended.exit_status is None, "it ended by itself, and said so"


async def test_h13_a_run_that_hears_nothing_is_killed_by_the_template(opened: Open, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    async with opened(grace=0.2) as executors:
        async with renewed(executors):
            deaf = await start(executors, call("burn_deaf", file=str(inside)))
            await until(inside.exists, "the run is inside its tool")
        ended = await end_of(deaf)
        assert (ended.why, ended.exit_status) == (Why.LEASE, -9)
        async with renewed(executors):
            assert result_of(await end_of(await start(executors, "next"))) == "next"
        assert executors.templates == 1


async def test_h13_a_run_in_a_synchronous_tool_is_killed_by_the_template(
    opened: Open, tmp_path: Path
) -> None:
    inside = tmp_path / "inside"
    async with opened(grace=0.2) as executors:
        async with renewed(executors):
            blocked = await start(executors, call("sleep", file=str(inside)))
            await until(inside.exists, "the run is inside its tool")
        ended = await end_of(blocked)
        assert (ended.why, ended.exit_status) == (Why.LEASE, -9)


async def test_h13_a_lease_that_is_renewed_in_time_harms_nobody(opened: Open, tmp_path: Path) -> None:
    go = tmp_path / "go"
    async with opened() as executors, renewed(executors, SHORT_LEASE_SECONDS):
        runs = [await start(executors, call("wait_for", file=str(go))) for _ in range(5)]
        await asyncio.sleep(2 * SHORT_LEASE_SECONDS)
        go.touch()
        assert [result_of(await end_of(run)) for run in runs] == ["found"] * 5


@asynccontextmanager
async def renewed(executors: ExecutorPool, seconds: float = LEASE_SECONDS) -> AsyncIterator[None]:
    """A short lease that is renewed as long as the block takes, and then no more."""

    async def beat() -> None:
        while True:
            executors.lease.renew(boot_seconds() + seconds)
            await asyncio.sleep(seconds / 10)

    beating = asyncio.ensure_future(beat())
    try:
        yield
    finally:
        beating.cancel()
