"""The model call of ADK's compaction: it is counted, and a budget leaves it out rather than the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from agent_modules import Write, write_module
from gemini import FakeGemini, gemini, text
from runs import Job, module

from agentjobs.agents.verdict.outcome import Verdict

__all__ = ["gemini", "write_module"]

LONG = "The herons are back. " * 200
SUMMARIZERS = {
    "ADK's own": "",
    "the author's": ", summarizer=LlmEventSummarizer(llm=Gemini(model='gemini-2.5-pro'), "
    "prompt_template='Sum up: {conversation_history}')",
}


def job(write_module: Write, summarizer: str = "", fields: Mapping[str, Any] = {}) -> Job:
    write_module(
        "compacts",
        f"""
        from google.adk.agents import LlmAgent
        from google.adk.apps import App
        from google.adk.apps.app import EventsCompactionConfig
        from google.adk.apps.llm_event_summarizer import LlmEventSummarizer
        from google.adk.models import Gemini
        app = App(
            name='compacts', root_agent=LlmAgent(name='agent', model='gemini-2.5-flash', instruction='Answer.'),
            events_compaction_config=EventsCompactionConfig(compaction_interval=1, overlap_size=0{summarizer}),
        )
        """,
    )
    return Job(module("compacts"), modules=("compacts",), **fields)


@pytest.mark.parametrize("summarizer", SUMMARIZERS.values(), ids=list(SUMMARIZERS))
async def test_the_call_of_a_compaction_is_counted(
    summarizer: str, write_module: Write, gemini: FakeGemini
) -> None:
    gemini.script(text(LONG), text("Herons."))
    outcome = await job(write_module, summarizer).attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, LONG.strip())
    assert len(gemini.requests) == outcome.usage.llm_calls == 2
    assert outcome.usage.total_tokens == 30
    if summarizer:
        assert gemini.requests[-1].model == "gemini-2.5-pro"
        assert gemini.requests[-1].user_messages[0].startswith("Sum up: ")


@pytest.mark.parametrize("budget", [{"max_llm_calls": 1}, {"max_tokens": 15}], ids=str)
async def test_a_budget_leaves_the_compaction_out_and_keeps_the_answer(
    budget: dict[str, int], write_module: Write, gemini: FakeGemini
) -> None:
    gemini.script(text(LONG), text("Herons."))
    outcome = await job(write_module, fields=budget).attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, LONG.strip())
    assert len(gemini.requests) == outcome.usage.llm_calls == 1
    assert outcome.warnings == ()


async def test_a_compaction_that_fails_is_told_and_keeps_the_answer(
    write_module: Write, gemini: FakeGemini
) -> None:
    from gemini import error

    gemini.script(text(LONG), error(500, "about herons"))
    outcome = await job(write_module).attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, LONG.strip())
    assert outcome.warnings == (
        "apps.compaction._summarize_events_with_trace: Event compaction failed; continuing with the uncompacted "
        "history. (ServerError)",
    )
    assert outcome.message == f"ADK logged a warning beside the answer: {outcome.warnings[0]}"
    assert len(gemini.requests) == outcome.usage.llm_calls == 2
