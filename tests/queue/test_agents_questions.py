"""Questions to a person, through ADK: what is asked, how the invocation goes on, and that the tool runs once."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import Any

import pytest
from agent_modules import Write, write_module
from gemini import FakeGemini, call, calls, error, gemini, text
from runs import Job, module

from agentjobs.agents.sessions.service import forget_services
from agentjobs.agents.verdict.outcome import Outcome, Verdict

pytestmark = pytest.mark.usefixtures("own_process")

__all__ = ["gemini", "write_module"]

HEAD = """
    from google.adk.agents import LlmAgent, LoopAgent, ParallelAgent, SequentialAgent
    from google.adk.tools import FunctionTool, LongRunningFunctionTool, ToolContext
    from google.adk.workflow import Workflow
    CALLS = []
    FAILURES = []
    def refund(order: str, cents: int = 0) -> dict:
        "Refunds."
        CALLS.append(order)
        if FAILURES:
            raise FAILURES.pop()
        return {"refunded": order}
    def look(order: str) -> dict:
        "Looks."
        CALLS.append(f"look {order}")
        return {"state": "paid"}
    def leave(days: int, tool_context: ToolContext) -> dict:
        "Asks for days off."
        answer = tool_context.tool_confirmation
        if answer is None:
            tool_context.request_confirmation(hint="How many of these days?", payload={"approved_days": 0})
            return {"status": "asked"}
        CALLS.append(("leave", answer.confirmed, answer.payload, answer.hint))
        return {"days": answer.payload["approved_days"]} if answer.confirmed else {"status": "refused"}
    confirmed = FunctionTool(refund, require_confirmation=True)
    above = FunctionTool(refund, require_confirmation=lambda order, cents=0: cents > 1000)
    def llm(name="agent", **more):
        return LlmAgent(name=name, model="gemini-2.5-flash", instruction="Answer.", **more)
"""
ASKING = "root_agent = llm(tools=[confirmed, look])"


def job(write_module: Write, dsn: str | None, source: str = ASKING) -> Job:
    write_module("asking", textwrap.dedent(HEAD) + textwrap.dedent(source))
    return Job(module("asking"), "Refund it.", modules=("asking",), dsn=dsn)


def loaded() -> Any:
    return sys.modules["asking"]


async def answered(asking: Job, outcome: Outcome, *approved: bool, **more: Any) -> Outcome:
    """The next run, in another process, with an answer to each question of ``outcome``."""
    assert outcome.verdict is Verdict.ASK, outcome
    answers = approved or (True,)
    asking.fields["answers"] = {
        request.id: {"approved": yes, **more} for request, yes in zip(outcome.requests, answers, strict=True)
    }
    forget_services()
    return await asking.attempt()


async def test_a_tool_that_needs_confirmation_asks_and_runs_once_after_the_approval(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("refund", {"order": "A-1", "cents": 5}), text("Refunded."))
    asking = job(write_module, dsn)
    asked = await asking.attempt()
    assert (asked.verdict, asked.reason) == (Verdict.ASK, "InputRequired")
    (request,) = asked.requests
    assert (request.tool, request.hint, request.payload) == ("refund", "", "")
    assert json.loads(request.arguments) == {"order": "A-1", "cents": 5}
    assert "A-1" not in asked.message, "messages go into logs and Events"
    assert Outcome.from_json(json.loads(json.dumps(asked.as_json()))) == asked
    assert loaded().CALLS == []

    outcome = await answered(asking, asked)
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Refunded.")
    assert loaded().CALLS == ["A-1"]
    assert [run.usage.tool_calls for run in (asked, outcome)] == [0, 1], "counted once, when it is made"
    assert gemini.requests[-1].user_messages == ["Refund it."]
    assert len(gemini.requests) == 2
    forget_services()
    assert (await asking.attempt()).result == "Refunded.", "the stored answer is enough"
    assert len(gemini.requests) == 2


async def test_an_unanswered_question_is_asked_again_without_a_model_call(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("refund", {"order": "A-1"}))
    asking = job(write_module, dsn)
    first = await asking.attempt()
    forget_services()
    again = await asking.attempt()
    assert (again.verdict, again.requests) == (Verdict.ASK, first.requests)
    assert len(gemini.requests) == 1


async def test_a_rejection_is_heard_and_the_agent_goes_on(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("refund", {"order": "A-1"}), text("I may not."))
    asking = job(write_module, dsn)
    outcome = await answered(asking, await asking.attempt(), False)
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "I may not.")
    assert loaded().CALLS == []
    assert outcome.usage.tool_calls == 0
    assert "rejected" in json.dumps(gemini.requests[-1].contents)


async def test_questions_one_after_another(dsn: str, gemini: FakeGemini, write_module: Write) -> None:
    gemini.script(
        call("refund", {"order": "A-1"}),
        call("look", {"order": "A-1"}),
        call("refund", {"order": "A-2"}),
        text("Both."),
    )
    asking = job(write_module, dsn)
    first = await asking.attempt()
    second = await answered(asking, first)
    assert json.loads(second.requests[0].arguments) == {"order": "A-2"}
    assert second.requests[0].id != first.requests[0].id
    outcome = await answered(asking, second)
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Both.")
    assert loaded().CALLS == ["A-1", "look A-1", "A-2"]


async def test_questions_of_one_model_answer_are_answered_together(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(
        calls(("refund", {"order": "A-1"}), ("look", {"order": "A-1"}), ("refund", {"order": "A-2"})),
        text("Done."),
    )
    asking = job(write_module, dsn)
    asked = await asking.attempt()
    assert [json.loads(request.arguments)["order"] for request in asked.requests] == ["A-1", "A-2"]
    assert loaded().CALLS == ["look A-1"], "what needs no confirmation is not held up"
    outcome = await answered(asking, asked, True, False)
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Done.")
    assert [run.usage.tool_calls for run in (asked, outcome)] == [1, 1]
    assert loaded().CALLS == ["look A-1", "A-1"]
    assert len(gemini.requests) == 2


async def test_a_tool_asks_with_words_of_its_own_and_gets_what_was_filled_in(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("leave", {"days": 5}), text("Three days."))
    asking = job(write_module, dsn, "root_agent = llm(tools=[leave])")
    asked = await asking.attempt()
    (request,) = asked.requests
    assert (request.hint, json.loads(request.payload)) == ("How many of these days?", {"approved_days": 0})
    assert len(gemini.requests) == 1, "the model is not asked before the answer is there"
    outcome = await answered(asking, asked, payload={"approved_days": 3}, reason="enough")
    assert outcome.result == "Three days."
    assert loaded().CALLS == [("leave", True, {"approved_days": 3}, "enough")]


async def test_an_approval_that_fills_nothing_in_gives_back_the_tools_own_payload(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("leave", {"days": 5}), text("None."))
    asking = job(write_module, dsn, "root_agent = llm(tools=[leave])")
    await answered(asking, await asking.attempt())
    assert loaded().CALLS == [("leave", True, {"approved_days": 0}, "")]


async def test_a_condition_on_the_arguments_decides_what_is_asked(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(
        call("refund", {"order": "small", "cents": 10}),
        call("refund", {"order": "large", "cents": 9999}),
        text("Ok."),
    )
    asking = job(write_module, dsn, "root_agent = llm(tools=[above])")
    asked = await asking.attempt()
    assert loaded().CALLS == ["small"]
    assert (await answered(asking, asked)).result == "Ok."
    assert loaded().CALLS == ["small", "large"]


async def test_an_approved_tool_that_failed_is_tried_again_without_asking_again(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("refund", {"order": "A-1"}), text("Refunded."))
    asking = job(write_module, dsn)
    asked = await asking.attempt()
    loaded().FAILURES.append(ConnectionError("the bank is away"))
    failed = await answered(asking, asked)
    assert (failed.verdict, failed.reason) == (Verdict.RETRY, "ToolFailed")
    forget_services()
    outcome = await asking.attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Refunded.")
    assert loaded().CALLS == ["A-1", "A-1"]
    answers = [e for e in await asking.stored() if e.author == "user" and e.get_function_responses()]
    assert len(answers) == 1, "an answer is said once"


async def test_a_model_that_fails_after_the_approved_call_does_not_repeat_it(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("refund", {"order": "A-1"}), error(500), text("Refunded."))
    asking = job(write_module, dsn)
    failed = await answered(asking, await asking.attempt())
    assert failed.reason == "ModelServerError"
    forget_services()
    outcome = await asking.attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Refunded.")
    assert loaded().CALLS == ["A-1"]


async def test_keys_of_the_worker_are_not_shown_and_long_arguments_are_cut(
    dsn: str, gemini: FakeGemini, write_module: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANK_API_KEY", "key-that-nobody-sees")
    gemini.script(call("refund", {"order": "key-that-nobody-sees " + "x" * 5000}))
    (request,) = (await job(write_module, dsn).attempt()).requests
    assert "nobody" not in request.arguments
    assert len(request.arguments.encode()) == 1024
    assert request.arguments.endswith("…")


# roots -----------------------------------------------------------------------------------------------


TRANSFER = """
    clerk = llm("clerk", description="Refunds.", tools=[confirmed])
    root_agent = llm(sub_agents=[clerk])
"""


async def test_an_agent_that_was_handed_the_turn_asks_and_goes_on(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(
        call("transfer_to_agent", {"agent_name": "clerk"}),
        call("refund", {"order": "A-1"}),
        text("Refunded."),
    )
    asking = job(write_module, dsn, TRANSFER)
    outcome = await answered(asking, await asking.attempt())
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Refunded.")
    assert loaded().CALLS == ["A-1"]
    assert len(gemini.requests) == 3
    forget_services()
    assert (await asking.attempt()).result == "Refunded."
    assert len(gemini.requests) == 3


async def test_an_agent_that_was_handed_the_turn_does_not_repeat_the_approved_call(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(
        call("transfer_to_agent", {"agent_name": "clerk"}),
        call("refund", {"order": "A-1"}),
        error(500),
        text("Ok."),
    )
    asking = job(write_module, dsn, TRANSFER)
    assert (await answered(asking, await asking.attempt())).reason == "ModelServerError"
    forget_services()
    outcome = await asking.attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Ok.")
    assert loaded().CALLS == ["A-1"]


SEQUENCE = """
    root_agent = SequentialAgent(name="steps", sub_agents=[
        llm("first", tools=[look]), llm("second", tools=[confirmed]), llm("third", tools=[confirmed])])
"""


async def test_a_sequence_goes_on_with_the_step_that_asked_and_those_after_it(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(
        text("One."),
        call("refund", {"order": "A-1"}),
        text("Two."),
        call("refund", {"order": "A-2"}),
        text("Three."),
    )
    asking = job(write_module, dsn, SEQUENCE)
    asked = await asking.attempt()
    assert len(gemini.requests) == 2, "the third step does not begin before the answer"
    again = await answered(asking, asked)
    assert again.verdict is Verdict.ASK
    outcome = await answered(asking, again)
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Three.")
    assert loaded().CALLS == ["A-1", "A-2"]
    assert len(gemini.requests) == 5, "no step is repeated"


async def test_a_sequence_that_fails_after_an_answer_goes_on_from_the_step_that_asked(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(
        text("One."),
        call("refund", {"order": "A-1"}),
        text("Two."),
        error(500),
        text("Three."),
    )
    asking = job(write_module, dsn, SEQUENCE)
    assert (await answered(asking, await asking.attempt())).reason == "ModelServerError"
    forget_services()
    outcome = await asking.attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Three.")
    assert loaded().CALLS == ["A-1"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            'root_agent = LoopAgent(name="r", max_iterations=2, sub_agents=[llm("step", tools=[confirmed])])',
            "LoopAgent",
        ),
        (
            'root_agent = ParallelAgent(name="r", sub_agents=[llm("step", tools=[confirmed])])',
            "ParallelAgent",
        ),
        (
            'root_agent = SequentialAgent(name="r", sub_agents=[LoopAgent(name="l", max_iterations=2, sub_agents=['
            'llm("step", tools=[confirmed])])])',
            "a step of the sequence itself",
        ),
    ],
)
async def test_where_adk_cannot_go_on_the_job_fails_before_the_tool_is_begun(
    dsn: str, gemini: FakeGemini, write_module: Write, source: str, told: str
) -> None:
    gemini.script(call("refund", {"order": "A-1"}))
    outcome = await job(write_module, dsn, source).attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.FAIL, "InputUnsupported")
    assert told in outcome.message
    assert "tool refund" in outcome.message
    assert loaded().CALLS == []
    assert len(gemini.requests) == 1


async def test_without_a_session_store_nothing_can_be_asked(gemini: FakeGemini, write_module: Write) -> None:
    gemini.script(call("refund", {"order": "A-1"}))
    outcome = await job(write_module, None).attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.FAIL, "InputUnsupported")
    assert "session store" in outcome.message
    assert loaded().CALLS == []


async def test_an_approved_tool_that_a_new_image_no_longer_has_fails_one_run_only(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(
        call("refund", {"order": "A-1"}), call("look", {"order": "A-1"}), text("Nothing to refund.")
    )
    asking = job(write_module, dsn)
    asked = await asking.attempt()
    del sys.modules["asking"]
    job(write_module, dsn, "root_agent = llm(tools=[look])")
    failed = await answered(asking, asked)
    assert (failed.verdict, failed.reason) == (Verdict.RETRY, "AgentFailed")
    forget_services()
    outcome = await asking.attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Nothing to refund.")
    assert loaded().CALLS == ["look A-1"]
