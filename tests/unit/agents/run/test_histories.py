"""A retry over each history that a failed run can leave: it asks a model that is well, and gets its answer.

Each cell is a real first run, whose model, tool or callback fails in one way or whose process dies after one of the
events that it stores, and a run after it. That run ends Complete with the answer to the job's message, makes no
finished tool call again, and sends what providers accept: ``fakes/histories.py``.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys

import pytest
from agent_modules import Write, write_module
from gemini import FakeGemini, call, gemini, text, truncated
from google.adk.sessions import InMemorySessionService
from histories import AGENTS, ROOTS, Cell, Histories, Root, dying
from runs import GEMINI, Job, module

from agentjobs.agents.verdict.outcome import Verdict

__all__ = ["gemini", "write_module"]

FAULTS = re.findall(r'^    "([a-z ,]+)": lambda', AGENTS, re.MULTILINE)
CALLBACKS = [
    f"{place} callback raises"
    for place in ("before_agent", "after_agent", "before_model", "after_model", "before_tool", "after_tool")
]
LEFT_HALF = ("", "text and a call", "the same call twice", "transfer to nobody", "code that ran")
"""Faults whose runs are cut after each event that they store. The first is none."""


@pytest.fixture
def histories(write_module: Write, monkeypatch: pytest.MonkeyPatch) -> Histories:
    return Histories(write_module, monkeypatch)


@pytest.fixture(params=ROOTS, ids=lambda root: root.name)
def root(request: pytest.FixtureRequest) -> Root:
    found: Root = request.param
    return found


def test_the_sweep_knows_its_faults() -> None:
    assert len(FAULTS) > 35


async def test_invariant_8_a_retry_succeeds_whatever_the_first_model_answer_was(
    histories: Histories, root: Root
) -> None:
    await all_well(histories, [Cell(root, fault) for fault in (*FAULTS, *CALLBACKS)])


@pytest.mark.parametrize(
    "root", [r for r in ROOTS if r.name in ("LlmAgent", "SequentialAgent")], ids=lambda root: root.name
)
async def test_a_retry_succeeds_whatever_the_model_answered_to_a_tools_result(
    histories: Histories, root: Root
) -> None:
    await all_well(histories, [Cell(root, fault, "after the tool") for fault in FAULTS])


async def test_a_retry_by_hand_succeeds_after_a_cancel(histories: Histories, root: Root) -> None:
    hanging = [fault for fault in FAULTS if "hangs" in fault]
    await all_well(histories, [Cell(root, fault, aborted=True) for fault in hanging])


@pytest.mark.parametrize("numbers_calls", [False, True], ids=["ids of ADK", "ids that count"])
async def test_h32_a_run_goes_on_after_each_event_at_which_the_one_before_it_died(
    histories: Histories, root: Root, numbers_calls: bool
) -> None:
    found: list[str] = []
    for fault in LEFT_HALF:
        died = 0
        while True:
            died += 1
            problems, stored = await histories.broken(
                Cell(root, fault, dies_after=died, numbers_calls=numbers_calls)
            )
            found += [f"{fault!r}, dies after {died}: {problem}" for problem in problems]
            if stored < died:
                break
        assert died > 2, fault
    assert not found, "\n".join(found)


async def all_well(histories: Histories, cells: list[Cell]) -> None:
    found = []
    for cell in cells:
        problems, _ = await histories.broken(cell)
        found += [f"{cell.fault}: {problem}" for problem in problems]
    assert not found, "\n".join(found)


# through a provider's own client -------------------------------------------------------------------------

LLM = """
from google.adk.agents import LlmAgent
from google.adk.tools import LongRunningFunctionTool
from agentjobs.agents.context import current_job

SAVED = []


def save(callback_context):
    SAVED.append(current_job().run)
    if current_job().run == 1:
        raise ConnectionError("the archive is away")


def refuse_what_is_bad(callback_context):
    if "bad" in str(callback_context.session.events[-1].content):
        raise ValueError("bad")


def begin() -> dict:
    "Begins something long."
    return {"status": "pending"}


def llm(**more):
    return LlmAgent(name="agent", model="gemini-2.5-flash", instruction="Answer.", **more)


root_agent = llm(ARGUMENTS)
"""


def gemini_job(write_module: Write, arguments: str, **fields: object) -> Job:
    write_module("asked", LLM.replace("ARGUMENTS", arguments))
    return Job(module("asked"), "Write the report.", modules=("asked",), **fields)  # type: ignore[arg-type]


async def test_a_callback_that_fails_after_the_answer_is_called_again_and_the_answer_stands(
    gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(text("The report: 42 pages."), text("All tasks are done; nothing remains."))
    job = gemini_job(write_module, "after_agent_callback=save")
    assert (await job.attempt()).reason == "AgentFailed"
    outcome = await job.attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "The report: 42 pages.")
    assert outcome.usage.llm_calls == 0, "nothing is asked"
    again = await job.attempt()
    assert again.result == "The report: 42 pages."
    assert sys.modules["asked"].SAVED == [1, 2], "a job that has ended calls nothing again"
    assert len(gemini.requests) == 1


async def test_an_answer_at_which_a_callback_fails_each_time_is_asked_for_again(
    gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(text("A bad report."), text("A good report."))
    job = gemini_job(write_module, "after_agent_callback=refuse_what_is_bad")
    assert [(await job.attempt()).reason for _ in range(2)] == ["AgentFailed", "AgentFailed"]
    assert len(gemini.requests) == 1
    assert (await job.attempt()).result == "A good report."
    assert gemini.requests[-1].user_messages == ["Write the report."]


async def test_a_run_that_died_before_the_callback_after_the_answer_calls_it(
    gemini: FakeGemini, write_module: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    gemini.script(text("The report: 42 pages."))
    job = gemini_job(write_module, "after_agent_callback=save")
    run = asyncio.create_task(job.attempt())
    with monkeypatch.context() as patch:
        patch.setattr(InMemorySessionService, "append_event", dying(run, 2))
        with pytest.raises(asyncio.CancelledError):
            await run
    assert (await job.attempt()).result == "The report: 42 pages."
    assert sys.modules["asked"].SAVED == [2]
    assert len(gemini.requests) == 1


async def test_a_retry_by_hand_after_a_cut_answer_asks_the_jobs_message(gemini: FakeGemini) -> None:
    gemini.script(truncated("half an ans"), text("The whole answer."))
    job = Job(GEMINI, "Write the report.")
    assert (await job.attempt()).reason == "ModelOutputTruncated"
    job.round = 2
    assert (await job.attempt()).result == "The whole answer."
    assert [content["role"] for content in gemini.requests[-1].contents] == ["user"]
    assert gemini.requests[-1].user_messages == ["Write the report."]


async def test_another_jobs_dead_call_is_not_sent_in_a_shared_session(
    gemini: FakeGemini, write_module: Write
) -> None:
    """Providers refuse a request with a call that has no result, for good."""
    gemini.script(call("begin"), text("The answer."))
    waits = gemini_job(
        write_module, "tools=[LongRunningFunctionTool(begin)]", session_id="shared_with_a_dead_call"
    )
    assert (await waits.attempt()).reason == "InputUnsupported"
    other = Job(GEMINI, "And now?", session_id="shared_with_a_dead_call")
    assert (await other.attempt()).result == "The answer."
    sent = gemini.requests[-1]
    assert "functionCall" not in json.dumps(sent.contents)
    assert sent.user_messages == ["Write the report.", "And now?"]
