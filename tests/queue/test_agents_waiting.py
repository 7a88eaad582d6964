"""Waiting for the world, through ADK: long-running tools and inputs park, and go on with the answer as ADK's Runner does."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

import pytest
from agent_modules import Write, write_module
from gemini import Answer, FakeGemini, call, calls, error, gemini, text
from runs import Job, module

from agentjobs.agents.sessions.service import forget_services
from agentjobs.agents.verdict.outcome import Outcome, Verdict

pytestmark = pytest.mark.usefixtures("own_process")

__all__ = ["gemini", "write_module"]

HEAD = """
    import json
    from google.adk.agents import BaseAgent, LlmAgent, LoopAgent, ParallelAgent, SequentialAgent
    from google.adk.events import RequestInput
    from google.adk.tools import AgentTool, FunctionTool, LongRunningFunctionTool
    from google.adk.tools._request_input_tool import request_input
    from google.adk.workflow import Workflow
    from pydantic import BaseModel
    CALLS = []
    FAILURES = []
    def ask_for_approval(purpose: str, amount: float) -> dict:
        "Asks the manager."
        CALLS.append(("ask", purpose))
        return {"status": "pending", "ticket": "T-1"}
    def reimburse(purpose: str, amount: float) -> dict:
        "Pays."
        CALLS.append(("pay", purpose))
        if FAILURES:
            raise FAILURES.pop()
        return {"status": "ok"}
    class Built(BaseModel):
        status: str
        artifacts: list[str]
    def build(branch: str) -> Built | None:
        "Builds."
        CALLS.append(("build", branch))
        return None
    waits = LongRunningFunctionTool(ask_for_approval)
    builds = LongRunningFunctionTool(build)
    confirmed = FunctionTool(reimburse, require_confirmation=True)
    def llm(name="agent", **more):
        return LlmAgent(name=name, model="gemini-2.5-flash", instruction="Answer.", **more)
    class Decision(BaseModel):
        approved: bool
        days: int = 0
    def draft(node_input):
        CALLS.append("draft")
        return "a draft"
    def review(node_input):
        CALLS.append("review")
        return RequestInput(message="Is it good?", payload={"draft": node_input}, response_schema=Decision)
    def publish(node_input):
        CALLS.append(("publish", node_input))
        if FAILURES:
            raise FAILURES.pop()
        return "published " + json.dumps(node_input, sort_keys=True)
"""
HUMAN_IN_LOOP = "root_agent = llm(tools=[reimburse, waits])"
ASKED = {"purpose": "conference", "amount": 200}
APPROVED = {"status": "approved", "ticket": "T-1"}


def job(write_module: Write, dsn: str | None, source: str = HUMAN_IN_LOOP) -> Job:
    write_module("waiting", textwrap.dedent(HEAD) + textwrap.dedent(source))
    return Job(module("waiting"), "Reimburse it.", modules=("waiting",), dsn=dsn)


def loaded() -> Any:
    return sys.modules["waiting"]


async def answered(waiting: Job, outcome: Outcome, *answers: Any) -> Outcome:
    """The next run, in another process, with an answer to each question of ``outcome``: a yes or no, or a payload."""
    assert outcome.verdict is Verdict.ASK, outcome
    waiting.fields["answers"] = {
        request.id: {"approved": answer} if isinstance(answer, bool) else {"payload": answer}
        for request, answer in zip(outcome.requests, answers, strict=True)
    }
    forget_services()
    return await waiting.attempt()


async def test_a_long_running_tool_parks_with_its_first_result_and_goes_on_with_the_later_one(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(
        call("ask_for_approval", ASKED), text("I have asked."), call("reimburse", ASKED), text("Paid.")
    )
    waiting = job(write_module, dsn)
    asked = await waiting.attempt()
    assert (asked.verdict, asked.reason) == (Verdict.ASK, "InputRequired")
    (request,) = asked.requests
    assert (request.kind, request.tool, request.hint) == ("LongRunning", "ask_for_approval", "I have asked.")
    assert (json.loads(request.arguments), json.loads(request.result)) == (
        ASKED, {"status": "pending", "ticket": "T-1"},
    )  # fmt: skip
    assert json.loads(request.schema)["type"] == "object", "what the tool returns, by its annotation"
    assert "conference" not in asked.message, "messages go into logs and Events"
    assert Outcome.from_json(json.loads(json.dumps(asked.as_json()))) == asked

    outcome = await answered(waiting, asked, APPROVED)
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Paid.")
    assert loaded().CALLS == [("ask", "conference"), ("pay", "conference")]
    assert len(gemini.requests) == 4
    forget_services()
    assert (await waiting.attempt()).result == "Paid.", "the stored answer is enough"
    assert len(gemini.requests) == 4


async def test_an_unanswered_call_is_asked_again_without_a_model_call_or_another_begin(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("ask_for_approval", ASKED), text("I have asked."))
    waiting = job(write_module, dsn)
    first = await waiting.attempt()
    forget_services()
    again = await waiting.attempt()
    assert again.verdict is Verdict.ASK
    assert [(asked.id, asked.hint) for asked in again.requests] == [
        (asked.id, asked.hint) for asked in first.requests
    ]
    assert len(gemini.requests) == 2
    assert loaded().CALLS == [("ask", "conference")]


async def test_a_tool_that_gives_nothing_at_first_pauses_the_agent_and_shows_the_schema_of_its_result(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("build", {"branch": "main"}), text("Built."))
    waiting = job(write_module, dsn, "root_agent = llm(tools=[builds])")
    asked = await waiting.attempt()
    (request,) = asked.requests
    assert (request.tool, request.result, request.hint) == ("build", "", "")
    assert "artifacts" in request.schema
    assert len(gemini.requests) == 1, "the model is not asked before the result is there"
    outcome = await answered(waiting, asked, {"status": "ok", "artifacts": []})
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Built.")
    assert loaded().CALLS == [("build", "main")]


async def test_a_model_that_fails_after_the_answer_does_not_begin_the_tool_again(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("ask_for_approval", ASKED), text("I have asked."), error(500), text("Ok."))
    waiting = job(write_module, dsn)
    failed = await answered(waiting, await waiting.attempt(), APPROVED)
    assert failed.reason == "ModelServerError"
    forget_services()
    outcome = await waiting.attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Ok.")
    assert loaded().CALLS == [("ask", "conference")]
    said = [e for e in await waiting.stored() if e.author == "user" and e.get_function_responses()]
    assert len(said) == 1, "an answer is said once"


async def test_a_run_that_dies_before_the_model_heard_of_the_first_result_asks_without_it(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("ask_for_approval", ASKED), error(500), text("Ok."))
    waiting = job(write_module, dsn)
    assert (await waiting.attempt()).reason == "ModelServerError"
    forget_services()
    asked = await waiting.attempt()
    assert asked.requests[0].result == '{"status": "pending", "ticket": "T-1"}'
    assert (await answered(waiting, asked, APPROVED)).result == "Ok."
    assert loaded().CALLS == [("ask", "conference")]


async def test_several_calls_of_one_model_answer_are_answered_together(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    other = ASKED | {"purpose": "hotel"}
    gemini.script(
        calls(("ask_for_approval", ASKED), ("ask_for_approval", other)), text("Asked."), text("Both.")
    )
    waiting = job(write_module, dsn)
    asked = await waiting.attempt()
    assert [json.loads(request.arguments)["purpose"] for request in asked.requests] == ["conference", "hotel"]
    outcome = await answered(waiting, asked, APPROVED, {"status": "rejected"})
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Both.")
    told = json.dumps(gemini.requests[-1].contents)
    assert told.count('"approved"') == told.count('"rejected"') == 1
    assert '"pending"' not in told


async def test_a_confirmation_is_asked_before_a_long_running_call_of_the_same_answer(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(calls(("ask_for_approval", ASKED), ("reimburse", ASKED)), text("Paid."), text("All done."))
    waiting = job(write_module, dsn, "root_agent = llm(tools=[waits, confirmed])")
    asked = await waiting.attempt()
    assert [(request.kind, request.tool) for request in asked.requests] == [("", "reimburse")]
    later = await answered(waiting, asked, True)
    assert [(request.kind, request.tool) for request in later.requests] == [
        ("LongRunning", "ask_for_approval")
    ]
    outcome = await answered(waiting, later, APPROVED)
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "All done.")
    assert '"approved"' in json.dumps(gemini.requests[-1].contents)
    assert loaded().CALLS == [("ask", "conference"), ("pay", "conference")]


# inputs ----------------------------------------------------------------------------------------------

REQUEST_INPUT = 'root_agent = Workflow(name="desk", edges=[("START", draft, review, publish)])'


async def test_a_node_that_requests_an_input_parks_with_message_payload_and_schema_and_goes_on(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    waiting = job(write_module, dsn, REQUEST_INPUT)
    asked = await waiting.attempt()
    assert (asked.verdict, asked.reason) == (Verdict.ASK, "InputRequired")
    (request,) = asked.requests
    assert (request.kind, request.tool, request.hint) == ("Input", "review", "Is it good?")
    assert json.loads(request.arguments) == {"draft": "a draft"}
    assert json.loads(request.schema)["required"] == ["approved"]
    outcome = await answered(waiting, asked, {"approved": True, "days": 3})
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, 'published {"approved": true, "days": 3}')
    assert loaded().CALLS == ["draft", "review", ("publish", {"approved": True, "days": 3})]
    forget_services()
    assert (await waiting.attempt()).result == outcome.result
    assert len(loaded().CALLS) == 3


async def test_a_node_that_fails_after_the_input_is_tried_again_without_asking_again(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    waiting = job(write_module, dsn, REQUEST_INPUT)
    asked = await waiting.attempt()
    loaded().FAILURES.append(ConnectionError("the press is away"))
    assert (await answered(waiting, asked, {"approved": True})).verdict is Verdict.RETRY
    forget_services()
    outcome = await waiting.attempt()
    assert outcome.verdict is Verdict.COMPLETE
    assert [one for one in loaded().CALLS if isinstance(one, str)] == ["draft", "review"]


@pytest.mark.parametrize(
    "said", ["42", "yes", '{"a": 1}', 7, None, [1], {"result": "x"}, {"result": 1, "b": 2}, {}]
)
async def test_a_node_gets_what_was_answered_as_it_was_answered(
    dsn: str, gemini: FakeGemini, write_module: Write, said: Any
) -> None:
    source = """
        def review(node_input):
            return RequestInput(message="What?")
        root_agent = Workflow(name="desk", edges=[("START", review, publish)])
    """
    waiting = job(write_module, dsn, source)
    await answered(waiting, await waiting.attempt(), said)
    assert [("publish", said)] == loaded().CALLS


async def test_a_node_that_uses_an_id_again_asks_another_question(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    source = """
        def first(node_input):
            return RequestInput(interrupt_id="again", message="First?")
        def second(node_input):
            return RequestInput(interrupt_id="again", message="Second?")
        root_agent = Workflow(name="desk", edges=[("START", first, second, publish)])
    """
    waiting = job(write_module, dsn, source)
    one = await waiting.attempt()
    two = await answered(waiting, one, "a")
    assert [request.id for asked in (one, two) for request in asked.requests] == ["again", "again#2"]
    assert (await waiting.attempt()).verdict is Verdict.ASK, "the first answer is none to the second question"
    await answered(waiting, two, "b")
    assert loaded().CALLS == [("publish", "b")]


async def test_a_model_asks_for_an_input_by_adks_own_tool(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(
        call("adk_request_input", {"message": "Which size?", "response_schema": {"type": "integer"}}),
        text("Size 3."),
    )
    waiting = job(write_module, dsn, "root_agent = llm(tools=[request_input])")
    asked = await waiting.attempt()
    (request,) = asked.requests
    assert (request.kind, request.hint, json.loads(request.schema)) == (
        "Input",
        "Which size?",
        {"type": "integer"},
    )
    forget_services()
    assert [again.id for again in (await waiting.attempt()).requests] == [request.id]
    assert len(gemini.requests) == 1
    assert (await answered(waiting, asked, 3)).result == "Size 3."
    assert gemini.requests[-1].contents[-1]["parts"][0]["functionResponse"]["response"] == {"result": 3}


async def test_a_schema_that_is_too_large_to_be_kept_fails_before_anybody_is_asked(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    source = """
        def review(node_input):
            return RequestInput(response_schema={"type": "string", "description": "x" * 9000})
        root_agent = Workflow(name="desk", edges=[("START", review)])
    """
    outcome = await job(write_module, dsn, source).attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.FAIL, "InputUnsupported")
    assert "review" in outcome.message
    assert "8192" in outcome.message


# places ----------------------------------------------------------------------------------------------

Script = tuple[str, list[Answer], list[Any], str, list[Any]]
"""An agent, what its models say, the answers to its questions, its result, and the calls of its tools."""
PLACES: dict[str, Script] = {
    "handed over": (
        'root_agent = llm(sub_agents=[llm("clerk", description="Pays.", tools=[waits])])',
        [call("transfer_to_agent", {"agent_name": "clerk"}), call("ask_for_approval", ASKED), text("Asked."), text("Ok.")],
        [APPROVED],
        "Ok.",
        [("ask", "conference")],
    ),
    "a step of a sequence": (
        'root_agent = SequentialAgent(name="steps", sub_agents=[llm("one"), llm("two", tools=[waits]), llm("three")])',
        [text("One."), call("ask_for_approval", ASKED), text("Asked."), text("Two."), text("Three.")],
        [APPROVED],
        "Three.",
        [("ask", "conference")],
    ),
    "a node of a workflow": (
        'root_agent = Workflow(name="desk", edges=[("START", draft, llm("step", tools=[waits]), publish)])',
        [call("ask_for_approval", ASKED), text("Asked."), text("Ok.")],
        [APPROVED],
        'published "Ok."',
        ["draft", ("ask", "conference"), ("publish", "Ok.")],
    ),
    "a confirmation in a workflow": (
        'root_agent = Workflow(name="desk", edges=[("START", draft, llm("step", tools=[confirmed]), publish)])',
        [call("reimburse", ASKED), text("Ok.")],
        [True],
        'published "Ok."',
        ["draft", ("pay", "conference"), ("publish", "Ok.")],
    ),
    "a tool that is a node": (
        """
        def pair(node_input):
            return {"purpose": "conference", "amount": 2.0}
        root_agent = Workflow(name="desk", edges=[("START", pair, confirmed, publish)])
        """,
        [],
        [True],
        'published {"status": "ok"}',
        [("pay", "conference"), ("publish", {"status": "ok"})],
    ),
    "a workflow in a workflow": (
        """
        inner = Workflow(name="inner", edges=[("START", review, publish)])
        root_agent = Workflow(name="desk", edges=[("START", draft, inner)])
        """,
        [],
        [{"approved": False}],
        'published {"approved": false, "days": null}',
        ["draft", "review", ("publish", {"approved": False, "days": None})],
    ),
    "a sub-agent in mode single_turn": (
        'root_agent = llm(sub_agents=[llm("clerk", mode="single_turn", description="Pays.", tools=[confirmed])])',
        [call("clerk", {"request": "go"}), call("reimburse", ASKED), text("Paid."), text("Ok.")],
        [True],
        "Ok.",
        [("pay", "conference")],
    ),
    "a sub-agent in mode task": (
        'root_agent = llm(sub_agents=[llm("clerk", mode="task", description="Pays.", tools=[waits])])',
        [
            call("clerk", {"request": "go"}), call("ask_for_approval", ASKED), text("Asked."),
            call("finish_task", {"result": "done"}), text("Ok."),
        ],
        [APPROVED],
        "Ok.",
        [("ask", "conference")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
async def test_it_waits_and_goes_on_where_adk_can_as_adks_own_runner_does(
    dsn: str, gemini: FakeGemini, write_module: Write, place: str
) -> None:
    source, script, answers, result, made = PLACES[place]
    gemini.script(*script)
    waiting = job(write_module, dsn, source)
    outcome = await answered(waiting, await waiting.attempt(), *answers)
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, result)
    assert made == loaded().CALLS, "nothing is repeated"
    ours = [request.body for request in gemini.requests]
    forget_services()
    assert (await waiting.attempt()).result == result, "the stored answer is enough"
    assert len(gemini.requests) == len(ours)
    if place == "a step of a sequence":
        return  # ADK runs none of the steps behind the one that asked
    gemini.forget()
    gemini.script(*script)
    await adks_own(loaded().root_agent, *answers)
    assert [request.body for request in gemini.requests] == ours


async def adks_own(root: Any, *answers: Any) -> None:
    """The same conversation by ADK's Runner in memory, with the answers as ADK's samples send them."""
    from google.adk.apps import App
    from google.adk.runners import Runner
    from google.adk.sessions import InMemorySessionService
    from google.genai import types

    sessions = InMemorySessionService()
    await sessions.create_session(app_name="a", user_id="u", session_id="s")
    app = App.model_construct(name="a", root_agent=root, plugins=[])
    runner = Runner(app=app, app_name="a", session_service=sessions)

    async def run(message: types.Content) -> list[Any]:
        return [event async for event in runner.run_async(user_id="u", session_id="s", new_message=message)]

    heard = await run(types.UserContent(parts=[types.Part(text="Reimburse it.")]))
    asked = [
        c
        for event in heard
        for c in event.get_function_calls()
        if c.id in (event.long_running_tool_ids or ())
    ]
    await run(
        types.Content(
            role="user",
            parts=[
                types.Part(
                    function_response=types.FunctionResponse(
                        id=one.id,
                        name=one.name,
                        response={"confirmed": answer} if isinstance(answer, bool) else answer,
                    )
                )
                for one, answer in zip(asked, answers, strict=True)
            ],
        )
    )


@pytest.mark.parametrize("mode", ["single_turn", "task"])
async def test_a_sub_agent_that_fails_after_the_answer_does_not_begin_its_tool_again(
    dsn: str, gemini: FakeGemini, write_module: Write, mode: str
) -> None:
    source = (
        f'root_agent = llm(sub_agents=[llm("clerk", mode="{mode}", description="Pays.", tools=[confirmed])])'
    )
    end = [text("Paid.")] if mode == "single_turn" else [call("finish_task", {"result": "Paid."})]
    gemini.script(call("clerk", {"request": "go"}), call("reimburse", ASKED), error(500), *end, text("Ok."))
    waiting = job(write_module, dsn, source)
    assert (await answered(waiting, await waiting.attempt(), True)).reason == "ModelServerError"
    forget_services()
    outcome = await waiting.attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Ok.")
    assert loaded().CALLS == [("pay", "conference")]


CLOSED: Mapping[str, tuple[str, Answer]] = {
    "LoopAgent": (
        'root_agent = LoopAgent(name="r", max_iterations=2, sub_agents=[llm("step", tools=[waits])])',
        call("ask_for_approval", ASKED),
    ),
    "ParallelAgent": (
        'root_agent = ParallelAgent(name="r", sub_agents=[llm("step", tools=[waits])])',
        call("ask_for_approval", ASKED),
    ),
    "SequentialAgent": (
        'root_agent = Workflow(name="w", edges=[("START", SequentialAgent(name="r", sub_agents=[llm("s", tools=[waits])]))])',
        call("ask_for_approval", ASKED),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CLOSED)
async def test_where_adk_cannot_go_on_the_job_fails_before_the_tool_is_begun(
    dsn: str, gemini: FakeGemini, write_module: Write, kind: str
) -> None:
    source, said = CLOSED[kind]
    gemini.script(said)
    outcome = await job(write_module, dsn, source).attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.FAIL, "InputUnsupported")
    assert kind in outcome.message
    assert "tool ask_for_approval" in outcome.message
    assert loaded().CALLS == []


async def test_without_a_session_store_a_long_running_tool_is_not_begun(
    gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("ask_for_approval", ASKED))
    outcome = await job(write_module, None).attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.FAIL, "InputUnsupported")
    assert "session store" in outcome.message
    assert loaded().CALLS == []


async def test_a_long_running_tool_of_an_agent_that_is_a_tool_is_not_begun(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("clerk", {"request": "go"}), call("ask_for_approval", ASKED), text("Asked."))
    source = 'root_agent = llm(tools=[AgentTool(llm("clerk", description="Pays.", tools=[waits]))])'
    outcome = await job(write_module, dsn, source).attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.FAIL, "InputUnsupported")
    assert "ask_for_approval" in outcome.message
    assert loaded().CALLS == []


async def test_a_later_job_of_the_session_is_not_asked_what_an_earlier_one_left_open(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("build", {"branch": "main"}), text("Hello."))
    first = job(write_module, dsn, "root_agent = llm(tools=[builds])")
    first.fields["session_id"] = "shared"
    assert (await first.attempt()).verdict is Verdict.ASK
    forget_services()
    second = Job(module("waiting"), "Hi.", modules=("waiting",), dsn=dsn, session_id="shared")
    outcome = await second.attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Hello.")
    assert "build" not in json.dumps(gemini.requests[-1].contents), "a call without a result is in no prompt"
