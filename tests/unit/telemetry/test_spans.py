"""Spans cross from an executor to the supervisor whole, and nothing in one can spoil a batch."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource

from agentjobs.telemetry.spans import MAX_CHARACTERS, TRUNCATED, Event, Link, Span
from agentjobs.telemetry.tracing import _readable

SPAN = Span(
    name="execute_tool look",
    trace_id="a" * 32,
    span_id="b" * 16,
    parent_id="c" * 16,
    start_ns=1_700_000_000_000_000_000,
    end_ns=1_700_000_000_000_000_500,
    kind="CLIENT",
    attributes={"text": "a", "flag": True, "count": 3, "share": 0.5, "many": ["x", "y"]},
    events=(Event("exception", 1_700_000_000_000_000_100, {"exception.type": "ValueError"}),),
    links=(Link("d" * 32, "e" * 16, {"why": "retry"}),),
    error="ValueError",
    scope="gcp.vertex.agent",
    scope_version="2.13.0",
)


def across(span: Span) -> Span:
    return Span.from_json(json.loads(json.dumps(span.as_json())))


def raw(**changes: Any) -> dict[str, Any]:
    return {**SPAN.as_json(), **changes}


def test_a_span_crosses_whole() -> None:
    assert across(SPAN) == SPAN
    begun = Span("s", "a" * 32, "b" * 16, None, 5, None)
    assert across(begun) == begun


@pytest.mark.parametrize(
    "value",
    [2**70, -(2**70), "\ud800", b"\xff", {"a": {1, 2}}, [None, "\udfff", [2**64]], float("nan"), object()],
    ids=["2**70", "-2**70", "surrogate", "bytes", "set", "list", "nan", "object"],
)
def test_no_value_of_an_agent_can_make_a_batch_unsendable(value: object) -> None:
    span = Span.from_json(raw(a={"bad\ud800": value}, n="name\ud800", v=[["e", 2**80, {"k": value}]]))
    assert encode_spans([_readable(span, Resource.get_empty())]).SerializeToString()


def test_what_is_too_large_to_be_of_use_is_left_out() -> None:
    span = Span.from_json(raw(a={"text": "x" * (MAX_CHARACTERS + 1)}))
    assert (span.attributes, span.events) == ({TRUNCATED: True}, ())


@pytest.mark.parametrize(
    "changes",
    [{"t": "0" * 32}, {"t": "x"}, {"s": 7}, {"p": "B" * 16}, {"b": "now"}, {"l": [["x", "y", {}]]}],
    ids=repr,
)
def test_what_is_no_span_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Span.from_json(raw(**changes))
