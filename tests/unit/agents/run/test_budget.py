"""Budgets as arithmetic."""

from __future__ import annotations

import pytest

from agentjobs.agents.run.budget import Budget, Meter
from agentjobs.values.usage import Usage


def used(total: int = 0, calls: int = 0) -> Usage:
    return Usage(total_tokens=total, llm_calls=calls)


@pytest.mark.parametrize(
    ("budget", "now", "floor", "refused"),
    [
        (Budget(), used(10**9, 10**6), 10**9, False),
        (Budget(max_llm_calls=2), used(calls=1), 0, False),
        (Budget(max_llm_calls=2), used(calls=2), 0, True),
        (Budget(max_llm_calls=2, spent=used(calls=2)), used(), 0, True),
        (Budget(max_tokens=100), used(99), 0, False),
        (Budget(max_tokens=100), used(100), 0, True),
        (Budget(max_tokens=100), used(60), 40, False),
        (Budget(max_tokens=100), used(60), 41, True),
        (Budget(max_tokens=100, spent=used(50)), used(50), 0, True),
    ],
)
def test_a_call_is_refused_before_it_would_exceed(
    budget: Budget, now: Usage, floor: int, refused: bool
) -> None:
    assert (budget.refusal(now, floor) is not None) is refused


ASKED = ["the question"]
CONTINUED = [*ASKED, "the call of a tool", "its result"]


def after_a_call(*, repeated_tokens: int | None = None) -> Meter:
    """40 tokens were asked and 15 answered, of 100."""
    meter = Meter(Budget(max_tokens=100))
    assert meter.begin_call("a", ASKED) is None
    meter.add_answer("a", Usage(prompt_tokens=40, output_tokens=15, total_tokens=55), repeated_tokens)
    return meter


def test_the_next_call_repeats_the_agents_last_one_at_least() -> None:
    assert after_a_call().begin_call("b", CONTINUED) is None, "another agent has another prompt"
    refusal = after_a_call().begin_call("a", CONTINUED)
    assert refusal == "budget.maxTokens is 100, 55 tokens were spent, and the next call takes at least 55"


def test_a_call_that_begins_anew_repeats_nothing() -> None:
    assert after_a_call().begin_call("a", ["another question", "more"]) is None
    assert after_a_call().begin_call("a", []) is None


def test_thoughts_are_not_repeated() -> None:
    assert after_a_call(repeated_tokens=45).begin_call("a", CONTINUED) is None


def test_usage_is_told_as_it_grows_a_call_that_has_begun_included() -> None:
    told: list[Usage] = []
    meter = Meter(Budget(), told.append)
    meter.begin_call("a", ASKED)
    meter.add_answer("a", Usage(10, 5, 15))
    meter.add_tool_call()
    assert told == [Usage(llm_calls=1), Usage(10, 5, 15, 1), Usage(10, 5, 15, 1, 1)]
