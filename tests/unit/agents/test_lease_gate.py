"""H13: past the deadline of the worker's lease a run begins no model call and no tool."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from types import ModuleType

import pytest
from agent_modules import Write, write_module
from runs import Job, module, until

from agentjobs.agents.lease_gate import leased
from agentjobs.agents.verdict.outcome import Outcome, Verdict

__all__ = ["write_module"]

# The model ends the lease in the middle of its own call, which has begun; what would follow must wait.
AGENTS = """
    import asyncio, threading
    from google.adk.agents import LlmAgent
    from google.adk.models.base_llm import BaseLlm
    from google.adk.models.llm_response import LlmResponse
    from google.genai import types
    LEFT = [600.0]
    LOOKED = []
    DONE = []

    def seconds_left():
        LOOKED.append(LEFT[0])
        return LEFT[0]

    class EndsTheLease(BaseLlm):
        async def generate_content_async(self, request, stream=False):
            DONE.append("model")
            if not any(p.function_response for c in request.contents for p in c.parts):
                LEFT[0] = -1.0
                names = ("act", "act_async") * 10
                parts = [types.Part(function_call=types.FunctionCall(name=n, id=f"{i}", args={})) for i, n in enumerate(names)]
            else:
                parts = [types.Part(text="done")]
            yield LlmResponse(content=types.Content(role="model", parts=parts))

    def act() -> str:
        "Acts."
        DONE.append("tool")
        return "acted"

    async def act_async() -> str:
        "Acts."
        DONE.append("tool")
        return "acted"

    async def end_lease() -> str:
        "Ends it."
        LEFT[0] = -1.0
        return "ended"

    tools = LlmAgent(name="agent", model=EndsTheLease(model="x"), instruction="Act.", tools=[act, act_async])
    models = LlmAgent(name="agent", model="echo", instruction="Act.", tools=[end_lease])
"""


def loaded() -> ModuleType:
    return sys.modules["leased_agents"]


async def held_at_the_gate(run: asyncio.Task[Outcome]) -> None:
    """The run looks at the lease again and again, and does nothing else."""
    await until(lambda: "leased_agents" in sys.modules and loaded().LOOKED.count(-1.0) >= 3)
    assert not run.done()


@pytest.fixture
def leased_job(write_module: Write) -> Job:
    write_module("leased_agents", AGENTS)
    return Job(module("leased_agents:tools"), "echo:call end_lease", modules=("leased_agents",))


def started(job: Job) -> asyncio.Task[Outcome]:
    def seconds_left() -> float:
        return float(loaded().seconds_left()) if "leased_agents" in sys.modules else 600.0

    with leased(seconds_left):
        return asyncio.create_task(job.attempt())


async def test_h13_no_tool_begins_past_the_deadline(leased_job: Job) -> None:
    run = started(leased_job)
    await held_at_the_gate(run)
    assert loaded().DONE == ["model"]
    loaded().LEFT[0] = 600.0
    outcome = await asyncio.wait_for(run, 60)
    assert Counter(loaded().DONE) == {"model": 2, "tool": 20}
    assert outcome.verdict is Verdict.COMPLETE


async def test_h13_no_model_call_begins_past_the_deadline(leased_job: Job) -> None:
    leased_job.fields["agent"] = module("leased_agents:models")
    run = started(leased_job)
    await held_at_the_gate(run)
    assert [event.kind for event in leased_job.events] == ["tool_call", "tool_result"]
    loaded().LEFT[0] = 600.0
    outcome = await asyncio.wait_for(run, 60)
    assert outcome.usage.llm_calls == 2


async def test_h13_a_run_that_waits_at_the_gate_can_be_cancelled(leased_job: Job) -> None:
    run = started(leased_job)
    await held_at_the_gate(run)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert loaded().DONE == ["model"]
