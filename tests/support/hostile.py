"""Hostile values: what a run can send to its worker, what an agent can produce, what a caller can enqueue.

Each is one job that a worker runs beside others. ``hostile_examples.py`` makes more of the kind.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from worker_agents import call

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
    refused: str = ""
    """Part of the error with which the database refuses that row."""
    generated: bool = False
    """Whether nobody has looked at it: the database may refuse its row, or take it."""
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


def wire(id_: str, raw: bytes, *, ends: bool = False) -> Hostile:
    """A run that sends ``raw`` to its worker."""
    return Hostile(id_, raw=raw, ends=ends)


def asks(id_: str, asked: str) -> Hostile:
    """A run whose model does what the expression ``asked`` says."""
    return Hostile(id_, message=f"={asked}")


def _plain_payload() -> str:
    return '{"v": 1, "namespace": "team", "name": "a", "agent": {"module": "innocent"}, "message": "hello"}'


def row(id_: str, payload: str = "", refused: str = "", **fields: Any) -> Hostile:
    """A row that a caller stores by the SQL function."""
    return Hostile(id_, row=fields, payload=payload or _plain_payload(), refused=refused)


def payload(id_: str, text: str, refused: str = "") -> Hostile:
    """Such a row with one more field in its payload."""
    return row(id_, _plain_payload()[:-1] + ", " + text + "}", refused)


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
    Hostile("3,000 events", message="3000", module="chatty"),
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
    payload("a payload with a lone surrogate", '"x": "\\ud800"', refused="surrogate"),
    payload("a payload with NUL", '"x": "\\u0000"', refused="u0000"),
    payload("a payload with 1e999", '"x": 1e999'),
    payload("a payload with a number of 5,000 digits", '"x": ' + "1" * 5000),
    payload("a payload 1,500 lists deep", '"x": ' + "[" * 1500 + "]" * 1500),
    payload("a payload 5,000 lists deep", '"x": ' + "[" * 5000 + "]" * 5000),
    row("a payload that is a list", "[1]", refused="job_payload"), row("a payload that is a number", "7", refused="job_payload"),
    row("a payload that is null", "null"),
    row("a due time without end", refused="job_times", run_at="infinity"),
    row("a due time before all times", refused="job_times", run_at="-infinity"),
    row("a due time in the year 100000", refused="job_times", run_at="100000-01-01T00:00:00Z"),
    row("a priority of 200", refused="job_priority", priority=200),
    row("a priority of 2^40", refused="smallint", priority=2**40),
    row("a target of 10 KB", refused="job_names", target="t" * 10_000),
    row("a session of 1 MB", refused="job_names", session="".join(chr(0x4e00 + n * 7919 % 20000) for n in range(300_000))),
    row("a queue of 10 KB", refused="job_names", queue="q" * 10_000),
    payload("answers of odd values", '"answers": {"a": {"at": 7}, "b": {}}'),
    payload("answers that are a list", '"answers": [1]'),
    payload("a budget of 2^64", '"budget": {"maxTokens": 18446744073709551616}'),
    payload("a budget of 1e400", '"budget": {"maxTokens": 1e400}'),
    payload("an input deadline of 2^40", '"inputDeadlineSeconds": 1099511627776'),
    payload("a version of 1e300", '"v": 1e300'),
    payload("a name that is a list", '"name": [1], "namespace": {"a": 1}'),
    payload("a traceparent that is a number", '"traceparent": 7'),
    payload("a schedule of odd values", '"schedule": {"name": 7, "uid": [1], "time": null}'),
    row("a retry policy of 2^31-1", refused="job_retry", retry=[2**31 - 1] * 4),
    row("a retry policy below 0", refused="job_retry", retry=[-1, -1, -1, -1]),
    row("a retry policy of one number", refused="job_retry", retry=[5]),
    row("no attempts", refused="job_max_attempts", max_attempts=-5),
    row("a time-out of 2^31-1", refused="job_seconds", attempt_timeout=2**31 - 1),
    row("a time-out below 0", refused="job_seconds", attempt_timeout=-5),
    row("a deadline of 2^31-1", refused="job_seconds", active_deadline=2**31 - 1, starting_deadline=2**31 - 1),
]  # fmt: skip
