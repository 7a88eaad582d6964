"""The part of a history that a run may see: each kind of event that leads nowhere, and each that stays."""

from __future__ import annotations

from typing import Any

import pytest
from google.adk.agents import LlmAgent
from google.adk.events.event import Event
from google.adk.events.event_actions import EventActions
from google.adk.tools.tool_confirmation import ToolConfirmation
from google.genai import types

from agentjobs.agents.run.events import CONFIRMATION
from agentjobs.agents.run.history import MARKER, REPEATED, answer_of, answers_apart, visible

OURS, THEIRS = "job-u", "job-of-another"
ROOT = LlmAgent(name="a", model="echo", sub_agents=[LlmAgent(name="b", model="echo")])


def event(*parts: types.Part, author: str = "a", role: str = "model", **fields: Any) -> Event:
    content = types.Content(role=role, parts=list(parts)) if parts else fields.pop("content", None)
    return Event(author=author, content=content, invocation_id=fields.pop("invocation_id", OURS), **fields)


def text(said: str, **fields: Any) -> types.Part:
    return types.Part(text=said, **fields)


def call(id: str, name: str = "act", **arguments: Any) -> types.Part:
    return types.Part(function_call=types.FunctionCall(id=id, name=name, args=arguments))


def result(id: str, name: str = "act", **response: Any) -> types.Part:
    return types.Part(
        function_response=types.FunctionResponse(id=id, name=name, response=response or {"ok": 1})
    )


def request(id: str, about: str) -> Event:
    asked = call(id, CONFIRMATION, originalFunctionCall={"id": about, "name": "act", "args": {}})
    return event(asked, long_running_tool_ids={id})


def stand_in(*parts: types.Part, about: str) -> Event:
    asked = {about: ToolConfirmation()}
    return event(*parts, role="user", actions=EventActions(requested_tool_confirmations=asked))


CODE = types.Part(executable_code=types.ExecutableCode(code="1+1", language=types.Language.PYTHON))
RAN = types.Part(
    code_execution_result=types.CodeExecutionResult(outcome=types.Outcome.OUTCOME_OK, output="2")
)
USER = event(text("Do it."), author="user", role="user")
CALLED, RESULT = event(call("1")), event(result("1"), role="user")

STAYS: dict[str, list[Event]] = {
    "the message": [USER],
    "a call with its result": [CALLED, RESULT],
    "two calls, of which one has a result": [event(call("1"), call("2")), RESULT],
    "an answer": [event(text("The answer."))],
    "an answer and what it failed with": [event(text("The answer.")), event(error_code="RuntimeError")],
    "an error without content": [event(error_code="500")],
    "a change of state": [event(actions=EventActions(state_delta={"k": 1}))],
    "an escalation": [event(actions=EventActions(escalate=True))],
    "our mark": [event(author=MARKER)],
    "an aborted call": [CALLED, event(result("1", error="aborted"), role="user", error_code="INVOCATION_ABORTED")],
    "code and its result": [event(CODE), event(RAN)],
    "a whole question": [CALLED, request("q", "1"), stand_in(result("1"), about="1")],
    "a whole question, the stand-in first": [CALLED, stand_in(result("1"), about="1"), request("q", "1")],
    "a transfer": [event(call("1", "transfer_to_agent")), event(result("1"), actions=EventActions(transfer_to_agent="b"))],
    "another job's dead ends": [
        event(call("1"), invocation_id=THEIRS), event(text("half"), error_code="SAFETY", invocation_id=THEIRS)
    ],
}  # fmt: skip

LEFT_OUT: dict[str, Event] = {
    "a call": CALLED,
    "a call with words": event(text("I look."), call("1")),
    "a cut answer": event(text("half"), finish_reason=types.FinishReason.MAX_TOKENS),
    "a blocked answer": event(text("half"), error_code="SAFETY"),
    "an error with content": event(text("half"), error_code="MALFORMED_FUNCTION_CALL"),
    "thoughts": event(text("hm", thought=True)),
    "space": event(text(" \n")),
    "a signature": event(types.Part(thought_signature=b"s")),
    "no parts": event(content=types.Content(role="model", parts=[])),
    "code without its result": event(text("I count."), CODE),
    "a long-running call": event(call("1"), long_running_tool_ids={"1"}),
    "half a question: the request": request("q", "1"),
    "half a question: the stand-in": stand_in(result("1"), about="1"),
}


@pytest.mark.parametrize("case", STAYS)
def test_what_leads_somewhere_stays(case: str) -> None:
    assert visible([USER, *STAYS[case]], OURS, ROOT) == [USER, *STAYS[case]]


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_leads_nowhere_is_left_out_wherever_it_is(case: str) -> None:
    dead = LEFT_OUT[case]
    before = dead.model_dump()
    assert visible([USER, dead], OURS, ROOT) == [USER]
    answer = event(text("The answer."))
    assert visible([USER, dead, answer], OURS, ROOT) == [USER, answer], "a later attempt answered"
    assert dead.model_dump() == before, "nothing stored is changed"


@pytest.mark.parametrize(
    "case", ["a call", "a call with words", "code without its result", "a long-running call"]
)
def test_what_leads_nowhere_is_no_answer(case: str) -> None:
    assert answer_of(LEFT_OUT[case]) is None


def test_an_id_that_the_provider_used_before_does_not_answer_a_call() -> None:
    again = event(call("1"))
    assert visible([USER, CALLED, RESULT, again], OURS, ROOT) == [USER, CALLED, RESULT]
    assert visible([USER, again, CALLED, RESULT], OURS, ROOT) == [USER, CALLED, RESULT]


def test_an_answer_after_which_the_agent_failed_twice_is_left_out() -> None:
    answer, failed = event(text("The answer.")), event(error_code="ValueError")
    repeated = event(text("The answer."), custom_metadata={REPEATED: True})
    once = [USER, answer, failed]
    assert visible(once, OURS, ROOT) == once
    assert visible([*once, repeated], OURS, ROOT) == [*once, repeated], "that run died, and did not fail"
    assert visible([*once, repeated, failed], OURS, ROOT) == [USER, failed, failed]


def test_a_result_beside_half_a_question_stays() -> None:
    both = event(call("1"), call("2"))
    results = stand_in(result("2"), result("1"), about="1")
    _, called, seen = visible([USER, both, results], OURS, ROOT)
    assert called == both
    assert [r.id for r in seen.get_function_responses()] == ["2"]
    assert not seen.actions.requested_tool_confirmations


def test_a_long_running_call_of_another_job_no_longer_waits() -> None:
    """Providers refuse a call without a result; ADK drops it from prompts unless it is marked as waiting."""
    theirs = event(call("1"), long_running_tool_ids={"1"}, invocation_id=THEIRS)
    (seen,) = visible([theirs], OURS, ROOT)
    assert seen.long_running_tool_ids is None
    assert theirs.long_running_tool_ids == {"1"}


@pytest.mark.parametrize("target", ["nobody", "a"])
def test_a_refused_transfer_becomes_an_error_that_the_model_reads(target: str) -> None:
    moved = event(
        result("1", "transfer_to_agent"), role="user", actions=EventActions(transfer_to_agent=target)
    )
    _, _, seen = visible([USER, event(call("1", "transfer_to_agent")), moved], OURS, ROOT)
    assert seen.actions.transfer_to_agent is None
    (response,) = seen.get_function_responses()
    assert response.response is not None
    assert "not handed over" in response.response["error"]


ONE, TWO = event(call("1")), event(call("2"))
BOTH = event(result("1"), result("2"), author="user", role="user")
LATER = event(text("Go on."), author="user", role="user")


def ids(events: list[Event]) -> list[list[str | None]]:
    return [[response.id for response in each.get_function_responses()] for each in events]


def test_inputs_and_results_of_one_message_stand_behind_their_own_calls() -> None:
    asked = event(call("2", "adk_request_input"))
    both = event(result("1"), result("2", "adk_request_input"), author="user", role="user")
    assert ids(answers_apart([ONE, asked, both, LATER])) == [[], [], ["1"], ["2"], []]


def test_an_answer_to_calls_of_two_events_stands_behind_each() -> None:
    before = BOTH.model_dump()
    assert ids(answers_apart([ONE, TWO, BOTH, LATER])) == [[], [], ["1"], ["2"], []]
    assert BOTH.model_dump() == before, "nothing stored is changed"


@pytest.mark.parametrize(
    "events",
    [
        [ONE, TWO, BOTH],
        [event(call("1"), call("2")), BOTH, LATER],
        [request("1", "a"), request("2", "b"), event(result("1", CONFIRMATION), result("2", CONFIRMATION), author="user"), LATER],
        [event(call("1"), call("2")), event(result("1"), result("2")), LATER],
    ],
    ids=["the last event", "calls of one event", "confirmations", "results of the tools"],
)  # fmt: skip
def test_answers_that_adk_takes_together_stay_together(events: list[Event]) -> None:
    assert ids(answers_apart(events)) == ids(events)
