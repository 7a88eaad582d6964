"""A state is JSON that Postgres and the API server store as it was written; anything else is refused by its path."""

from __future__ import annotations

import datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentjobs.api.agentjob import AgentJob
from agentjobs.api.payload import WITH_STATE, payload_of
from agentjobs.api.state import STATE_BYTES, STATE_MAX_DEPTH
from agentjobs.api.validation import problems_of
from manifests import BASES, changed


def problems(state: Any, **spec: Any) -> list[str]:
    job = BASES["job"]
    return [str(problem) for problem in problems_of({**job, "spec": {**job["spec"], "state": state, **spec}})]


def nested(depth: int) -> dict[str, Any]:
    inner: Any = "x"
    for _ in range(depth - 1):
        inner = {"a": inner}
    return {"a": inner}


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("text", "wants an object, got text"),
        ({"a": float("nan")}, "the value at a is nan, and JSON has finite numbers alone"),
        ({"a": [1, float("inf")]}, "the value at a[1] is inf"),
        ({"a": 2**63}, "the value at a is a whole number of more than 64 bits: write it as a text"),
        ({"a": {"b": "\0"}}, "the value at a.b has a NUL"),
        ({"a": {"b\0": 1}}, "the value at a has a key with a NUL"),
        ({"a": "\ud800"}, "the value at a has a NUL or half a surrogate pair"),
        ({"a": {1: 2}}, "the value at a has the key 1, which is no text: put it into quotes"),
        ({True: 2}, "it has the key True, which is no text"),
        ({"a": datetime.date(2026, 1, 2)}, "the value at a is of type date, and JSON has none"),
        ({"": 1}, "key '' has no name"),
        ({"user:": 1}, "key 'user:' has no name"),
        (nested(STATE_MAX_DEPTH + 1), f"is nested deeper than the {STATE_MAX_DEPTH} levels"),
        (nested(5000), f"is nested deeper than the {STATE_MAX_DEPTH} levels"),
        ({"a": "\N{SNOWMAN}" * (STATE_BYTES // 3)}, f"wants at most {STATE_BYTES} bytes as JSON, got"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_cannot_be_a_state_is_refused_by_its_path_with_the_remedy(state: Any, told: str) -> None:
    (problem,) = problems(state, userID="eve")
    assert problem.startswith("spec.state: ")
    assert told in problem


def test_a_problem_never_repeats_a_value() -> None:
    for state in ({"a": "secret\0"}, {"temp:a": "secret"}, {"a": {"b": ["secret", "secret" * STATE_BYTES]}}):
        assert "secret" not in str(problems(state))


@pytest.mark.parametrize("state", [nested(STATE_MAX_DEPTH), {"a": "x" * (STATE_BYTES - len('{"a":""}'))}])
def test_a_state_may_be_as_large_and_as_deep_as_it_says(state: dict[str, Any]) -> None:
    assert problems(state) == []


def test_a_template_of_a_schedule_has_a_state_too_and_its_problems_are_told() -> None:
    manifest = changed(BASES["schedule"], {"spec.jobTemplate.spec.state": {"temp:a": 1}})
    (problem,) = problems_of(manifest)
    assert problem.field == "spec.jobTemplate.spec.state"


def test_an_empty_state_is_none_and_a_worker_before_it_may_run_the_job() -> None:
    assert problems({}) == []
    payload = payload_of(AgentJob.model_validate(changed(BASES["job"], {"spec.state": {}})))
    assert (payload["v"], "state" in payload) == (1, False)


leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5) | st.floats()
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@given(state=st.dictionaries(st.text(min_size=1, max_size=5), values, min_size=1, max_size=4))
def test_what_is_taken_reaches_the_payload_unchanged_and_what_is_not_is_told_of(
    state: dict[str, Any],
) -> None:
    if problems(state):
        return
    payload = payload_of(AgentJob.model_validate(changed(BASES["job"], {"spec.state": state})))
    assert payload["v"] == WITH_STATE
    assert orjson.loads(orjson.dumps(payload["state"])) == state
