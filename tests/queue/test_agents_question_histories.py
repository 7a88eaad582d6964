"""Questions in a run that fails at any of the events that it stores: nobody is asked twice.

Each flow is played whole, and once for each event that it stores: the process dies after it, or the store refuses it. Later runs go on.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from enum import StrEnum
from typing import Any

import pytest
from agent_modules import Write, write_module
from histories import broken_rules
from runs import Job, module

from agentjobs.agents.sessions.postgres import PostgresSessions
from agentjobs.agents.sessions.service import forget_services
from agentjobs.agents.verdict.errors import SessionStoreUnavailable
from agentjobs.agents.verdict.outcome import Outcome, Verdict
from agentjobs.values.question_kinds import QuestionKind

__all__ = ["write_module"]

SOURCE = """
    import copy
    from google.adk.agents import LlmAgent, SequentialAgent
    from google.adk.models.base_llm import BaseLlm
    from google.adk.models.llm_response import LlmResponse
    from google.adk.events.request_input import RequestInput
    from google.adk.tools import FunctionTool, LongRunningFunctionTool, ToolContext
    from google.adk.tools.agent_tool import AgentTool
    from google.adk.workflow import START, Workflow
    from google.genai import types

    CALLS, REQUESTS = [], []
    NUMBERS_CALLS = False

    def refund(order: str) -> dict:
        "Refunds."
        CALLS.append(f"refund {order}")
        return {"refunded": order}

    def look(order: str) -> dict:
        "Looks."
        CALLS.append(f"look {order}")
        return {"state": "paid"}

    def leave(days: int, tool_context: ToolContext) -> dict:
        "Asks for days off."
        answer = tool_context.tool_confirmation
        if answer is None:
            tool_context.request_confirmation(hint="How many?", payload={"approved_days": 0})
            return {"status": "asked"}
        CALLS.append(f"leave {days}")
        return {"days": days}

    def build(branch: str) -> dict:
        "Begins to build."
        CALLS.append(f"build {branch}")
        return {"status": "pending"}

    def order(item: str) -> None:
        "Orders, and has nothing to say yet."
        CALLS.append(f"order {item}")

    def ask(node_input):
        CALLS.append("ask")
        return RequestInput(message="Is it good?")

    def take(node_input):
        CALLS.append("take")
        return f"taken: {node_input}"

    class Says(BaseLlm):
        "Makes the first calls of its script that its prompt does not have."
        script: list
        streams: bool = False

        async def generate_content_async(self, request, stream=False):
            self._maybe_append_user_content(request)
            REQUESTS.append((self.model, copy.deepcopy(request.contents)))
            assert len(REQUESTS) < 60, "it asks for ever"
            made = [p.function_call for c in request.contents for p in c.parts if p.function_call]
            made = [(call.name, call.args) for call in made]
            missing = [[call for call in line if call not in made] for line in self.script]
            calls = next(filter(None, missing), [])
            parts = [
                types.Part(function_call=types.FunctionCall(id=f"call_{number}" if NUMBERS_CALLS else None, name=n, args=a))
                for number, (n, a) in enumerate(calls, len(made))
            ]
            parts = parts or [types.Part(text=f"{self.model} is done")]
            if self.streams:
                yield said(types.Part(text="Let me"), partial=True)
                yield said(types.Part(text=" see."), *copy.deepcopy(parts), partial=True)
                parts = [types.Part(text="Let me see."), *parts] if calls else parts
            yield said(*parts)

    def said(*parts, **more):
        return LlmResponse(content=types.Content(role="model", parts=list(parts)), **more)

    class Instead:
        "Answers in place of the model, with ids of its own."

        def __init__(self, *script):
            self.model = Says(model="instead", script=list(script))

        async def __call__(self, callback_context, llm_request):
            return await anext(self.model.generate_content_async(llm_request))

    def llm(name, *script, streams=False, **more):
        tools = [FunctionTool(refund, require_confirmation=True), look, leave, LongRunningFunctionTool(build), LongRunningFunctionTool(order)]
        more.setdefault("tools", tools)
        return LlmAgent(name=name, model=Says(model=name, script=list(script), streams=streams), instruction="Do.", **more)

    class Confirmed(AgentTool):
        async def run_async(self, *, args, tool_context):
            if tool_context.tool_confirmation is None:
                tool_context.request_confirmation(hint="May it?")
                return {"status": "asked"}
            CALLS.append(f"clerk {args['request']}")
            return await super().run_async(args=args, tool_context=tool_context)

    def one(order):
        return [("refund", {"order": order})]
"""
FLOWS = {
    "one question": "llm('a', one('1'))",
    "a question behind a question": "llm('a', one('1'), [('look', {'order': '1'})], one('2'))",
    "two questions of one answer": "llm('a', [('refund', {'order': '1'}), ('refund', {'order': '2'})])",
    "a question beside a plain call": "llm('a', [('refund', {'order': '1'}), ('look', {'order': '1'})])",
    "a question in the tool's words": "llm('a', [('leave', {'days': 3})])",
    "a question after a transfer": (
        "llm('a', [('transfer_to_agent', {'agent_name': 'b'})], sub_agents=[llm('b', one('1'), one('2'))])"
    ),
    "a question beside a long-running call": "llm('a', [('refund', {'order': '1'}), ('build', {'branch': '1'})])",
    "a long-running call beside a plain one": "llm('a', [('build', {'branch': '1'}), ('look', {'order': '1'})])",
    "a long-running call without a word beside a plain one": (
        "llm('a', [('order', {'item': '1'}), ('look', {'order': '1'})], one('1'))"
    ),
    "a long-running call without a word beside one with a word": (
        "llm('a', [('order', {'item': '1'}), ('build', {'branch': '1'}), ('look', {'order': '1'})])"
    ),
    "a long-running call without a word beside a question": (
        "llm('a', [('refund', {'order': '1'}), ('order', {'item': '1'}), ('look', {'order': '1'})], one('2'))"
    ),
    "a task that is given twice": (
        "llm('a', [('clerk', {'request': '1'})], [('clerk', {'request': '2'})], tools=[], sub_agents=[llm('clerk',"
        " [('look', {'order': '1'})], [('finish_task', {'result': 'done'})], mode='task', description='Looks.')])"
    ),
    "an input for a node": "Workflow(name='r', edges=[(START, ask, take)])",
    "a node behind an agent that asks": (
        "Workflow(name='r', edges=[(START, llm('a', [('look', {'order': '1'})], one('1')), ask, llm('b', one('2')))])"
    ),
    "a callback that answers in place of the model": (
        "llm('a', before_model_callback=Instead(one('1'), [('look', {'order': '1'})], one('2')))"
    ),
    "a model that streams": "llm('a', one('1'), [('look', {'order': '1'})], one('2'), streams=True)",
    "an agent inside a tool beside a question": (
        "llm('a', [('clerk', {'request': '1'})], [('refund', {'order': '1'}), ('clerk', {'request': '2'})], "
        "tools=[FunctionTool(refund, require_confirmation=True), AgentTool(llm('clerk', [('look', {'order': '1'})]))])"
    ),
    "an agent inside a tool that a person approves": (
        "llm('a', [('clerk', {'request': '1'})], tools=[Confirmed(llm('clerk', [('look', {'order': '1'})]))])"
    ),
    "a long-running call beside two questions": (
        "llm('a', [('refund', {'order': '1'}), ('build', {'branch': '1'}), ('refund', {'order': '2'})])"
    ),
    "two long-running calls of one answer": (
        "llm('a', [('build', {'branch': '1'}), ('build', {'branch': '2'}), ('look', {'order': '1'})])"
    ),
    "questions of two steps": (
        "SequentialAgent(name='r', sub_agents=[llm('a', one('1')), llm('b', one('2')), llm('c')])"
    ),
}

TASKS = ("a task that is given twice", "an agent inside a tool beside a question")
"""Flows of two tasks, in each of which the same call is made."""
SEVERAL = (
    "two questions of one answer",
    "a question beside a long-running call",
    "a long-running call beside two questions",
    "two long-running calls of one answer",
)
"""Flows with several questions of one answer."""


class Died(Exception):
    """The process of the run died."""


class Fault(StrEnum):
    """What happens at one of the events that a flow stores."""

    DIES_AFTER = "the process dies after it"
    REFUSES = "the store does not write it, and is well again"


class Flow:
    """One flow, played to its end with every question approved; one run dies on the way."""

    def __init__(self, job: Job, *, one_by_one: bool = False) -> None:
        """:param one_by_one: a run begins with each single answer of a person."""
        self.job = job
        self.one_by_one = one_by_one
        self.asked: dict[str, str] = {}
        """Questions by their id."""
        self.answers: dict[str, dict[str, Any]] = {}
        self.stored = 0
        self.broke = self.retried = False

    async def play(
        self, patch: pytest.MonkeyPatch, at: int | None, fault: Fault = Fault.DIES_AFTER
    ) -> Outcome:
        for _ in range(12):
            forget_services()
            try:
                outcome = await self._run(patch, at, fault)
            except Died:
                at = None
                continue
            if outcome.verdict in (Verdict.RETRY, Verdict.SNOOZE) and self.broke and not self.retried:
                at, self.retried = None, True
                continue
            if outcome.verdict is not Verdict.ASK:
                return outcome
            for request in outcome.requests:
                self.asked[request.id] = (
                    f"{request.tool} {json.dumps(json.loads(request.arguments or 'null'), sort_keys=True)}"
                )
                confirms = request.kind == QuestionKind.CONFIRMATION
                self.answers[request.id] = {"approved": True} if confirms else {"payload": {"status": "ok"}}
            given = self.job.fields.get("answers", {})
            new = [id for id in self.answers if id not in given]
            told = new[:1] if self.one_by_one else new
            self.job.fields["answers"] = given | {id: self.answers[id] for id in told}
        raise AssertionError("it asks for ever")

    async def _run(self, patch: pytest.MonkeyPatch, at: int | None, fault: Fault) -> Outcome:
        run = asyncio.create_task(self.job.attempt())
        store, flow = PostgresSessions.append_event, self

        async def append(self: PostgresSessions, session: Any, event: Any) -> Any:
            flow.stored += 1
            now = flow.stored == at
            flow.broke = flow.broke or now
            if now and fault is Fault.REFUSES:
                raise SessionStoreUnavailable("The database is away.")
            stored = await store(self, session, event)
            if now:
                run.cancel()
                await asyncio.Event().wait()
            return stored

        with patch.context() as patched:
            patched.setattr(PostgresSessions, "append_event", append)
            try:
                return await run
            except asyncio.CancelledError:
                raise Died from None


@pytest.mark.parametrize(
    ("numbers_calls", "fault"),
    [(False, Fault.DIES_AFTER), (True, Fault.DIES_AFTER), (False, Fault.REFUSES)],
    ids=["ids of ADK", "ids that count", "a store that refuses"],
)
@pytest.mark.parametrize("flow", FLOWS)
async def test_h32_nobody_is_asked_twice_and_no_finished_call_is_made_again(
    dsn: str,
    write_module: Write,
    monkeypatch: pytest.MonkeyPatch,
    flow: str,
    numbers_calls: bool,
    fault: Fault,
) -> None:
    source = SOURCE.replace("NUMBERS_CALLS = False", f"NUMBERS_CALLS = {numbers_calls}")
    write_module("questions", source + f"\n    root_agent = {FLOWS[flow]}\n")
    whole = await played(dsn, monkeypatch, None)
    assert not problems(whole, whole), problems(whole, whole)
    assert all(count == 1 or flow in TASKS for count in whole.calls.values()), whole.calls
    found = []
    for at in range(1, whole.stored + 1):
        cut = await played(dsn, monkeypatch, at, fault)
        found += [f"event {at}: {problem}" for problem in problems(cut, whole, fault)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("flow", SEVERAL)
async def test_h32_answers_that_come_one_by_one_ask_nobody_twice_and_lose_no_call(
    dsn: str, write_module: Write, monkeypatch: pytest.MonkeyPatch, flow: str
) -> None:
    write_module("questions", f"{SOURCE}\n    root_agent = {FLOWS[flow]}\n")
    whole = await played(dsn, monkeypatch, None, one_by_one=True)
    assert set(whole.calls.values()) == {1}, whole.calls
    found = []
    for at in range(1, whole.stored + 1):
        cut = await played(dsn, monkeypatch, at, one_by_one=True)
        found += [f"event {at}: {problem}" for problem in problems(cut, whole, Fault.DIES_AFTER)]
    assert not found, "\n".join(found)


class Played(Flow):
    outcome: Outcome
    calls: Counter[str]
    requests: list[Any]
    done_before: Counter[str]


async def test_results_of_several_answers_stand_behind_their_own_calls_in_the_run_and_in_later_jobs(
    dsn: str, write_module: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's answers come in one message, and ADK would put the whole of it behind each of the calls."""
    begins = "[('build', {'branch': '1'})], [('build', {'branch': '2'})]"
    write_module(
        "questions", f"{SOURCE}\n    root_agent = llm('a', {begins}, [('look', {{'order': '1'}})])\n"
    )
    for _ in range(2):
        flow = Flow(
            Job(
                module("questions"), "Build it.", modules=("questions",), dsn=dsn, session_id="builds_in_turn"
            )
        )
        assert (await flow.play(monkeypatch, None)).verdict is Verdict.COMPLETE
    requests = sys.modules["questions"].REQUESTS
    assert len(requests) > 5
    assert not [rule for _, contents in requests for rule in broken_rules(contents)]


async def played(
    dsn: str,
    patch: pytest.MonkeyPatch,
    at: int | None,
    fault: Fault = Fault.DIES_AFTER,
    one_by_one: bool = False,
) -> Played:
    sys.modules.pop("questions", None)
    flow = Played(
        Job(module("questions"), "Refund it.", modules=("questions",), dsn=dsn), one_by_one=one_by_one
    )
    flow.outcome = await flow.play(patch, at, fault)
    loaded = sys.modules["questions"]
    flow.calls, flow.requests = Counter(loaded.CALLS), list(loaded.REQUESTS)
    return flow


def problems(flow: Played, whole: Played, fault: Fault | None = None) -> list[str]:
    """
    :param fault: what happened. None: nothing. A call that was under way may be made again, once: one where the process died, and
        those of one answer of the model where their results were not written.
    """
    found = []
    if (flow.outcome.verdict, flow.outcome.result) != (Verdict.COMPLETE, whole.outcome.result):
        found.append(f"{flow.outcome.verdict.value} {flow.outcome.reason} {flow.outcome.result!r}")
    if Counter(flow.asked.values()) != Counter(whole.asked.values()):
        found.append(f"asked {sorted(flow.asked.values())}")
    again = flow.calls - whole.calls
    repeats = max(again.values(), default=0) if fault is Fault.REFUSES else again.total()
    if repeats > (fault is not None) or whole.calls - flow.calls:
        found.append(f"called {dict(flow.calls)}")
    found += [f"{agent}: {rule}" for agent, contents in flow.requests for rule in broken_rules(contents)]
    return found
