"""Every condition and every reason is documented, and no part has reasons of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import agentjobs.queue
from agentjobs.agents.verdict import error_rules
from agentjobs.agents.verdict.outcome import Verdict
from agentjobs.api import reference
from agentjobs.api.conditions import ConditionType
from agentjobs.queue.records import State
from agentjobs.values.model_answer import ModelAnswer
from agentjobs.values.reasons import Follows, Reason

PAGE = reference.reference()
RULES = [rule for rule in vars(error_rules).values() if isinstance(rule, error_rules.Rule)]


SQL = "".join(file.read_text() for file in Path(agentjobs.queue.__file__).parent.rglob("*.sql"))
# a quoted word in CamelCase is a state or a reason; others (NUL, a raised text) have another form
WORDS_OF_SQL = sorted(set(re.findall(r"'((?:[A-Z][a-z]+)+)'", SQL)) - set(State))


@pytest.mark.parametrize("reason", WORDS_OF_SQL)
def test_a_reason_of_the_queue_is_documented(reason: str) -> None:
    assert reason in set(Reason)


def test_the_reasons_of_the_queue_are_found() -> None:
    assert {"WorkerLost", "AttemptsExhausted", "BehindSession"} <= set(WORDS_OF_SQL)


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_camel_case_named_after_its_constant_and_described(reason: Reason) -> None:
    assert re.fullmatch(r"([A-Z][a-z]+|LLM)+", reason.value)
    assert reason.value.lower() == reason.name.replace("_", "").lower()
    assert reason.set_by in ("queue", "agents", "worker", "operator")
    assert reason.doc.endswith(".")
    assert f"| `{reason.value}` | {reason.set_by} |" in PAGE


@pytest.mark.parametrize("condition", ConditionType)
def test_a_condition_says_which_way_is_good_who_sets_it_and_when_it_is_absent(
    condition: ConditionType,
) -> None:
    assert re.match(r"True|Neither", condition.doc)
    assert "Set by the operator" in condition.doc
    assert "absent" in condition.doc


def test_the_conditions_are_those_of_the_design() -> None:
    assert [c.value for c in ConditionType] == [
        "Accepted",
        "Suspended",
        "Running",
        "InputRequired",
        "Complete",
        "Failed",
        "Finished",
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.reason.value)
def test_what_the_reference_says_of_an_error_is_what_follows_from_it(rule: error_rules.Rule) -> None:
    follows = {
        Verdict.RETRY: Follows.RETRIES,
        Verdict.SNOOZE: Follows.REFUNDS,
        Verdict.ASK: Follows.WAITS,
    }.get(rule.verdict, Follows.ENDS)
    if rule.model_answer is ModelAnswer.KEY_REFUSED:  # the worker lets it wait
        follows = Follows.REFUNDS
    assert rule.reason.follows is follows


def test_a_reason_is_its_text_for_json_and_comparison() -> None:
    text: str = Reason.BACKOFF
    assert text == "Backoff"
    assert f"{Reason.BACKOFF}" == "Backoff"
    assert Reason("Backoff") is Reason.BACKOFF  # type: ignore[call-arg]  # mypy reads a look-up as `__new__`
