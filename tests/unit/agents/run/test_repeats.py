"""What a retry repeats: each line of the table in docs/agents.md, per kind of root."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from dataclasses import dataclass
from types import ModuleType

import pytest
from agent_modules import Write, write_module
from runs import Job, module, until

from agentjobs.agents.verdict.outcome import Verdict

__all__ = ["write_module"]

# Each agent's model calls the tool `act` once, unless its prompt has the result; then it answers, or hands over to its
# target. The one that `fails` cannot be reached for that in the first run.
AGENTS = """
    import asyncio
    from google.adk.agents import BaseAgent, LlmAgent, LoopAgent, ParallelAgent, SequentialAgent
    from google.adk.models.base_llm import BaseLlm
    from google.adk.models.llm_response import LlmResponse
    from google.adk.tools import ToolContext
    from google.adk.tools.agent_tool import AgentTool
    from google.adk.workflow import START, Workflow
    from google.genai import errors, types
    from agentjobs.agents.context import current_job

    ACTED, ASKED, KEYS = [], [], []

    def act(name: str, tool_context: ToolContext) -> str:
        "Acts."
        ACTED.append(name)
        KEYS.append((current_job().key("act", name), tool_context.invocation_id))
        return f"acted {name}"

    async def hang() -> str:
        "Hangs, in the first run."
        ACTED.append("hang")
        if current_job().run == 1:
            await asyncio.Event().wait()
        return "acted"

    def break_once() -> str:
        "Fails, in the first run."
        ACTED.append("break_once")
        if current_job().run == 1:
            raise RuntimeError("broken")
        return "acted"

    class Model(BaseLlm):
        fails: bool = False
        target: str = ""

        async def generate_content_async(self, request, stream=False):
            ASKED.append(self.model)
            done = [p.function_response for c in request.contents for p in c.parts or [] if p.function_response]
            handed_over = any(r.name in ("transfer_to_agent", self.target) for r in done)
            if not any(r.response == {"result": f"acted {self.model}"} for r in done):
                part = called("act", name=self.model)
            elif self.fails and current_job().run == 1:
                body = {"error": {"code": 500, "message": "boom", "status": "INTERNAL"}}
                raise errors.ServerError(500, body)
            elif self.target and not handed_over:
                part = (
                    called("inner", request="go") if self.target == "inner"
                    else called("transfer_to_agent", agent_name=self.target)
                )
            else:
                part = types.Part(text=f"{self.model} has done it")
            yield LlmResponse(content=types.Content(role="model", parts=[part]))

    def called(tool, /, **arguments):
        return types.Part(function_call=types.FunctionCall(name=tool, args=arguments))

    def llm(name, fails=False, target="", **more):
        more.setdefault("tools", [act])
        model = Model(model=name, fails=fails, target=target)
        return LlmAgent(name=name, model=model, instruction="Act.", **more)

    class Own(BaseAgent):
        async def _run_async_impl(self, ctx):
            for sub in self.sub_agents:
                async for event in sub.run_async(ctx):
                    yield event

    class Calls(BaseLlm):
        "Calls these tools in one answer, then answers."
        names: tuple[str, ...] = ()

        async def generate_content_async(self, request, stream=False):
            ASKED.append(self.model)
            done = any(p.function_response for c in request.contents for p in c.parts or [])
            arguments = {"act": {"name": "a"}}
            parts = [called(name, **arguments.get(name, {})) for name in self.names]
            parts = [types.Part(text="done")] if done else parts
            yield LlmResponse(content=types.Content(role="model", parts=parts))

    def calls(*names):
        model = Calls(model="a", names=names)
        return LlmAgent(name="a", model=model, instruction="Act.", tools=[act, hang, break_once])
"""


@dataclass(frozen=True)
class Case:
    root: str
    acted: dict[str, int]
    """Calls of the tool by agent, over both runs."""
    asked: dict[str, int]
    """Model calls by agent, over both runs."""


TWO = "sub_agents=[llm('a'), llm('b', fails=True)]"
# a: two calls, and one more for its answer, said again. b: two, of which the second fails, and its answer.
STEPS_ENTERED_AGAIN = ({"a": 1, "b": 1}, {"a": 3, "b": 3})
CASES = [
    Case("llm('a', fails=True)", {"a": 1}, {"a": 3}),
    Case("llm('a', target='b', sub_agents=[llm('b', fails=True)])", {"a": 1, "b": 1}, {"a": 2, "b": 3}),
    Case(f"SequentialAgent(name='r', {TWO})", {"a": 1, "b": 1}, {"a": 2, "b": 3}),
    Case(f"LoopAgent(name='r', {TWO}, max_iterations=1)", *STEPS_ENTERED_AGAIN),
    Case(f"Own(name='r', {TWO})", *STEPS_ENTERED_AGAIN),
    Case(f"ParallelAgent(name='r', {TWO})", {"a": 1, "b": 1}, {"a": 2, "b": 3}),
    # the node that failed starts anew
    Case(
        "Workflow(name='r', edges=[(START, llm('a'), llm('b', fails=True))])",
        {"a": 1, "b": 2},
        {"a": 2, "b": 4},
    ),
    # the agent inside a tool has a conversation of its own, which lasts as long as the call
    Case(
        "llm('a', target='inner', tools=[act, AgentTool(llm('inner', fails=True))])",
        {"a": 1, "inner": 2},
        {"a": 4, "inner": 4},
    ),
]


def loaded() -> ModuleType:
    return sys.modules["repeating"]


def job_of(write_module: Write, root: str) -> Job:
    write_module("repeating", AGENTS + f"\n    root_agent = {root}\n")
    return Job(module("repeating"), "Act.", modules=("repeating",))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.root.partition("(")[0])
async def test_invariant_8_what_the_run_after_a_failed_model_call_repeats(
    write_module: Write, case: Case
) -> None:
    job = job_of(write_module, case.root)
    assert (await job.attempt()).reason == "ModelServerError"
    assert (await job.attempt()).verdict is Verdict.COMPLETE
    assert dict(Counter(loaded().ACTED)) == case.acted
    assert dict(Counter(loaded().ASKED)) == case.asked
    assert [event.author for event in await job.stored()].count("user") == 1, "the message is there once"


async def test_a_call_that_finished_beside_one_that_did_not_is_made_again(write_module: Write) -> None:
    """ADK stores the results of one answer's calls together, when the last has come."""
    job = job_of(write_module, "calls('act', 'hang')")
    run = asyncio.create_task(job.attempt())
    await until(lambda: "repeating" in sys.modules and len(loaded().ACTED) == 2)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert (await job.attempt()).result == "done"
    assert dict(Counter(loaded().ACTED)) == {"a": 2, "hang": 2}
    first, second = loaded().KEYS
    assert first == second == (first[0], f"job-{job.uid}"), "the same key, and the same invocation"


async def test_a_call_that_raised_is_made_again(write_module: Write) -> None:
    job = job_of(write_module, "calls('break_once')")
    assert (await job.attempt()).reason == "ToolFailed"
    assert (await job.attempt()).result == "done"
    assert loaded().ACTED == ["break_once", "break_once"]


async def test_a_call_that_was_under_way_is_made_again(write_module: Write) -> None:
    job = job_of(write_module, "calls('hang')")
    run = asyncio.create_task(job.attempt())
    await until(lambda: "repeating" in sys.modules and loaded().ACTED)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert (await job.attempt()).result == "done"
    assert loaded().ACTED == ["hang", "hang"]
