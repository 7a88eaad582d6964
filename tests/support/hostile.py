"""Hostile values: what a run can send to its worker, what an agent can produce, what a caller can enqueue.

Tables of the members that were found, and Hypothesis strategies that make more of their kind. ``examples`` turns a
strategy into a list of jobs that one worker runs at the same time.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from worker_agents import call

EXAMPLES = int(os.environ.get("AGENTJOBS_HOSTILE_EXAMPLES", "40"))
"""Generated jobs of one run of the tests."""
SEED = int(os.environ.get("AGENTJOBS_HOSTILE_SEED", "7"))
HUGE = 10**400
NUMBERS: tuple[Any, ...] = (
    2**31, 2**53, 2**63 - 1, 2**63, 2**64, HUGE, -1, -(2**63) - 1, 1e308, math.nan, math.inf, -math.inf, 0.5, True, None, "7",
)  # fmt: skip
TEXTS = (
    "\x00",
    "\ud800",
    "a\udfff b",
    "x" * 100_000,
    "\N{GRINNING FACE}" * 30_000,
    "\u202e\x1b[31m",
    "",
    "NaN",
)

MODULE = '''
import asyncio, gc, json, math, os, random
from google.adk.agents import LlmAgent
from google.adk.events.event import Event
from google.adk.models import BaseLlm
from google.adk.models.llm_response import LlmResponse
from google.adk.tools import ToolContext
from google.genai import types
from agentjobs.agents.definition import echo


async def say(file: str, end: bool):
    """Sends raw bytes to the worker, past the executor; then goes on, or never returns."""
    from agentjobs.worker.process.child import _Link
    (link,) = [one for one in gc.get_objects() if type(one) is _Link]
    with open(file, "rb") as lines:
        link._sock.sendall(lines.read())
    if end:
        await asyncio.sleep(600)
    return "said"


def give(expression: str):
    return eval(expression)


def keep(expression: str, tool_context: ToolContext):
    tool_context.state["patient"] = "Jane Roe, 12 Elm Street"
    tool_context.state["value"] = eval(expression)
    return "kept"


class Hostile(BaseLlm):
    """``echo``, with the counts, the version and the texts that the message asks for."""

    async def generate_content_async(self, llm_request, stream=False):
        response = await echo.answer(llm_request.contents)
        text = next(p.text for c in llm_request.contents for p in c.parts or [] if p.text)
        asked = eval(text.splitlines()[0][1:]) if text.startswith("=") else {}
        if "usage" in asked:
            response.usage_metadata = types.GenerateContentResponseUsageMetadata.model_construct(**asked["usage"])
        if "version" in asked:
            response.model_version = asked["version"]
        if "text" in asked:
            response.content = types.Content(role="model", parts=[types.Part(text=asked["text"])])
        if "raise" in asked:
            raise RuntimeError(asked["raise"])
        yield response




root_agent = LlmAgent(name="hostile", model=Hostile(model="hostile"), instruction="Do.", tools=[say, give, keep])
'''

CHATTY = """
from google.adk.agents import BaseAgent
from google.adk.events.event import Event
from google.genai import types

class Chatty(BaseAgent):
    async def _run_async_impl(self, ctx):
        n = int(ctx.user_content.parts[0].text)
        for i in range(n):
            yield Event(author=self.name, partial=False, invocation_id=ctx.invocation_id, actions={"skip_summarization": None})
        yield Event(author=self.name, invocation_id=ctx.invocation_id,
                    content=types.Content(role="model", parts=[types.Part(text="done")]))

root_agent = Chatty(name="chatty")
"""


def write_hostile_modules(folder: Path) -> None:
    (folder / "hostile.py").write_text(MODULE)
    (folder / "chatty.py").write_text(CHATTY)


@dataclass(frozen=True)
class Hostile:
    """One job that hurts nobody but itself."""

    id: str
    message: str = ""
    module: str = "hostile"
    raw: bytes = b""
    """Sent to the worker by the run, past the executor's own code."""
    ends: bool = False
    """Whether the run never returns after it."""
    row: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the row that ``agentjobs.enqueue`` gets from SQL, past the Python face."""
    payload: str = ""
    """The text of the payload in that row."""
    told: str = ""
    """Part of the message of its end."""
    reason: str = ""
    """Of its last attempt, or of its end."""
    uid: UUID = field(default_factory=uuid4)

    def text(self, folder: Path) -> str:
        """The message of the job."""
        if not self.raw:
            return self.message
        path = folder / self.uid.hex
        path.write_bytes(self.raw)
        return call("say", file=str(path), end=self.ends)


def line(message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def usage(**counts: Any) -> bytes:
    plain = {"promptTokens": 1, "outputTokens": 1, "totalTokens": 2, "llmCalls": 1, "toolCalls": 0}
    return line({"op": "usage", "usage": plain | counts})


def event(**fields: Any) -> bytes:
    plain = {
        "author": "a",
        "kind": "text",
        "tool": "",
        "prompt_tokens": 1,
        "output_tokens": 1,
        "total_tokens": 2,
    }
    return line({"op": "event", "event": plain | fields})


def result(**fields: Any) -> bytes:
    plain: dict[str, Any] = {
        "verdict": "complete",
        "reason": "Completed",
        "message": "",
        "result": "done",
        "usage": {},
    }
    top = {name: fields.pop(name) for name in ("cpu_seconds", "max_resident_bytes") if name in fields}
    return line({"op": "result", "outcome": plain | fields, **top})


def wire(id_: str, raw: bytes, *, ends: bool = False, **expected: str) -> Hostile:
    return Hostile(id_, raw=raw, ends=ends, **expected)


def asks(id_: str, asked: Mapping[str, Any] | str, **expected: str) -> Hostile:
    return Hostile(id_, message=f"={asked!r}" if isinstance(asked, Mapping) else f"={asked}", **expected)


def _plain_payload() -> str:
    return '{"v": 1, "namespace": "team", "name": "a", "agent": {"module": "innocent"}, "message": "hello"}'


def row(id_: str, payload: str = "", **fields: Any) -> Hostile:
    expected = {name: fields.pop(name) for name in ("reason", "told") if name in fields}
    return Hostile(id_, row=fields, payload=payload or _plain_payload(), **expected)


def payload(id_: str, text: str, **expected: Any) -> Hostile:
    return row(id_, _plain_payload()[:-1] + ", " + text + "}", **expected)


MEMBERS = [
    # what a model counts
    *(asks(f"a model counts {n!s:.12}", f"{{'usage': {{'total_token_count': {_py}}}}}") for n, _py in [
        (2**31, "2**31"), (2**53, "2**53"), (2**63, "2**63"), (2**64, "2**64"), ("1e400", "10**400"), (-1, "-1"), (-(2**64), "-2**64"),
        ("NaN", "float('nan')"), ("inf", "float('inf')"), ("a text", "'many'")]),
    asks("a model's version is a lone surrogate", "{'version': '\\ud800'}"),
    asks("a model's version is 1 MB", "{'version': 'v' * 10**6}"),
    asks("an answer of 3 Mi smileys", "{'text': '\\U0001f600' * (3 * 2**20)}"),
    asks("an answer of 8 MB of control characters", "{'text': '\\x01' * 2**23}"),
    asks("an answer of lone surrogates and NUL", "{'text': 'a\\ud800b\\x00c'}"),
    asks("an event of 50 MB", "{'text': 'x' * (50 * 2**20)}"),
    asks("an error of lone surrogates", "{'raise': '\\ud800\\x00'}"),
    Hostile("100,000 events", message="100000", module="chatty"),
    # what tools return and keep
    *(Hostile(f"a tool returns {e}", message=call("give", expression=e)) for e in (
        "{1: 2, 3: {4: 5}}", "{(1, 2): 3}", "{None: 1, True: 2}", "2**70", "10**5000", "float('nan')", "[float('inf')]", "'\\ud800\\x00'",
        "{'\\ud800': 1}", "'x' * (50 * 2**20)")),
    *(Hostile(f"a tool keeps {e}", message=call("keep", expression=e)) for e in (
        "{1: 2}", "{(1, 2): 3}", "2**70", "10**5000", "float('nan')", "{'a': [float('-inf')]}", "'\\ud800\\x00'", "{'\\ud800': '\\x00'}",
        "float('1e308')", "object()", "{1, 2}")),
    # what a run sends
    *(wire(f"usage of {n!s:.12}", usage(totalTokens=n)) for n in NUMBERS),
    wire("usage that is a text", line({"op": "usage", "usage": "much"})),
    wire("usage that is a list", line({"op": "usage", "usage": [1, 2]})),
    *(wire(f"an event counts {n!s:.12}", event(total_tokens=n, prompt_tokens=n)) for n in NUMBERS),
    *(wire(f"an event's author is {t[:8]!r}", event(author=t, tool=t, model=t)) for t in TEXTS),
    *(wire(f"an event's tool is {v!r:.20}", event(tool=v, model=v)) for v in (None, 7, [1], {"a": 1})),
    wire("an event without fields", line({"op": "event", "event": {}})),
    wire("an event that is a list", line({"op": "event", "event": []})),
    wire("an event of unknown fields", event(colour="red")),
    wire("an event of 50 MB", event(author="x" * (50 * 2**20))),
    wire("100,000 events in one piece", event() * 100_000),
    *(wire(f"a result waits {n!s:.12}", result(verdict="snooze", reason="ModelRateLimited", delay_seconds=n), ends=True)
      for n in (1e308, HUGE, math.nan, math.inf, -5, "7", [1])),
    *(wire(f"a result took {n!s:.12} s", result(cpu_seconds=n, max_resident_bytes=n), ends=True) for n in NUMBERS),
    *(wire(f"a result of {n!s:.12} events", result(event_count=n), ends=True) for n in NUMBERS),
    *(wire(f"a result is {v!r:.20}", result(result=v), ends=True) for v in (7, [1], {"a": 1}, "\x00\ud800")),
    *(wire(f"a reason is {v!r:.20}", result(verdict="fail", reason=v), ends=True) for v in (7, None, [1], "\x00", "r" * 10_000)),
    *(wire(f"a message is {v!r:.20}", result(verdict="fail", message=v), ends=True) for v in (7, None, [1], "\ud800")),
    *(wire(f"the usage of a result is {n!s:.12}", result(usage={"totalTokens": n, "llmCalls": n}), ends=True) for n in NUMBERS),
    wire("a verdict that nobody knows", result(verdict="maybe"), ends=True),
    wire("a question without fields", result(verdict="ask", requests=[{}]), ends=True),
    wire("a question of numbers", result(verdict="ask", requests=[{"id": 1, "tool": 2}]), ends=True),
    wire("an ask without questions", result(verdict="ask", requests=[]), ends=True),
    wire("models that answered are numbers", result(answered=[1, None]), ends=True),
    wire("100,000 models answered", result(answered=[f"m{n}" for n in range(100_000)]), ends=True),
    wire("a model's name of 10 KB", result(
        verdict="retry", reason="ModelServerError", model="n" * 10_000, model_answer="u"), ends=True),
    wire("a result that is a list", line({"op": "result", "outcome": []}), ends=True),
    wire("two results", result() + result(verdict="fail", reason="UnknownError"), ends=True),
    wire("no JSON", b"hello\n"), wire("no message", b"[]\n"), wire("an unknown op", line({"op": "dance"})),
    wire("a number of 5,000 digits", b'{"op": "usage", "usage": {"totalTokens": ' + b"1" * 5000 + b"}}\n"),
    wire("a message 100,000 lists deep", b'{"op": ' + b"[" * 100_000 + b"\n"),
    wire("32 MB without an end", b"x" * (32 * 2**20)),
    wire("a span that is a text", line({"op": "span", "span": "s"})),
    wire("a span of huge numbers", line({"op": "span", "span": {"n": "s", "t": "1" * 32, "s": "2" * 16, "b": HUGE, "a": {"x": HUGE}}})),
    # rows from SQL
    payload("a payload with a lone surrogate", '"x": "\\ud800"'),
    payload("a payload with NUL", '"x": "\\u0000"'),
    payload("a payload with 1e999", '"x": 1e999'),
    payload("a payload with a number of 5,000 digits", '"x": ' + "1" * 5000),
    payload("a payload 1,500 lists deep", '"x": ' + "[" * 1500 + "]" * 1500),
    payload("a payload 5,000 lists deep", '"x": ' + "[" * 5000 + "]" * 5000),
    row("a payload that is a list", "[1]"), row("a payload that is a number", "7"), row("a payload that is null", "null"),
    payload("a budget of 2^64", '"budget": {"maxTokens": 18446744073709551616}'),
    payload("a budget of 1e400", '"budget": {"maxTokens": 1e400}'),
    payload("an input deadline of 2^40", '"inputDeadlineSeconds": 1099511627776'),
    payload("a version of 1e300", '"v": 1e300'),
    payload("a name that is a list", '"name": [1], "namespace": {"a": 1}'),
    payload("a traceparent that is a number", '"traceparent": 7'),
    payload("a schedule of odd values", '"schedule": {"name": 7, "uid": [1], "time": null}'),
    row("a retry policy of 2^31-1", retry=[2**31 - 1] * 4),
    row("a retry policy below 0", retry=[-1, -1, -1, -1]),
    row("a retry policy of one number", retry=[5]),
    row("no attempts", max_attempts=-5),
    row("a time-out of 2^31-1", attempt_timeout=2**31 - 1),
    row("a time-out below 0", attempt_timeout=-5),
    row("a deadline of 2^31-1", active_deadline=2**31 - 1, starting_deadline=2**31 - 1),
]  # fmt: skip


# generated ------------------------------------------------------------------------------------------

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
    @settings(max_examples=count, database=None, phases=[Phase.generate], deadline=timedelta(minutes=1),
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.sampled_from(KINDS).flatmap(_made))
    def collect(one: Hostile) -> None:
        made.append(one)

    collect()
    return made
