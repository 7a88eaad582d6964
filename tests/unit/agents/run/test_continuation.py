"""How a run goes on in a history: answered, asked, or run with which message and from which step."""

from __future__ import annotations

from typing import Any

import pytest
from google.adk.agents import LlmAgent, LoopAgent, SequentialAgent
from google.adk.events.event import Event
from google.genai import types

from agentjobs.agents.run.continuation import (
    FINISHED,
    Answered,
    Asked,
    Run,
    continuation,
    last_answer,
    remaining,
)
from agentjobs.agents.run.events import CONFIRMATION
from agentjobs.agents.run.history import MARKER


def event(said: str = "", author: str = "a", **fields: Any) -> Event:
    role = "user" if author == "user" else "model"
    content = types.Content(role=role, parts=[types.Part(text=said)]) if said else None
    return Event(author=author, content=content, invocation_id="job-u", **fields)


def llm(name: str) -> LlmAgent:
    return LlmAgent(name=name, model="echo")


def question(id: str, author: str = "a") -> Event:
    call = types.FunctionCall(
        id=id, name=CONFIRMATION, args={"originalFunctionCall": {"id": "1", "name": "act"}}
    )
    content = types.Content(role="model", parts=[types.Part(function_call=call)])
    return Event(author=author, content=content, invocation_id="job-u", long_running_tool_ids={id})


def reply(id: str) -> Event:
    response = types.FunctionResponse(id=id, name=CONFIRMATION, response={"confirmed": True})
    content = types.Content(role="user", parts=[types.Part(function_response=response)])
    return Event(author="user", content=content, invocation_id="job-u")


USER, ANSWER = event("Do it.", "user"), event("The answer.")
DO_IT = types.UserContent(parts=[types.Part(text="Do it.")])
MARK = Event(author=MARKER, invocation_id="job-u", custom_metadata={FINISHED: True})
FAILED, ABORTED = event(error_code="RuntimeError"), event(error_code="INVOCATION_ABORTED")
QUESTION = question("q")


@pytest.mark.parametrize(
    ("history", "needs_mark", "expected"),
    [
        ([], False, "run: Do it."),
        ([USER], False, "run: Do it."),
        ([USER, ANSWER], False, "answered"),
        ([USER, ANSWER], True, "run: Do it."),
        ([USER, ANSWER, MARK], True, "answered"),
        ([USER, ANSWER, event(actions={"escalate": True}, author="critic"), MARK], True, "answered"),
        ([USER, ANSWER, ABORTED], False, "answered"),  # the abort came too late (H15)
        ([USER, ANSWER, FAILED], False, "run: Do it."),
        ([USER, FAILED], False, "run: Do it."),
        ([USER, ABORTED], False, "run: Do it."),
        ([USER, QUESTION], False, "asked: q"),
        ([USER, QUESTION, question("r")], False, "asked: q r"),
        ([USER, QUESTION, reply("q")], False, "run: Do it."),
        ([USER, QUESTION, reply("q"), question("r")], False, "asked: r"),
    ],
)  # fmt: skip
def test_how_a_run_goes_on(history: list[Event], needs_mark: bool, expected: str) -> None:
    assert told(history, needs_mark, {}) == expected


def test_answers_are_sent_when_all_are_there() -> None:
    yes = {"approved": True}
    history = [USER, QUESTION, question("r")]
    assert told(history, False, {"q": yes}) == "asked: q r"
    assert told(history, False, {"q": yes, "r": yes}) == "run: q r"


def test_nothing_else_is_asked_until_an_approved_call_is_made() -> None:
    """ADK makes the calls of the user's last message alone."""
    begun = event()
    begun.content = types.Content(
        role="model", parts=[types.Part(function_call=types.FunctionCall(id="l", name="build", args={}))]
    )
    begun.long_running_tool_ids = {"l"}
    made = event()
    made.content = types.Content(
        role="user",
        parts=[types.Part(function_response=types.FunctionResponse(id="1", name="act", response={}))],
    )
    history = [USER, begun, QUESTION, reply("q")]
    assert told(history, False, {}) == "run: Do it."
    assert told(history, False, {"l": {"payload": "built"}}) == "run: Do it."
    assert told([*history, made], False, {}) == "asked: l"


def test_a_call_whose_result_somebody_was_asked_for_has_been_made() -> None:
    """A long-running tool that asks first, and then has nothing to say yet: no event tells of the call."""
    begun = event()
    begun.content = types.Content(
        role="model", parts=[types.Part(function_call=types.FunctionCall(id="1", name="act", args={}))]
    )
    begun.long_running_tool_ids = {"1"}
    history = [USER, begun, QUESTION, reply("q")]
    assert told(history, False, {"q": {"approved": True}}) == "run: Do it."
    assert told(history, False, {"q": {"approved": True}, "1": {"payload": "built"}}) == "run: 1"


def test_the_output_of_a_node_is_an_answer() -> None:
    """Such as that of a workflow's last function, which says nothing."""
    found = last_answer([USER, event(author="node", output="The answer.")], single_step=False)
    assert found is not None
    assert found.answer == "The answer."


def told(history: list[Event], needs_mark: bool, answers: dict[str, Any]) -> str:
    found = continuation(history, root=llm("a"), needs_mark=needs_mark, message=DO_IT, answers=answers)
    match found:
        case Answered(ending):
            assert ending.answer == "The answer."
            return "answered"
        case Asked(questions):
            return "asked: " + " ".join(question.id for question in questions)
        case Run(message):
            said = [part.text or part.function_response.id for part in message.parts or []]  # type: ignore[union-attr]
            return "run: " + " ".join(map(str, said))


@pytest.mark.parametrize(
    ("authors", "steps"),
    [
        ([], ["a", "loop", "c"]),
        (["user"], ["a", "loop", "c"]),
        (["user", "a"], ["a", "loop", "c"]),
        (["user", "a", "inner"], ["loop", "c"]),
        (["user", "a", "inner", "c"], ["c"]),
        (["user", "a", "somebody"], ["a", "loop", "c"]),
        (["user", "a", "inner", "agentjobs"], ["loop", "c"]),
    ],
)
def test_a_sequence_goes_on_with_the_step_that_spoke_last(authors: list[str], steps: list[str]) -> None:
    loop = LoopAgent(name="loop", sub_agents=[llm("inner")], max_iterations=1)
    root = SequentialAgent(name="r", sub_agents=[llm("a"), loop, llm("c")])
    left = remaining(root, [event("said", author) for author in authors])
    assert [step.name for step in left.sub_agents] == steps  # type: ignore[attr-defined]
    assert [step.name for step in root.sub_agents] == ["a", "loop", "c"]


def test_another_root_is_run_whole() -> None:
    root = LoopAgent(name="r", sub_agents=[llm("a")], max_iterations=1)
    assert remaining(root, [USER, ANSWER]) is root
