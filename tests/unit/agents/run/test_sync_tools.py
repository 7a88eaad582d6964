"""Synchronous tools run as ADK runs them, or in the pool's threads; and no way leads around the lease gate (H13)."""

from __future__ import annotations

import asyncio
import json
import sys
from types import ModuleType

import pytest
from agent_modules import Write, write_module
from runs import Job, module, until

from agentjobs.agents.lease_gate import leased
from agentjobs.agents.verdict.outcome import Verdict

__all__ = ["write_module"]

AGENTS = """
    import asyncio, sqlite3, threading, time
    from google.adk.agents import LlmAgent
    from google.adk.models.base_llm import BaseLlm
    from google.adk.models.llm_response import LlmResponse
    from google.adk.tools import FunctionTool, ToolContext
    from google.adk.workflow import START, Workflow, node
    from google.genai import types
    from agentjobs.agents.context import current_job

    LEFT, BEGUN, GO, HELD = [600.0], [], threading.Event(), []

    class Calls(BaseLlm):
        "Calls these tools in one answer, then tells their results."
        calls: list

        async def generate_content_async(self, request, stream=False):
            done = [p.function_response.response for c in request.contents for p in c.parts or [] if p.function_response]
            parts = [types.Part(text=str(done))] if done else [
                types.Part(function_call=types.FunctionCall(name=name, args=args, id=str(number)))
                for number, (name, args) in enumerate(self.calls)
            ]
            yield LlmResponse(content=types.Content(role="model", parts=parts))

    def agent(*calls, **more):
        tools = [add_to_cart, look_up, start_task, stamp, wait, held, FunctionTool(bytes.fromhex)]
        return LlmAgent(name="agent", model=Calls(model="x", calls=list(calls)), instruction="Act.", tools=tools, **more)

    def add_to_cart(item: str, tool_context: ToolContext) -> list:
        "Reads, changes and writes the state."
        cart = list(tool_context.state.get("cart", []))
        time.sleep(0.05)
        tool_context.state["cart"] = [*cart, item]
        return tool_context.state["cart"]

    DATABASE = sqlite3.connect(":memory:")

    def look_up() -> int:
        "Asks a database whose connection belongs to one thread."
        return DATABASE.execute("select 42").fetchone()[0]

    async def _later():
        return 1

    def start_task() -> str:
        "Starts a task on the running loop."
        asyncio.get_event_loop().create_task(_later())
        return "started"

    def stamp() -> dict:
        "Tells its thread and its job."
        return {"thread": threading.current_thread().name, "job": current_job().uid}

    def wait() -> str:
        "Waits until the test says so."
        assert GO.wait(60)
        return "waited"

    def held(name: str) -> str:
        "Begins, and ends the lease while it runs."
        BEGUN.append(name)
        time.sleep(0.1)
        LEFT[0] = -1.0
        return name

    async def a_moment(tool, args, tool_context):
        await asyncio.sleep(0.05)

    cart = agent(("add_to_cart", {"item": "a"}), ("add_to_cart", {"item": "b"}))
    database = agent(("look_up", {}), ("look_up", {}))
    task = agent(("start_task", {}))
    stamped = agent(("stamp", {}))
    waiting = agent(("wait", {}))
    side_by_side = agent(("held", {"name": "a"}), ("held", {"name": "b"}), before_tool_callback=a_moment)
    three = agent(*(("held", {"name": n}) for n in "abc"))
    wrong = agent(("fromhex", {"no": "such"}))

    @node
    def draft(node_input: str) -> str:
        return threading.current_thread().name

    @node
    def parts(node_input: str):
        yield threading.current_thread().name

    step = Workflow(name="step", edges=[(START, draft)])
    generator = Workflow(name="generator", edges=[(START, parts)])
"""


def loaded() -> ModuleType:
    return sys.modules["sync_agents"]


@pytest.fixture
def write_agents(write_module: Write) -> None:
    write_module("sync_agents", AGENTS)


def job(name: str, threads: int = 0) -> Job:
    return Job(module(f"sync_agents:{name}"), modules=("sync_agents",), tool_threads=threads)


@pytest.mark.usefixtures("write_agents")
@pytest.mark.parametrize(
    ("agent", "answer"),
    [
        ("cart", "[{'result': ['a']}, {'result': ['a', 'b']}]"),
        ("database", "[{'result': 42}, {'result': 42}]"),
        ("task", "[{'result': 'started'}]"),
        ("step", "MainThread"),
        ("generator", "MainThread"),
    ],
)
async def test_a_tool_that_relies_on_the_loops_thread_runs_as_under_adk(agent: str, answer: str) -> None:
    outcome = await job(agent).attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, answer), outcome.message


@pytest.mark.usefixtures("write_agents")
@pytest.mark.parametrize("threads", [0, 4])
async def test_a_tool_knows_its_job_and_the_setting_says_where_it_runs(threads: int) -> None:
    one = job("stamped", threads)
    (told,) = json.loads(((await one.attempt()).result or "").replace("'", '"'))
    assert told["job"] == one.uid
    assert (told["thread"] == "MainThread") == (threads == 0)


@pytest.mark.usefixtures("write_agents")
@pytest.mark.parametrize("agent", ["step", "generator"])
async def test_a_workflows_steps_run_in_the_threads_too(agent: str) -> None:
    assert (await job(agent, 4).attempt()).result != "MainThread"


@pytest.mark.usefixtures("write_agents")
async def test_in_threads_a_tool_does_not_stall_the_loop() -> None:
    one = job("waiting", 1)
    run = asyncio.create_task(one.attempt())
    await until(lambda: one.events)
    loaded().GO.set()  # reached only because the loop turns
    assert (await run).result == "[{'result': 'waited'}]"


@pytest.mark.usefixtures("write_agents")
@pytest.mark.parametrize("threads", [0, 1])
async def test_a_call_that_does_not_fit_is_told_to_the_model(threads: int) -> None:
    outcome = await job("wrong", threads).attempt()
    assert outcome.verdict is Verdict.COMPLETE
    assert "failed" in (outcome.result or "")


@pytest.mark.usefixtures("write_agents")
@pytest.mark.parametrize(
    ("agent", "threads", "all_begun"),
    [("side_by_side", 0, 2), ("side_by_side", 1, 2), ("three", 0, 3), ("three", 1, 3)],
)
async def test_h13_a_tool_that_waited_behind_another_one_passes_the_gate_again(
    agent: str, threads: int, all_begun: int
) -> None:
    """Its turn was announced while the lease held; it was over when the tool before it let go of the thread."""
    one = job(agent, threads)
    with leased(lambda: loaded().LEFT[0] if "sync_agents" in sys.modules else 600.0):
        run = asyncio.create_task(one.attempt())
    await until(lambda: "sync_agents" in sys.modules and loaded().LEFT[0] < 0)
    await asyncio.sleep(0.3)  # as long as three tools take
    assert loaded().BEGUN == ["a"]
    while not run.done():
        loaded().LEFT[0] = 600.0
        await asyncio.sleep(0.01)
    assert len(loaded().BEGUN) == all_begun
