"""An attempt as a whole, with sessions in memory: what it reports, what it repeats, how it stops."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import textwrap
import time

import pytest
from agent_modules import Write, write_module
from gemini import FakeGemini, call, error, gemini, hangs, rate_limited, text
from runs import ECHO, GEMINI, Job, module, until

from agentjobs.agents.verdict.outcome import AgentEvent, Outcome, Verdict

__all__ = ["gemini", "write_module"]

FAIL, RETRY, SNOOZE, COMPLETE, CANCELLED = (
    Verdict.FAIL, Verdict.RETRY, Verdict.SNOOZE, Verdict.COMPLETE, Verdict.CANCELLED,
)  # fmt: skip

HEAD = """
    import asyncio, threading, time
    from google.adk.agents import BaseAgent, LlmAgent, LoopAgent, ParallelAgent, SequentialAgent
    from google.adk.apps import App
    from google.adk.events import Event
    from google.adk.tools import FunctionTool, LongRunningFunctionTool, ToolContext
    from google.adk.tools.agent_tool import AgentTool
    from google.genai import types
    from agentjobs.agents.context import current_job
    CALLS = []
    def llm(name="agent", model="gemini-2.5-flash", **more):
        return LlmAgent(name=name, model=model, instruction="Answer.", **more)
"""


def job(
    write_module: Write, source: str, message: str = "hello", name: str = "under_test", **fields: object
) -> Job:
    write_module(name, textwrap.dedent(HEAD) + textwrap.dedent(source))
    return Job(module(name), message, modules=(name,), **fields)  # type: ignore[arg-type]


def calls(name: str = "under_test") -> list[object]:
    import sys

    return sys.modules[name].CALLS  # type: ignore[no-any-return]


# outcome and events ----------------------------------------------------------------------------------


async def test_an_answer_completes_with_result_usage_and_events() -> None:
    echo = Job(ECHO, "hello there")
    outcome = await echo.attempt()
    assert (outcome.verdict, outcome.result, outcome.event_count) == (COMPLETE, "hello there", 1)
    assert outcome.usage.llm_calls == 1
    assert outcome.usage.total_tokens == 4
    (event,) = echo.events
    assert (event.author, event.kind, event.final, event.total_tokens) == ("agent", "text", True, 4)
    assert time.time() - event.timestamp < 60


async def test_outcome_and_events_cross_the_process_border_as_json() -> None:
    echo = Job(ECHO, "echo:call nothing\nx")
    outcome = await echo.attempt()
    assert Outcome.from_json(json.loads(json.dumps(outcome.as_json()))) == outcome
    assert [AgentEvent.from_json(json.loads(json.dumps(e.as_json()))) for e in echo.events] == echo.events


async def test_events_name_tools_and_hold_no_text(write_module: Write) -> None:
    weather = job(
        write_module,
        """
    def weather(city: str) -> dict:
        "Tells the weather."
        return {"sky": "clear", "city": city}
    root_agent = llm(model="echo", tools=[weather])
    """,
        'Where?\necho:call weather {"city": "Ljubljana"}',
    )
    outcome = await weather.attempt()
    assert outcome.result == 'Where?\n{"city": "Ljubljana", "sky": "clear"}'
    assert [(e.kind, e.tool) for e in weather.events] == [
        ("tool_call", "weather"),
        ("tool_result", "weather"),
        ("text", ""),
    ]
    assert "Ljubljana" not in json.dumps([e.as_json() for e in weather.events])


async def test_events_are_told_as_they_happen(write_module: Write) -> None:
    slow = job(
        write_module,
        """
    GO = asyncio.Event()
    async def wait() -> str:
        "Waits."
        await GO.wait()
        return "done"
    root_agent = llm(model="echo", tools=[wait])
    """,
        "echo:call wait",
    )
    run = asyncio.create_task(slow.attempt())
    await until(lambda: slow.events)
    assert slow.events[0].kind == "tool_call"
    import sys

    sys.modules["under_test"].GO.set()
    assert (await run).result == "done"


async def test_nothing_is_logged_of_what_was_said(
    gemini: FakeGemini, capfd: pytest.CaptureFixture[str]
) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)  # not caplog's, which pytest attaches below the root, too
    logging.getLogger().addHandler(handler)
    try:
        gemini.script(error(500, "boom about Ljubljana"))
        await Job(GEMINI, "Tell me about Ljubljana").attempt()
    finally:
        logging.getLogger().removeHandler(handler)
    assert "Ljubljana" not in written.getvalue() + "".join(capfd.readouterr())


# roots -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "answer"),
    [
        ("SequentialAgent(name='r', sub_agents=[llm('a', 'echo'), Says(name='b')])", "b says so"),
        ("LoopAgent(name='r', sub_agents=[Says(name='b')], max_iterations=2)", "b says so"),
        ("ParallelAgent(name='r', sub_agents=[Says(name='a')])", "a says so"),
        ("Says(name='own')", "own says so"),
        ("App(name='theirs', root_agent=Says(name='own'))", "own says so"),
    ],
)
async def test_any_root_runs_and_ends_once(write_module: Write, root: str, answer: str) -> None:
    any_root = job(
        write_module,
        f"""
    class Says(BaseAgent):
        async def _run_async_impl(self, ctx):
            CALLS.append(self.name)
            yield Event(author=self.name, invocation_id=ctx.invocation_id, branch=ctx.branch,
                        content=types.Content(role="model", parts=[types.Part(text=self.name + " says so")]))
    app_or_root = {root}
    if isinstance(app_or_root, App):
        app = app_or_root
    else:
        root_agent = app_or_root
    """,
    )
    assert (await any_root.attempt()).result == answer
    played = len(calls())
    again = await any_root.attempt()
    assert (again.verdict, again.result, again.usage.llm_calls) == (COMPLETE, answer, 0)
    assert len(calls()) == played, "a run whose answer is stored is not played again"


async def test_a_sequence_that_died_after_its_first_step_goes_on(
    write_module: Write, gemini: FakeGemini
) -> None:
    gemini.script(text("first"), error(500), text("second"))
    sequence = job(write_module, 'root_agent = SequentialAgent(name="r", sub_agents=[llm("a"), llm("b")])')
    assert (await sequence.attempt()).reason == "ModelServerError"
    outcome = await sequence.attempt()
    assert (outcome.verdict, outcome.result) == (COMPLETE, "second"), (
        "the first step's answer is not the job's"
    )


async def test_a_loop_ends_with_what_was_said_before_it_left(write_module: Write) -> None:
    loop = job(
        write_module,
        """
    from google.adk.events import EventActions
    class Writer(BaseAgent):
        async def _run_async_impl(self, ctx):
            yield Event(author=self.name, invocation_id=ctx.invocation_id,
                        content=types.Content(role="model", parts=[types.Part(text="the draft")]))
    class Critic(BaseAgent):
        async def _run_async_impl(self, ctx):
            yield Event(author=self.name, invocation_id=ctx.invocation_id, actions=EventActions(escalate=True))
    root_agent = LoopAgent(name="r", sub_agents=[Writer(name="w"), Critic(name="c")])
    """,
    )
    assert (await loop.attempt()).result == "the draft"


async def test_a_tools_result_is_the_answer_where_nobody_sums_it_up(write_module: Write) -> None:
    direct = job(
        write_module,
        """
    def report(tool_context: ToolContext) -> str:
        "Reports."
        tool_context.actions.skip_summarization = True
        return "the report"
    root_agent = llm(model="echo", tools=[report])
    """,
        "echo:call report",
    )
    outcome = await direct.attempt()
    assert (outcome.verdict, outcome.result) == (COMPLETE, "the report")


async def test_an_agent_that_says_nothing_is_tried_again(write_module: Write) -> None:
    silent = job(
        write_module,
        """
    class Silent(BaseAgent):
        async def _run_async_impl(self, ctx):
            return
            yield
    root_agent = Silent(name="s")
    """,
    )
    outcome = await silent.attempt()
    assert (outcome.verdict, outcome.reason) == (RETRY, "EmptyAnswer")


# invariants 7 and 8, H18, H21 ------------------------------------------------------------------------


async def test_invariant_7_an_error_event_without_an_exception_is_a_failure(gemini: FakeGemini) -> None:
    from gemini import blocked

    gemini.script(blocked("SAFETY"))
    outcome = await Job(GEMINI).attempt()
    assert (outcome.verdict, outcome.reason) == (FAIL, "ModelSafetyBlocked")
    assert "SAFETY" in outcome.message


async def test_invariant_7_a_rate_limit_keeps_its_exact_delay_and_a_400_its_finality(
    gemini: FakeGemini,
) -> None:
    gemini.script(rate_limited(delay="7s"), error(400))
    limited = Job(GEMINI)
    first = await limited.attempt()
    assert (first.verdict, first.delay_seconds) == (SNOOZE, 7)
    assert (await limited.attempt()).verdict is FAIL


TOOL = """
    def book(city: str) -> dict:
        "Books."
        CALLS.append(city)
        return {"booked": city}
    root_agent = llm(tools=[book])
"""


async def test_invariant_8_a_retry_repeats_neither_message_nor_finished_tool(
    gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("book", {"city": "Rome"}), error(500), error(503), text("Booked."))
    trip = job(write_module, TOOL, "Book Rome.")
    assert (await trip.attempt()).reason == "ModelServerError"
    assert (await trip.attempt()).reason == "ModelServerError"
    outcome = await trip.attempt()
    assert (outcome.verdict, outcome.result) == (COMPLETE, "Booked.")
    assert calls() == ["Rome"]
    prompt = gemini.requests[-1]
    assert prompt.user_messages == ["Book Rome."]
    assert prompt.tool_results == ["book"]


async def test_invariant_8_a_stored_answer_is_not_asked_for_again(gemini: FakeGemini) -> None:
    gemini.script(text("The answer."))
    lost_ack = Job(GEMINI)
    first, second = await lost_ack.attempt(), await lost_ack.attempt()
    assert first.result == second.result == "The answer."
    assert second.verdict is COMPLETE
    assert second.usage.llm_calls == 0
    assert len(gemini.requests) == 1


async def test_h18_the_app_name_is_ours_whatever_the_app_calls_itself(write_module: Write) -> None:
    named = job(
        write_module, 'app = App(name="theirs", root_agent=llm(model="echo"))', session_id="shared-18"
    )
    await named.attempt()
    other = Job(ECHO, "hello", session_id="shared-18", namespace="team-b")
    await other.attempt()
    assert len(await named.stored()) == 2
    assert len(await other.stored()) == 2, "two namespaces never share a conversation"
    assert named.session_key["app_name"] == "team-a/agentjobs"


async def test_h18_jobs_of_one_session_share_a_conversation(gemini: FakeGemini) -> None:
    for message in ("I am Ana.", "Who am I?"):
        await Job(GEMINI, message, session_id="chat").attempt()
    assert gemini.requests[-1].user_messages == ["I am Ana.", "Who am I?"]


async def test_h21_a_retried_job_goes_on_where_it_was(gemini: FakeGemini, write_module: Write) -> None:
    gemini.script(call("book", {"city": "Rome"}), error(400), text("Booked."))
    trip = job(write_module, TOOL, "Book Rome.")
    assert (await trip.attempt()).verdict is FAIL
    trip.round = 2
    assert (await trip.attempt()).result == "Booked."
    assert calls() == ["Rome"]
    assert gemini.requests[-1].user_messages == ["Book Rome."]
    assert {e.invocation_id for e in await trip.stored()} == {f"job-{trip.uid}"}


async def test_h21_a_retried_job_says_its_message_anew_where_the_conversation_went_on(
    gemini: FakeGemini,
) -> None:
    gemini.script(error(400), text("In between."), error(500), text("At last."))
    first = Job(GEMINI, "First.", session_id="chat-21")
    assert (await first.attempt()).verdict is FAIL
    await Job(GEMINI, "Second.", session_id="chat-21").attempt()
    first.round = 2
    assert (await first.attempt()).reason == "ModelServerError"
    assert (await first.attempt()).result == "At last."
    assert gemini.requests[-1].user_messages == ["First.", "Second.", "First."]
    assert (await first.stored())[-1].invocation_id == f"job-{first.uid}-r2"


# stopping (H27, H15) ---------------------------------------------------------------------------------


async def test_h27_an_abort_seals_the_history(gemini: FakeGemini) -> None:
    gemini.script(hangs())
    stuck = Job(GEMINI)
    run = asyncio.create_task(stuck.attempt())
    await asyncio.to_thread(gemini.wait_for_requests, 1)
    stuck.abort.set()
    outcome = await asyncio.wait_for(run, 60)
    assert (outcome.verdict, outcome.reason) == (CANCELLED, "Cancelled")
    assert (await stuck.stored())[-1].error_code == "INVOCATION_ABORTED"


async def test_h27_an_abort_answers_the_calls_that_are_open(write_module: Write) -> None:
    waiting = job(
        write_module,
        """
    async def wait() -> str:
        "Waits."
        await asyncio.Event().wait()
    root_agent = llm(model="echo", tools=[wait])
    """,
        "echo:call wait",
    )
    run = asyncio.create_task(waiting.attempt())
    await until(lambda: waiting.events)
    waiting.abort.set()
    assert (await asyncio.wait_for(run, 60)).verdict is CANCELLED
    last = (await waiting.stored())[-1]
    assert last.error_code == "INVOCATION_ABORTED"
    assert last.get_function_responses()[0].name == "wait"


async def test_h27_a_cancelled_task_stays_resumable(gemini: FakeGemini, write_module: Write) -> None:
    gemini.script(call("book", {"city": "Rome"}), hangs(), text("Booked."))
    trip = job(write_module, TOOL, "Book Rome.")
    run = asyncio.create_task(trip.attempt())
    await asyncio.to_thread(gemini.wait_for_requests, 2)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not any(e.error_code for e in await trip.stored())
    assert (await trip.attempt()).result == "Booked."
    assert calls() == ["Rome"]
    assert gemini.requests[-1].user_messages == ["Book Rome."]


async def test_h15_an_answer_that_came_first_is_an_answer() -> None:
    echo = Job(ECHO)
    run = asyncio.create_task(echo.attempt())
    await until(lambda: echo.events)
    echo.abort.set()
    assert (await run).verdict is COMPLETE


async def test_an_abort_before_the_start_ends_at_once(gemini: FakeGemini) -> None:
    from agentjobs.agents.run.attempt import run_attempt

    early = Job(GEMINI)
    early.run = 1
    early.abort.set()
    outcome = await run_attempt(early.spec(), early.settings, on_event=early.events.append, abort=early.abort)
    assert outcome.verdict is CANCELLED
    assert gemini.requests == []


# tools -----------------------------------------------------------------------------------------------


async def test_a_failing_tool_is_named_and_tried_again(write_module: Write) -> None:
    failing = job(
        write_module,
        """
    def book(city: str) -> dict:
        "Books."
        CALLS.append(city)
        if len(CALLS) == 1:
            raise ConnectionError(f"no line to {city}")
        return {"booked": city}
    root_agent = llm(model="echo", tools=[book])
    """,
        'echo:call book {"city": "Ljubljana"}',
    )
    outcome = await failing.attempt()
    assert (outcome.verdict, outcome.reason) == (RETRY, "ToolFailed")
    assert outcome.message.startswith("Tool 'book': ")
    assert "ConnectionError" in outcome.message
    assert "Ljubljana" not in outcome.message, "a tool's arguments are the model's words"
    assert (await failing.attempt()).result == '{"booked": "Ljubljana"}'
    assert len([e for e in await failing.stored() if e.author == "user"]) == 1


async def test_a_models_error_inside_a_tools_agent_is_the_models(
    gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("inner", {"request": "x"}), rate_limited(delay="7s"))
    nested = job(write_module, 'root_agent = llm(tools=[AgentTool(llm("inner"))])')
    outcome = await nested.attempt()
    assert (outcome.reason, outcome.delay_seconds) == ("ModelRateLimited", 7)
    assert outcome.usage.llm_calls == 2


async def test_a_confirmation_without_a_session_store_is_no_success(write_module: Write) -> None:
    asking = job(
        write_module,
        """
    def book(city: str) -> dict:
        "Books."
        CALLS.append(city)
        return {"booked": city}
    root_agent = llm(model="echo", tools=[FunctionTool(book, require_confirmation=True)])
    """,
        'echo:call book {"city": "Rome"}',
    )
    outcome = await asking.attempt()
    assert (outcome.verdict, outcome.reason) == (FAIL, "InputUnsupported")
    assert "tool book" in outcome.message
    assert calls() == []


async def test_a_long_running_tool_is_not_begun_and_no_success(write_module: Write) -> None:
    asking = job(
        write_module,
        """
    def approve(what: str) -> dict:
        "Asks a person."
        CALLS.append(what)
        return {"status": "pending"}
    root_agent = llm(model="echo", tools=[LongRunningFunctionTool(approve)])
    """,
        'echo:call approve {"what": "x"}',
    )
    outcome = await asking.attempt()
    assert (outcome.verdict, outcome.reason) == (FAIL, "InputUnsupported")
    assert "tool approve" in outcome.message
    assert calls() == []


async def test_toolsets_and_plugins_are_closed(write_module: Write) -> None:
    tidy = job(
        write_module,
        """
    from google.adk.tools.base_toolset import BaseToolset
    from google.adk.plugins.base_plugin import BasePlugin
    class Tools(BaseToolset):
        async def get_tools(self, readonly_context=None):
            return []
        async def close(self):
            CALLS.append("toolset")
    class Plugin(BasePlugin):
        async def close(self):
            CALLS.append("plugin")
            raise RuntimeError("closing fails")
    def agent():
        return App(name="x", root_agent=llm(model="echo", tools=[Tools()]), plugins=[Plugin("p")])
    """,
    )
    assert (await tidy.attempt()).verdict is COMPLETE
    assert calls() == ["toolset", "plugin"]


async def test_a_plugins_error_is_judged_by_its_cause(write_module: Write) -> None:
    broken = job(
        write_module,
        """
    from google.adk.plugins.base_plugin import BasePlugin
    class Plugin(BasePlugin):
        async def before_run_callback(self, *, invocation_context):
            raise KeyError("settings")
    app = App(name="x", root_agent=llm(model="echo"), plugins=[Plugin("p")])
    """,
    )
    outcome = await broken.attempt()
    assert (outcome.verdict, outcome.reason) == (RETRY, "AgentFailed")
    assert "KeyError: 'settings'" in outcome.message


async def test_an_unknown_variable_in_an_instruction_fails_at_once_and_is_explained() -> None:
    inline = {"inline": {**ECHO["inline"], "instruction": "Greet {visitor}."}}
    outcome = await Job(inline).attempt()
    assert (outcome.verdict, outcome.reason) == (FAIL, "AgentInvalid")
    assert "{variable?}" in outcome.message


@pytest.mark.parametrize(
    ("root", "verdict", "reason"),
    [
        ("llm(tools=[AgentTool(writer)])", FAIL, "AgentInvalid"),
        (
            'llm(tools=[AgentTool(writer), AgentTool(llm("planner", output_key="plan"))])',
            RETRY,
            "AgentFailed",
        ),
        ('SequentialAgent(name="r", sub_agents=[llm("a"), writer])', FAIL, "AgentInvalid"),
        (
            'llm("a", sub_agents=[llm("planner", output_key="plan")], instruction="Use {plan}.")',
            RETRY,
            "AgentFailed",
        ),
    ],
)
async def test_a_missing_key_of_the_state_is_final_unless_another_agent_would_write_it(
    write_module: Write, gemini: FakeGemini, root: str, verdict: Verdict, reason: str
) -> None:
    """Wherever the agent stands; a model may call the others in another order the next time."""
    gemini.script(call("writer", {"request": "x"}) if "AgentTool" in root else text("first"))
    source = f"""
    def llm(name="agent", instruction="Answer.", **more):
        return LlmAgent(name=name, model="gemini-2.5-flash", instruction=instruction, **more)
    writer = llm("writer", instruction="Use {{plan}}.")
    root_agent = {root}
    """
    outcome = await job(write_module, source).attempt()
    assert (outcome.verdict, outcome.reason) == (verdict, reason), outcome.message
    assert "{variable?}" in outcome.message


async def test_a_model_that_nobody_knows_fails_at_once(write_module: Write) -> None:
    outcome = await job(write_module, 'root_agent = llm(model="nonsense")').attempt()
    assert (outcome.verdict, outcome.reason) == (FAIL, "ModelNotFound")


@pytest.mark.parametrize("agent", [{}, {"module": "m", "inline": {}}])
async def test_neither_or_both_kinds_of_agent_are_refused(agent: dict[str, object]) -> None:
    outcome = await Job(agent).attempt()
    assert (outcome.verdict, outcome.reason) == (FAIL, "AgentInvalid")


async def test_refusals_fail_at_once_with_their_reason() -> None:
    assert (await Job(module("os")).attempt()).reason == "ModuleNotAllowed"
    assert (await Job(module("no_such"), modules=("no_such",)).attempt()).reason == "AgentNotFound"
    assert (await Job(GEMINI, models=("echo",)).attempt()).reason == "ModelNotAllowed"


# budgets ---------------------------------------------------------------------------------------------


async def test_a_budget_of_calls_ends_the_run_before_the_next_one(
    gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(*[call("book", {"city": "Rome"})] * 5)
    trip = job(write_module, TOOL, max_llm_calls=2)
    outcome = await trip.attempt()
    assert (outcome.verdict, outcome.reason) == (FAIL, "BudgetExceeded")
    assert "budget.maxLLMCalls is 2" in outcome.message
    assert len(gemini.requests) == outcome.usage.llm_calls == 2


async def test_a_budget_of_tokens_ends_the_run_before_the_call_that_would_exceed_it(
    gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(*[call("book", {"city": "Rome"})] * 5)
    trip = job(write_module, TOOL, max_tokens=40)  # 15 a call, and the next one repeats at least those
    outcome = await trip.attempt()
    assert (outcome.verdict, outcome.reason) == (FAIL, "BudgetExceeded")
    assert outcome.usage.total_tokens == 30
    assert len(gemini.requests) == 2


async def test_what_earlier_runs_spent_counts(gemini: FakeGemini) -> None:
    gemini.script(error(500), error(500))
    poor = Job(GEMINI, max_llm_calls=2)
    assert [(await poor.attempt()).reason for _ in range(3)] == ["ModelServerError"] * 2 + ["BudgetExceeded"]
    assert len(gemini.requests) == 2


@pytest.mark.parametrize(
    "root",
    [
        'LoopAgent(name="r", sub_agents=[llm("a")])',
        'SequentialAgent(name="r", sub_agents=[llm("a"), llm("b"), llm("c")])',
        'llm("a", tools=[AgentTool(llm("inner"))])',
    ],
)
async def test_a_budget_ends_agents_of_several_steps(
    gemini: FakeGemini, write_module: Write, root: str
) -> None:
    if "AgentTool" in root:
        gemini.script(call("inner", {"request": "x"}))
    steps = job(write_module, f"root_agent = {root}", max_llm_calls=1)
    outcome = await asyncio.wait_for(steps.attempt(), 60)
    assert (outcome.verdict, outcome.reason) == (FAIL, "BudgetExceeded")
    assert len(gemini.requests) == 1


# providers -------------------------------------------------------------------------------------------


async def test_an_agents_own_retries_are_switched_off_and_its_shorter_timeout_kept(
    gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(error(500), hangs())
    own = job(
        write_module,
        """
    from google.adk.models import Gemini
    root_agent = LlmAgent(
        name="agent",
        model=Gemini(model="gemini-2.5-flash", retry_options=types.HttpRetryOptions(attempts=5, initial_delay=30)),
        generate_content_config=types.GenerateContentConfig(http_options=types.HttpOptions(timeout=4000)),
    )
    """,
    )
    assert (await own.attempt()).reason == "ModelServerError"
    assert len(gemini.requests) == 1
    began = time.monotonic()
    assert (await own.attempt()).reason == "ModelTimeout"
    assert time.monotonic() - began < 60


async def test_h27_an_abort_reaches_a_model_call_inside_a_sequence(
    gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(hangs())
    steps = job(write_module, 'root_agent = SequentialAgent(name="r", sub_agents=[llm("a"), llm("b")])')
    run = asyncio.create_task(steps.attempt())
    await asyncio.to_thread(gemini.wait_for_requests, 1)
    steps.abort.set()
    assert (await asyncio.wait_for(run, 60)).verdict is CANCELLED
    assert (await steps.stored())[-1].error_code == "INVOCATION_ABORTED"
