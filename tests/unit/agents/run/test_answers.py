"""A root with several ends: each answer is in the result, by the name of its end."""

from __future__ import annotations

import json

import pytest
from agent_modules import Write, write_module
from runs import Job, module

from agentjobs.agents.verdict.outcome import Verdict
from agentjobs.values.bounds import RESULT_BYTES

__all__ = ["write_module"]

AGENTS = """
from google.adk.agents import BaseAgent, LlmAgent, LoopAgent, ParallelAgent, SequentialAgent
from google.adk.events import Event
from google.adk.workflow import START, Workflow, node
from google.genai import types
from agentjobs.agents.context import current_job

CALLS = []

def said(name, text):
    return Event(author=name, content=types.Content(role="model", parts=[types.Part(text=text)]))

class Says(BaseAgent):
    text: str = ""
    fails: bool = False
    async def _run_async_impl(self, ctx):
        CALLS.append(self.name)
        if self.fails and current_job().run == 1:
            raise RuntimeError("broken")
        event = said(self.name, self.text or f"{{self.name}} says so")
        yield event.model_copy(update={{"invocation_id": ctx.invocation_id, "branch": ctx.branch}})

class Silent(BaseAgent):
    async def _run_async_impl(self, ctx):
        return
        yield

def says(name, **more):
    return Says(name=name, **more)

@node
async def left(node_input: str):
    yield Event(content=types.Content(role="model", parts=[types.Part(text="left says so")]))

@node
async def right(node_input: object):
    if current_job().run == 1 and "right fails" in str(node_input):
        raise RuntimeError("broken")
    yield Event(content=types.Content(role="model", parts=[types.Part(text="right says so")]))

root_agent = {root}
"""
A, B, C = ({name: f"{name} says so"} for name in "abc")
BOTH = {"left": "left says so", "right": "right says so"}
SEVERAL = {
    "ParallelAgent(name='r', sub_agents=[says('a'), says('b')])": {**A, **B},
    "ParallelAgent(name='r', sub_agents=[says('b'), says('a')])": {**B, **A},
    "ParallelAgent(name='r', sub_agents=[SequentialAgent(name='s', sub_agents=[says('a'), says('b')]), says('c')])": {**B, **C},
    "SequentialAgent(name='r', sub_agents=[says('c'), ParallelAgent(name='p', sub_agents=[says('a'), says('b')])])": {**A, **B},
    "ParallelAgent(name='r', sub_agents=[LoopAgent(name='l', sub_agents=[says('a')], max_iterations=2), says('b')])": {
        "l": "a says so", **B,
    },
    "Workflow(name='w', edges=[(START, left), (START, right)])": BOTH,
}  # fmt: skip
"""Root → its result."""
ONE = {
    "ParallelAgent(name='r', sub_agents=[says('a')])": "a says so",
    "ParallelAgent(name='r', sub_agents=[says('a'), Silent(name='b')])": "a says so",
    "SequentialAgent(name='r', sub_agents=[ParallelAgent(name='p', sub_agents=[says('a'), says('b')]), says('c')])": "c says so",
    "LoopAgent(name='r', sub_agents=[says('a'), says('b')], max_iterations=1)": "b says so",
    "Workflow(name='w', edges=[(START, left), (left, right)])": "right says so",
}


def job(write_module: Write, root: str, message: str = "hello") -> Job:
    write_module("under_test", AGENTS.format(root=root))
    return Job(module("under_test"), message, modules=("under_test",))


@pytest.mark.parametrize(("root", "answers"), SEVERAL.items())
async def test_each_end_has_its_answer_in_the_result(
    write_module: Write, root: str, answers: dict[str, str]
) -> None:
    several = job(write_module, root)
    outcome = await several.attempt()
    assert outcome.verdict is Verdict.COMPLETE, outcome.message
    assert json.loads(outcome.result or "") == answers
    assert list(json.loads(outcome.result or "")) == list(answers), "in the order of the agent's definition"
    assert (await several.attempt()).result == outcome.result, "also where its ack was lost"


@pytest.mark.parametrize(("root", "answer"), ONE.items())
async def test_one_answer_is_the_result_as_it_is(write_module: Write, root: str, answer: str) -> None:
    outcome = await job(write_module, root).attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, answer), outcome.message


@pytest.mark.parametrize(
    ("root", "answers"),
    [
        ("ParallelAgent(name='r', sub_agents=[says('a'), says('b', fails=True)])", {**A, **B}),
        ("Workflow(name='w', edges=[(START, left), (START, right)])", BOTH),
    ],
)
async def test_answers_of_a_run_that_failed_are_in_the_result_of_its_retry(
    write_module: Write, root: str, answers: dict[str, str]
) -> None:
    several = job(write_module, root, "right fails")
    assert (await several.attempt()).verdict is Verdict.RETRY
    outcome = await several.attempt()
    assert outcome.verdict is Verdict.COMPLETE, outcome.message
    assert json.loads(outcome.result or "") == answers


async def test_long_answers_are_cut_one_by_one(write_module: Write) -> None:
    root = "ParallelAgent(name='r', sub_agents=[says('a', text='\\u20ac' * 10**6), says('b', text='short')])"
    result = (await job(write_module, root).attempt()).result or ""
    assert len(result.encode()) <= RESULT_BYTES
    told = json.loads(result)
    assert told["b"] == "short"
    assert told["a"].endswith("…")
    assert len(told["a"].encode()) > RESULT_BYTES // 4
