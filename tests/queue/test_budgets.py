"""Budgets over all runs of a round, and what a run has spent however it ended, with the fake Gemini's counts."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from gemini import FakeGemini, call, error, hangs, rate_limited, text

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import NewJob, State
from agentjobs.values.usage import Usage
from agentjobs.worker.supervisor.supervisor import Worker
from workers import job, running_worker, state_of, submit, worker_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOURCE = """
from google.adk.agents import LlmAgent, ParallelAgent
from google.adk.tools.agent_tool import AgentTool

def look(what: str) -> str:
    "Looks something up."
    return f"{what} is there"

def llm(name, **more):
    return LlmAgent(name=name, model="gemini-2.5-flash", instruction="Answer.", **more)

lone = llm("lone", tools=[look])
boss = llm("boss", tools=[AgentTool(agent=llm("expert", description="Knows.", tools=[look]))])
side_by_side = ParallelAgent(name="side_by_side", sub_agents=[llm("left"), llm("middle"), llm("right")])
"""
ASK = call("expert", {"request": "What?"})
LOOK = call("look", {"what": "it"})


@pytest.fixture
def gemini(model: FakeGemini) -> FakeGemini:
    model.forget()
    return model


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def worker(
    database: str, model: FakeGemini, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Worker]:
    folder: Path = tmp_path_factory.mktemp("agents")
    (folder / "spenders.py").write_text(SOURCE)
    settings = AgentSettings(modules=("spenders",), preload=("spenders",), session_dsn=database)
    config = worker_config(database, str(folder), settings=settings, memory_limit_mib=None)
    async with running_worker(config) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def queue(database: str, worker: Worker) -> AsyncIterator[Queue]:
    async with await Queue.open(database, application_name="test") as opened:
        yield opened


def of(agent: str, budget: dict[str, int] | None = None, **fields: Any) -> NewJob:
    made = job("Go.", module=f"spenders:{agent}", **fields)
    return NewJob(**{**_fields(made), "payload": {**made.payload, "budget": budget or {}}})


def _fields(made: NewJob) -> dict[str, Any]:
    return {name: getattr(made, name) for name in ("uid", "retry", "max_attempts")}


def spent(calls: int, answers: int, tools: int = 0) -> Usage:
    """The fake's calls take 10 tokens of prompt and 5 of output."""
    return Usage(10 * answers, 5 * answers, 15 * answers, calls, tools)


async def test_calls_are_counted_over_all_runs_of_a_round(queue: Queue, gemini: FakeGemini) -> None:
    gemini.script(error(500), LOOK, error(500), LOOK)
    (uid,) = await submit(queue, of("lone", {"maxLLMCalls": 4}, max_attempts=9))
    view = await state_of(queue, uid)
    assert (view.state, view.reason) == (State.FAILED, "BudgetExceeded")
    assert "budget.maxLLMCalls is 4, and 4 calls were made" in view.message
    assert len(gemini.requests) == 4, "the call that would exceed was not made"
    assert view.usage == spent(4, 2, tools=2)
    assert [a.usage.llm_calls for a in view.attempts_log] == [1, 2, 1]


async def test_a_refunded_run_counts_against_the_budget_too(queue: Queue, gemini: FakeGemini) -> None:
    gemini.script(LOOK, rate_limited(delay="1s"), text("done"))
    (uid,) = await submit(queue, of("lone", {"maxTokens": 44}))
    view = await state_of(queue, uid)
    assert (view.state, view.result, view.attempts, view.run) == (State.COMPLETE, "done", 1, 2)
    assert view.usage == spent(3, 2, tools=1)
    gemini.forget()
    gemini.script(LOOK, rate_limited(delay="1s"))
    (uid,) = await submit(queue, of("lone", {"maxLLMCalls": 2}))
    view = await state_of(queue, uid)
    assert (view.state, view.reason, view.run) == (State.FAILED, "BudgetExceeded", 2)
    assert view.usage == spent(2, 1, tools=1)
    assert len(gemini.requests) == 2


async def test_agents_inside_of_tools_count(queue: Queue, gemini: FakeGemini) -> None:
    gemini.script_for("boss", ASK, text("The expert knows."))
    gemini.script_for("expert", LOOK, text("It is there."))
    (uid,) = await submit(queue, of("boss"))
    view = await state_of(queue, uid)
    assert (view.state, view.result, view.usage) == (
        State.COMPLETE,
        "The expert knows.",
        spent(4, 4, tools=2),
    )


async def test_a_budget_ends_the_agent_inside_of_a_tool(queue: Queue, gemini: FakeGemini) -> None:
    gemini.script_for("boss", ASK)
    gemini.script_for("expert", LOOK)
    (uid,) = await submit(queue, of("boss", {"maxLLMCalls": 2}))
    view = await state_of(queue, uid)
    assert (view.state, view.reason, view.usage) == (State.FAILED, "BudgetExceeded", spent(2, 2, tools=2))
    assert len(gemini.requests) == 2


async def test_the_agent_of_a_tool_begins_anew_at_each_call_of_it(queue: Queue, gemini: FakeGemini) -> None:
    """The second conversation repeats nothing of the first: no reason to end early."""
    gemini.script_for("boss", ASK, ASK, text("Done."))
    gemini.script_for("expert", text("First."), text("Second."))
    (uid,) = await submit(queue, of("boss", {"maxTokens": 75}))
    view = await state_of(queue, uid)
    assert (view.state, view.usage) == (State.COMPLETE, spent(5, 5, tools=2))


async def test_parallel_agents_never_make_more_calls_than_the_budget(
    queue: Queue, gemini: FakeGemini
) -> None:
    (uid,) = await submit(queue, of("side_by_side", {"maxLLMCalls": 2}))
    view = await state_of(queue, uid)
    assert (view.state, view.reason) == (State.FAILED, "BudgetExceeded")
    assert view.usage.llm_calls <= 2
    assert len(gemini.requests) <= 2


@pytest.mark.parametrize("end", ["killed", "cancelled"])
async def test_a_run_without_an_outcome_keeps_what_it_spent(
    queue: Queue, gemini: FakeGemini, worker: Worker, end: str
) -> None:
    """Also inside of a tool's agent, whose events nobody streams, and the call that had begun."""
    gemini.script_for("boss", ASK, text("Done."))
    gemini.script_for("expert", LOOK, hangs(), text("It is there."))
    (uid,) = await submit(queue, of("boss"))
    await asyncio.to_thread(gemini.wait_for_requests, 3, 60)

    if end == "cancelled":
        await queue.cancel(uid)
    else:
        (running,) = worker.runs.running.values()
        assert running.executor is not None
        running.executor._signal(signal.SIGKILL)

    view = await state_of(queue, uid)
    assert view.attempts_log[0].usage == spent(3, 2, tools=2)
    if end == "killed":
        assert view.state is State.COMPLETE
        assert view.usage.total_tokens > view.attempts_log[0].usage.total_tokens


async def test_a_running_job_shows_what_it_has_spent_so_far(queue: Queue, gemini: FakeGemini) -> None:
    gemini.script_for("boss", ASK)
    gemini.script_for("expert", LOOK, hangs())
    (uid,) = await submit(queue, of("boss"))
    async with asyncio.timeout(60):
        while (view := await queue.show(uid)) is None or view.usage != spent(3, 2, tools=2):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await queue.cancel(uid)
    await state_of(queue, uid)
