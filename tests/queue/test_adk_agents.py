"""Agents by others, in ADK's own layout and in the shapes of its documentation, run unchanged by a real worker."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from gemini import FakeGemini, call, hangs, text

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import NewJob, State
from agentjobs.worker.supervisor.supervisor import Worker
from local_runs import left_over, run
from processes import naming, until
from workers import job, running_worker, state_of, submit, worker_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

AGENTS = Path(__file__).parents[1] / "adk_agents"
NAMES = ("help_desk", "code_pipeline", "research_panel", "essay_loop", "library_mcp", "trip_graph")
OURS = """
import os
from google.adk.agents import BaseAgent, LlmAgent
from google.adk.events import Event
from google.adk.workflow import FunctionNode
from google.genai.types import ModelContent

SEEN = []

def remember(what: str) -> str:
    "Remembers."
    SEEN.append(what)
    os.environ["REMEMBERED"] = os.environ.get("REMEMBERED", "") + what
    rememberer.description += what
    return ",".join(SEEN) + os.environ["REMEMBERED"] + rememberer.description

rememberer = LlmAgent(name="rememberer", model="echo", instruction="Remember.", tools=[remember])

class Own(BaseAgent):
    async def _run_async_impl(self, ctx):
        yield Event(author=self.name, invocation_id=ctx.invocation_id, content=ModelContent("own code says so"))

own = Own(name="own")

def it_is(node_input: str) -> str:
    return f"{node_input} it is"

function = FunctionNode(func=it_is, name="function")

async def made():
    return Own(name="made")
"""
CALL_TOKENS = 15
"""What the fake says that one call takes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agents, byte for byte, at a path that no other test's processes name."""
    copied = tmp_path_factory.mktemp("agents") / "of_others"
    shutil.copytree(AGENTS, copied, ignore=shutil.ignore_patterns("__pycache__"))
    (copied / "ours.py").write_text(OURS)
    return copied


@pytest.fixture
def gemini(model: FakeGemini) -> FakeGemini:
    model.forget()
    return model


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def worker(database: str, folder: Path, model: FakeGemini) -> AsyncIterator[Worker]:
    settings = AgentSettings(modules=(*NAMES, "ours"), preload=(*NAMES, "ours"), session_dsn=database)
    config = worker_config(database, str(folder), settings=settings, memory_limit_mib=None)
    async with running_worker(config) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def queue(database: str, worker: Worker) -> AsyncIterator[Queue]:
    async with await Queue.open(database, application_name="test") as opened:
        yield opened


def of(agent: str, message: str, **fields: Any) -> NewJob:
    return job(message, module=agent, **fields)


async def answer(queue: Queue, agent: str, message: str, *, calls: int) -> str:
    """The answer of a run to its end, after that many model calls, all of them counted."""
    (uid,) = await submit(queue, of(agent, message))
    view = await state_of(queue, uid)
    assert (view.state, view.reason, view.attempts) == (State.COMPLETE, "Completed", 1), view.message
    assert (view.usage.llm_calls, view.usage.total_tokens) == (calls, calls * CALL_TOKENS)
    return str(view.result)


def script_help_desk(gemini: FakeGemini) -> None:
    gemini.script_for("HelpDeskCoordinator", call("transfer_to_agent", {"agent_name": "Billing"}))
    gemini.script_for("Billing", call("find_invoice", {"number": "A-17"}), text("A-17: 120 euros are open."))


def script_essay_loop(gemini: FakeGemini) -> None:
    gemini.script_for("InitialWriter", text("A cat sat."))
    gemini.script_for("Critic", text("Say more about the cat."), text("No major issues found."))
    gemini.script_for("Refiner", text("A ginger cat sat."), call("exit_loop"))


async def test_a_coordinator_hands_over_to_its_specialist(queue: Queue, gemini: FakeGemini) -> None:
    script_help_desk(gemini)
    assert (
        await answer(queue, "help_desk", "What about invoice A-17?", calls=3) == "A-17: 120 euros are open."
    )
    assert [r.agent for r in gemini.requests] == ["HelpDeskCoordinator", "Billing", "Billing"]
    assert "find_invoice" in gemini.requests[-1].tool_results


async def test_a_sequences_steps_read_what_the_former_ones_put_out(queue: Queue, gemini: FakeGemini) -> None:
    gemini.script_for("CodeWriter", text("print(1)"))
    gemini.script_for("CodeReviewer", text("Print 2."))
    gemini.script_for("CodeRefactorer", text("print(2)"))
    assert await answer(queue, "code_pipeline", "Print a number.", calls=3) == "print(2)"
    assert "print(1)" in gemini.requests[1].instruction
    assert {"print(1)", "Print 2."} <= set(gemini.requests[2].instruction.splitlines())


async def test_parallel_agents_all_answer_and_one_puts_it_together(queue: Queue, gemini: FakeGemini) -> None:
    for name in ("Energy", "Vehicles", "Carbon"):
        gemini.script_for(f"{name}Researcher", text(f"news on {name.lower()}"))
    gemini.script_for("Synthesis", text("The report."))
    assert await answer(queue, "research_panel", "Report.", calls=4) == "The report."
    assert {r.agent for r in gemini.requests[:3]} == {
        "EnergyResearcher", "VehiclesResearcher", "CarbonResearcher",
    }  # fmt: skip
    said = gemini.requests[3].instruction
    assert all(news in said for news in ("news on energy", "news on vehicles", "news on carbon"))


async def test_a_loop_ends_when_its_tool_escalates(queue: Queue, gemini: FakeGemini) -> None:
    script_essay_loop(gemini)
    assert await answer(queue, "essay_loop", "Write about a cat.", calls=5) == "No major issues found."
    assert [r.agent for r in gemini.requests] == ["InitialWriter", "Critic", "Refiner", "Critic", "Refiner"]
    assert "A ginger cat sat." in gemini.requests[3].instruction


async def test_a_graphs_functions_and_agents_run_in_order(queue: Queue, gemini: FakeGemini) -> None:
    gemini.script(text("Walk along the river."))
    result = await answer(queue, "trip_graph", "Ljubljana!", calls=1)
    assert result == "Walk along the river.\n-- the trip planner"
    assert "Plan a day in Ljubljana." in gemini.requests[0].instruction


async def test_tools_of_a_local_mcp_server_are_called_and_the_server_is_gone_afterwards(
    queue: Queue, gemini: FakeGemini, folder: Path
) -> None:
    gemini.script_for("librarian", call("find_book", {"title": "Dune"}), text("On shelf 7."))
    assert await answer(queue, "library_mcp", "Where is Dune?", calls=2) == "On shelf 7."
    declared = gemini.requests[0].body["tools"][0]["functionDeclarations"]
    assert [tool["name"] for tool in declared] == ["find_book"], "the agent's filter holds"
    assert "shelf 7 (server of library_mcp)" in str(gemini.requests[1].contents)
    await until(lambda: not naming(f"{folder}/library_mcp/library_server.py"), "the server has ended")


@pytest.mark.parametrize("end", ["cancelled", "killed"])
async def test_an_mcp_server_is_gone_however_its_run_ends(
    queue: Queue, gemini: FakeGemini, folder: Path, worker: Worker, end: str
) -> None:
    server = f"{folder}/library_mcp/library_server.py"
    gemini.script_for("librarian", hangs(), text("Found."))
    (uid,) = await submit(queue, of("library_mcp", "Where is Dune?"))
    await asyncio.to_thread(gemini.wait_for_requests, 1, 60)
    assert naming(server), "it runs while the model thinks"

    if end == "cancelled":
        await queue.cancel(uid)
    else:
        (running,) = worker.runs.running.values()
        assert running.executor is not None
        running.executor._signal(signal.SIGKILL)

    view = await state_of(queue, uid)
    assert view.state is (State.CANCELLED if end == "cancelled" else State.COMPLETE)
    await until(lambda: not naming(server), "the server has ended")


@pytest.mark.parametrize(
    ("root", "says"), [("own", "own code says so"), ("made", "own code says so"), ("function", "Go it is")]
)
async def test_roots_that_are_no_llm_agents_answer(queue: Queue, root: str, says: str) -> None:
    (uid,) = await submit(queue, of(f"ours:{root}", "Go"))
    view = await state_of(queue, uid)
    assert (view.state, view.result) == (State.COMPLETE, says), view.message


async def test_what_a_job_changes_in_its_process_no_other_one_sees(queue: Queue) -> None:
    """Neither a module's names, nor the environment, nor the agent itself: all of them are preloaded and shared."""
    jobs = [of("ours:rememberer", f'echo:call remember {{"what": "{n}"}}') for n in range(6)]
    for number, uid in enumerate(await submit(queue, *jobs)):
        assert (await state_of(queue, uid)).result == str(number) * 3


@pytest.mark.timeout(400)
@pytest.mark.parametrize("agent", ["help_desk", "library_mcp"])
async def test_agentjobs_local_runs_the_folder(
    gemini: FakeGemini, folder: Path, tmp_path: Path, agent: str
) -> None:
    script_help_desk(gemini)
    gemini.script_for("librarian", call("find_book", {"title": "Dune"}), text("On shelf 7."))
    status, answers, told = await asyncio.to_thread(
        run, agent, "What about invoice A-17?", cwd=folder, temporary=tmp_path
    )
    wanted = {"help_desk": "A-17: 120 euros are open.\n", "library_mcp": "On shelf 7.\n"}[agent]
    assert (status, answers) == (0, wanted), told
    assert left_over(tmp_path) == []
    assert not naming(f"{folder}/library_mcp/library_server.py")
