"""A generator of hostile values: Hypothesis makes jobs of the kinds of ``hostile.py``, the same for the same seed.

Longer, and others: ``AGENTJOBS_HOSTILE_EXAMPLES=2000 AGENTJOBS_HOSTILE_SEED=1 pytest tests/queue/test_hostile_values.py``.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from hostile import NUMBERS, TEXTS, Hostile, asks, event, line, payload, result, usage, wire
from worker_agents import call

EXAMPLES = int(os.environ.get("AGENTJOBS_HOSTILE_EXAMPLES", "40"))
SEED = int(os.environ.get("AGENTJOBS_HOSTILE_SEED", "7"))

_text = st.one_of(
    st.sampled_from(TEXTS),
    st.text(st.characters(), max_size=20),
    st.text(st.characters(categories=["Cs", "Cc"]), max_size=5),
)
_number = st.one_of(st.sampled_from(NUMBERS), st.integers(), st.floats())
_json = st.recursive(
    st.one_of(_text, _number), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
_COUNTS = ("promptTokens", "outputTokens", "totalTokens", "llmCalls", "toolCalls")
_EVENT = (
    "author",
    "kind",
    "tool",
    "prompt_tokens",
    "output_tokens",
    "total_tokens",
    "error_code",
    "final",
    "model",
    "timestamp",
)
_OUTCOME = (
    "verdict",
    "reason",
    "message",
    "delay_seconds",
    "result",
    "usage",
    "event_count",
    "model_answer",
    "model",
    "answered",
    "requests",
)
_VERDICTS = st.sampled_from(["complete", "retry", "snooze", "fail", "ask", "cancelled"])


def _some(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), _json, min_size=1, max_size=3)


def _made(kind: str) -> st.SearchStrategy[Hostile]:
    match kind:
        case "usage":
            return _some(_COUNTS).map(lambda f: wire(f"usage {f!r:.300}", usage(**f)))
        case "event":
            return _some(_EVENT).map(lambda f: wire(f"event {f!r:.300}", event(**f)))
        case "result":
            both = st.tuples(_VERDICTS, _some((*_OUTCOME, "cpu_seconds", "max_resident_bytes")))
            return both.map(
                lambda b: wire(f"result {b!r:.300}", result(**{"verdict": b[0], **b[1]}), ends=True)
            )
        case "message":
            ops = st.sampled_from(["usage", "event", "span", "result", "idle", "job"])
            both = st.tuples(ops, st.sampled_from(["usage", "event", "span", "outcome"]), _json)
            return both.map(
                lambda b: wire(f"message {b!r:.300}", line({"op": b[0], b[1]: b[2]}), ends=b[0] == "result")
            )
        case "bytes":
            return st.binary(min_size=1, max_size=200).map(lambda b: wire(f"bytes {b!r:.300}", b + b"\n"))
        case "state":
            return _json.map(
                lambda v: Hostile(f"keeps {v!r:.300}", message=call("keep", expression=_python(v)))
            )
        case "returned":
            return _json.map(
                lambda v: Hostile(f"returns {v!r:.300}", message=call("give", expression=_python(v)))
            )
        case "counts":
            return _number.map(
                lambda n: asks(f"counts {n!r:.60}", f"{{'usage': {{'prompt_token_count': {_python(n)}}}}}")
            )
        case _:
            fields = st.dictionaries(
                st.sampled_from(["x", "budget", "name", "userID", "v", "agent", "schedule"]),
                _json,
                min_size=1,
                max_size=2,
            )
            return fields.map(
                lambda f: (
                    payload(f"payload {f!r:.300}", json.dumps(f, allow_nan=False)[1:-1])
                    if _is_json(f)
                    else wire(f"payload {f!r:.300}", line(f))
                )
            )


def _python(value: Any) -> str:
    """An expression for ``value``; what a text's own repr cannot say is said by float()."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_python(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_python, value)) + "]"
    return repr(value)


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


KINDS = ("usage", "event", "result", "message", "bytes", "state", "returned", "counts", "payload")


def examples(count: int = EXAMPLES, number: int = SEED) -> list[Hostile]:
    """The same jobs for the same seed."""
    made: list[Hostile] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(KINDS).flatmap(_made))
    def collect(one: Hostile) -> None:
        made.append(replace(one, generated=True))

    collect()
    return made
