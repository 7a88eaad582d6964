"""Entries against ADK's own events: what ADK's Runner stores of agents of several shapes, told from the JSON alone."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from gemini import Answer, FakeGemini, call, calls, error, served, text, truncated
from google.adk.agents import LlmAgent, LoopAgent, ParallelAgent, SequentialAgent
from google.adk.code_executors import BuiltInCodeExecutor
from google.adk.events.event import Event
from google.adk.runners import InMemoryRunner
from google.adk.tools import FunctionTool, LongRunningFunctionTool, ToolContext
from google.genai import types

from agentjobs.agents.run.events import tokens
from agentjobs.agents.sessions.rows import column_time, event_json
from agentjobs.transcript.entry import Entry, Kind
from agentjobs.transcript.event_entries import StoredEvent, entries_of
from agentjobs.values.usage import NO_USAGE

MODEL = "gemini-2.5-flash"
PNG = base64.b64encode(bytes(range(200))).decode()


def book(city: str) -> dict[str, Any]:
    """Books."""
    return {"booked": city, "seats": [1, 2.5, None]}


def remember(tool_context: ToolContext) -> str:
    """Writes state."""
    tool_context.state["seen"] = {"deep": [1]}
    tool_context.state["user:name"] = "Ann"
    return "remembered"


def give_up(tool_context: ToolContext) -> str:
    """Escalates."""
    tool_context.actions.escalate = True
    return "left"


def file_request() -> dict[str, str]:
    """Begins something long."""
    return {"status": "pending"}


def break_down() -> None:
    """Fails."""
    raise RuntimeError("broken")


def agent(name: str = "root", **more: Any) -> LlmAgent:
    return LlmAgent(**{"name": name, "model": MODEL, "instruction": "Answer.", **more})


def parts(*said: dict[str, Any]) -> Answer:
    """An answer of these parts."""
    answer = text("")
    answer.body["candidates"][0]["content"]["parts"] = list(said)
    return answer


Say = str | Callable[[list[Event]], types.Content]


@dataclass(frozen=True)
class Shape:
    agent: Callable[[], Any]
    answers: tuple[Answer, ...] = ()
    answers_for: tuple[tuple[str, Answer], ...] = ()
    said: tuple[Say, ...] = ("Hello",)
    kinds: frozenset[Kind] = frozenset()
    """Kinds that must be among the entries, so that a shape cannot silently become another."""


def approve(events: list[Event]) -> types.Content:
    return _answer(events, {"confirmed": True, "hint": "known customer"})


def reject(events: list[Event]) -> types.Content:
    return _answer(events, {"confirmed": False})


def _answer(events: list[Event], response: dict[str, Any]) -> types.Content:
    (asked,) = [c for e in events for c in e.get_function_calls() if c.name == "adk_request_confirmation"]
    reply = types.FunctionResponse(id=asked.id, name=asked.name, response=response)
    return types.Content(role="user", parts=[types.Part(function_response=reply)])


SHAPES = {
    "an answer with a thought": Shape(
        agent, (text("Hi.", thought="A greeting."),), kinds=frozenset({Kind.TEXT, Kind.THOUGHT})
    ),
    "tools, two at once": Shape(
        lambda: agent(tools=[book, remember]),
        (calls(("book", {"city": "Rome"}), ("remember", {})), call("book", {"city": "Oslo"}), text("Done.")),
        kinds=frozenset({Kind.CALL, Kind.RESULT, Kind.STATE, Kind.TEXT}),
    ),
    "two turns": Shape(
        lambda: agent(output_key="last"), (text("One."), text("Two.")), said=("First", "Second")
    ),
    "a sequence": Shape(
        lambda: SequentialAgent(name="root", sub_agents=[agent("one"), agent("two")]),
        answers_for=(("one", text("1")), ("two", text("2"))),
    ),
    "parallel agents": Shape(
        lambda: ParallelAgent(name="root", sub_agents=[agent("one", tools=[book]), agent("two")]),
        answers_for=(("one", call("book", {"city": "Rome"})), ("one", text("1")), ("two", text("2"))),
    ),
    "a loop that escalates": Shape(
        lambda: LoopAgent(name="root", max_iterations=3, sub_agents=[agent("one", tools=[give_up])]),
        (call("give_up"), text("Left.")),
        kinds=frozenset({Kind.CONTROL}),
    ),
    "a transfer to a sub-agent": Shape(
        lambda: agent(sub_agents=[agent("other", description="Knows.")]),
        (call("transfer_to_agent", {"agent_name": "other"}), text("I know.")),
        kinds=frozenset({Kind.TRANSFER}),
    ),
    "a question that is approved": Shape(
        lambda: agent(tools=[FunctionTool(book, require_confirmation=True)]),
        (call("book", {"city": "Rome"}), text("Booked.")),
        said=("Hello", approve),
        kinds=frozenset({Kind.QUESTION, Kind.ANSWER, Kind.RESULT}),
    ),
    "a question that is rejected": Shape(
        lambda: agent(tools=[FunctionTool(book, require_confirmation=True)]),
        (call("book", {"city": "Rome"}), text("Then not.")),
        said=("Hello", reject),
        kinds=frozenset({Kind.QUESTION, Kind.ANSWER}),
    ),
    "a tool that raises": Shape(
        lambda: agent(tools=[break_down]), (call("break_down"),), kinds=frozenset({Kind.ERROR})
    ),
    "a model that refuses": Shape(agent, (error(400, "no such thing"),), kinds=frozenset({Kind.ERROR})),
    "an answer that is cut": Shape(
        agent, (truncated("Half an ans"),), kinds=frozenset({Kind.ERROR, Kind.TEXT})
    ),
    "an empty answer": Shape(agent, (parts(),), kinds=frozenset({Kind.ERROR})),
    "a long-running tool": Shape(
        lambda: agent(tools=[LongRunningFunctionTool(file_request)]), (call("file_request"), text("Filed."))
    ),
    "code that the model ran": Shape(
        lambda: agent(code_executor=BuiltInCodeExecutor()),
        (
            parts(
                {"executableCode": {"code": "print(6 * 7)", "language": "PYTHON"}},
                {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "42\n"}},
                {"text": "It is 42."},
            ),
        ),
        kinds=frozenset({Kind.CODE, Kind.CODE_RESULT, Kind.TEXT}),
    ),
    "an image in the answer": Shape(
        agent,
        (parts({"text": "Here:"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}),),
        kinds=frozenset({Kind.FILE, Kind.TEXT}),
    ),
}


@pytest.fixture(scope="module")
def model() -> Iterator[FakeGemini]:
    with pytest.MonkeyPatch.context() as patch, served(patch) as server:
        yield server


async def recorded(shape: Shape, model: FakeGemini) -> list[Event]:
    """The events that ADK's Runner stores."""
    model.forget()
    model.script(*shape.answers)
    for name, answer in shape.answers_for:
        model.script_for(name, answer)
    runner = InMemoryRunner(agent=shape.agent(), app_name="app")
    key: dict[str, Any] = {"app_name": "app", "user_id": "ann", "session_id": "s"}
    await runner.session_service.create_session(**key)
    events: list[Event] = []
    for said in shape.said:
        message = types.UserContent(said) if isinstance(said, str) else said(events)
        with suppress(Exception):  # ADK stores an event of what it then raises
            async for _ in runner.run_async(user_id="ann", session_id="s", new_message=message):
                pass
        session = await runner.session_service.get_session(**key)
        assert session is not None
        events = session.events
    return events


def stored(event: Event) -> StoredEvent:
    """The event as our session store stores it."""
    return StoredEvent(
        event.id, event.invocation_id, column_time(event.timestamp).replace(tzinfo=UTC), event_json(event)
    )


@pytest.mark.parametrize("shape", SHAPES)
async def test_entries_tell_what_adks_own_events_hold(shape: str, model: FakeGemini) -> None:
    events = await recorded(SHAPES[shape], model)
    entries = [entries_of(stored(event)) for event in events]
    assert len(events) > len(SHAPES[shape].said)
    for event, told in zip(events, entries, strict=True):
        assert [as_told(entry) for entry in told] == expected(event)
        assert {(e.author, e.invocation, e.branch) for e in told} == {
            (event.author, event.invocation_id, event.branch or "")
        }
        assert [e.cursor.number for e in told] == list(range(len(told)))
        assert told[0].at == datetime.fromtimestamp(event.timestamp, UTC)
        spent = told[0].tokens or NO_USAGE
        assert (spent.prompt_tokens, spent.output_tokens, spent.total_tokens) == _counts(event)
        assert [e.tokens for e in told[1:]] == [None] * (len(told) - 1)
    seen = {entry.kind for told in entries for entry in told}
    assert SHAPES[shape].kinds <= seen
    assert Kind.OTHER not in seen


def _counts(event: Event) -> tuple[int, int, int]:
    usage = tokens(event.usage_metadata)
    return usage.prompt_tokens, usage.output_tokens, usage.total_tokens


Told = tuple[str, str, str, str, str, Any]


def as_told(entry: Entry) -> Told:
    return (entry.kind.value, entry.tool, entry.call, entry.text, entry.note, entry.data)


def expected(event: Event) -> list[Told]:
    """What the event holds, by ADK's own classes."""
    found: list[Told] = []
    for part in (event.content.parts if event.content else None) or []:
        found += _of_part(part, event)
    actions = event.actions
    if actions.transfer_to_agent:
        found.append(("transfer", actions.transfer_to_agent, "", "", "", None))
    if actions.state_delta:
        found.append(("state", "", "", "", "", actions.state_delta))
    if actions.escalate:
        found.append(("control", "", "", "", "escalate", None))
    if event.error_code or event.error_message:
        found.append(("error", "", "", event.error_message or "", event.error_code or "", None))
    elif event.finish_reason and event.finish_reason.value != "STOP":
        found.append(("error", "", "", "", event.finish_reason.value, None))
    return found or [("empty", "", "", "", "", None)]


def _of_part(part: types.Part, event: Event) -> Iterator[Told]:
    if part.text:
        yield ("thought" if part.thought else "text", "", "", part.text, "", None)
    if (made := part.function_call) is not None:
        arguments = made.args or {}
        if made.name == "adk_request_confirmation":
            original = arguments["originalFunctionCall"]
            yield ("question", original["name"], made.id or "", "", "confirmation", original["args"])
        else:
            note = "long-running" if made.id in (event.long_running_tool_ids or ()) else ""
            yield ("call", made.name or "", made.id or "", "", note, arguments)
    if (given := part.function_response) is not None:
        response = given.response or {}
        if given.name == "adk_request_confirmation":
            note = "approved" if response["confirmed"] else "rejected"
            yield ("answer", given.name, given.id or "", response.get("hint", ""), note, None)
        else:
            stand_in = given.id in event.actions.requested_tool_confirmations
            note = "stand-in" if stand_in else "error" if "error" in response else ""
            yield ("result", given.name or "", given.id or "", "", note, response)
    if (code := part.executable_code) is not None:
        yield ("code", "", code.id or "", code.code or "", code.language.value if code.language else "", None)
    if (ran := part.code_execution_result) is not None:
        yield (
            "code_result",
            "",
            ran.id or "",
            ran.output or "",
            ran.outcome.value if ran.outcome else "",
            None,
        )
    if (blob := part.inline_data) is not None:
        yield (
            "file",
            "",
            "",
            blob.display_name or "",
            "",
            {"type": blob.mime_type, "bytes": len(blob.data or b"")},
        )
