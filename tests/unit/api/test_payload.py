"""What of an object goes into the queue."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentjobs.api.agentjob import AgentJob
from agentjobs.api.meta import TRACEPARENT
from agentjobs.api.payload import payload_of, session_key, session_of
from manifests import BASES, changed

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def job(**changes: Any) -> AgentJob:
    changes = {"metadata": {"name": "case", "namespace": "team-a"}, **changes}
    return AgentJob.model_validate(
        changed(BASES["job"], {k.replace("__", "."): v for k, v in changes.items()})
    )


def test_the_least_payload_has_the_identity_and_the_defaults() -> None:
    assert payload_of(job()) == {
        "v": 1,
        "namespace": "team-a",
        "name": "case",
        "agent": {"module": "pkg.mod"},
        "message": "hello",
        "userID": "system",
        "appName": "agentjobs",
    }


def test_session_budget_and_trace_are_in_it_where_they_are_given() -> None:
    payload = payload_of(
        job(
            spec__sessionID="s",
            spec__budget={"maxLLMCalls": 3},
            metadata={"name": "case", "namespace": "team-a", "annotations": {TRACEPARENT: PARENT}},
        )
    )
    assert (payload["sessionID"], payload["budget"], payload["traceparent"]) == (
        "s",
        {"maxLLMCalls": 3},
        PARENT,
    )


def test_an_inline_agent_is_handed_on_as_it_was_written() -> None:
    inline = {"name": "a", "model": "echo", "instruction": "i", "generateContentConfig": {"topP": 0.5}}
    assert payload_of(job(spec__agent={"inline": inline}))["agent"] == {"inline": {"type": "llm", **inline}}


@pytest.mark.parametrize(
    "parent",
    ["", "nonsense", PARENT.upper(), "ff" + PARENT[2:], PARENT.replace("b7ad6b7169203331", "0" * 16)],
)
def test_an_invalid_traceparent_is_ignored(parent: str) -> None:
    metadata = {"name": "case", "namespace": "team-a", "annotations": {TRACEPARENT: parent}}
    assert "traceparent" not in payload_of(job(metadata=metadata))


def test_a_payload_is_json() -> None:
    assert json.loads(json.dumps(payload_of(job(spec__budget={})))) == payload_of(job())


def test_h18_a_session_of_the_jobs_own_needs_no_lock() -> None:
    assert session_of(job()) is None
    assert session_of(job(spec__sessionID="chat")) == "team-a/agentjobs/system/chat"


parts = st.tuples(*[st.text(max_size=5) | st.text(alphabet="ab/%2F", max_size=4) for _ in range(4)])


@given(parts, parts)
def test_h18_two_identities_never_have_one_session_key(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert (session_key(*one) == session_key(*other)) is (one == other)


@given(parts)
def test_a_session_key_is_plain_ascii_with_three_borders(identity: tuple[str, ...]) -> None:
    key = session_key(*identity)
    assert key.isascii()
    assert key.count("/") == 3
