"""From an exception or an event's error code to what follows. The rules are data, in table.py."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum

from agentjobs.agents.verdict import table
from agentjobs.agents.verdict.delays import accounts, delay_of
from agentjobs.agents.verdict.errors import AgentError
from agentjobs.agents.verdict.outcome import Verdict
from agentjobs.agents.verdict.redaction import bounded_error, without
from agentjobs.agents.verdict.table import Rule
from agentjobs.values.model_answer import ModelAnswer
from agentjobs.values.reasons import Reason

QUOTE_CHARACTERS = 1000
"""Of an error's own text."""


class Origin(StrEnum):
    """Where an exception was raised first."""

    MODEL = "model"
    TOOL = "tool"
    AGENT = "agent"
    """Anywhere else in the run: callbacks, custom agents, ADK itself."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an error means. ``message`` holds none of ``said``, is bounded (H7) and clean (H6)."""

    verdict: Verdict
    reason: Reason
    message: str
    delay_seconds: float | None = None
    health: ModelAnswer | None = None
    """What it says about the model that was called."""
    row: str = ""
    """Which row of the table decided, such as ``status 429`` or ``class httpx.TimeoutException``."""


def judge_exception(
    error: BaseException,
    origin: Origin = Origin.AGENT,
    *,
    tool: str = "",
    said: Iterable[str] = (),
    now: datetime | None = None,
) -> Judgement:
    """What an exception means that ended the run.

    :param tool: the name of the tool that raised it.
    :param said: prompts, answers and keys that must not be quoted.
    """
    error = _innermost(error)
    if isinstance(error, AgentError):
        return Judgement(error.verdict, error.reason, bounded_error(without(str(error), said)), row="ours")
    delay = delay_of(error, now or datetime.now(UTC)) if origin is not Origin.TOOL else None
    row, rule = _row(error, origin, delay)
    subject = f"Tool {tool!r}: " if tool and origin is Origin.TOOL else ""
    quoted = f" ({_quote(error, rule)})"
    return Judgement(
        rule.verdict,
        rule.reason,
        bounded_error(without(f"{subject}{rule.told}{quoted}", said)),
        delay if rule.verdict is Verdict.SNOOZE or rule.verdict is Verdict.RETRY else None,
        # an agent's own calls of anything else, and errors beside a model's call, say nothing about a model
        rule.health if origin is Origin.MODEL else None,
        row,
    )


def judge_code(code: object, message: str | None = None, *, said: Iterable[str] = ()) -> Judgement:
    """What an event means that carries ``error_code`` and that no exception follows."""
    name = str(code.value if isinstance(code, Enum) else code)
    row, rule = _row_of_code(name)
    quote = f"{name}: {_one_line(message)}" if message and rule.quote else name
    told = bounded_error(without(f"{rule.told} ({quote})", said))
    return Judgement(rule.verdict, rule.reason, told, health=rule.health, row=row)


def told_by(error: BaseException) -> BaseException:
    """The error that says what happened to a model call; to be asked where it was raised.

    LiteLLM puts its own guess over it: a lost connection becomes an ``InternalServerError`` with status 500, a 403 of
    Anthropic's an ``APIConnectionError``. What the provider, or the transport, said is the context of that exception,
    until somebody raises it again.
    """
    names = _names(error)
    if not names[0].startswith("litellm.") or any(name in table.LITELLM_KNOWS_BETTER for name in names):
        return error
    for link in _context(error):
        names = _names(link)
        if names[0].startswith("litellm."):
            continue
        if status_of(link) is not None or any(name in table.BY_CLASS for name in names):
            return link
    return error


def _row_of_code(name: str) -> tuple[str, Rule]:
    if (rule := table.BY_EVENT_CODE.get(name.upper())) is not None:
        return f"code {name.upper()}", rule
    if name.isdigit() and (found := _row_of_status(int(name))) is not None:
        return found
    for key, known in table.BY_CLASS.items():
        if key.split(".", 1)[1] == name:
            return f"class {key}", known
    return "code of no row", table.MODEL_ERROR


def _row_of_status(status: int) -> tuple[str, Rule] | None:
    """The row for an HTTP status of a provider; None: it is none of an error."""
    if status in table.BY_STATUS:
        return f"status {status}", table.BY_STATUS[status]
    if 400 <= status < 500:
        return "status 4xx", table.REQUEST_INVALID
    return ("status 5xx", table.SERVER_ERROR) if 500 <= status < 600 else None


def status_of(error: BaseException) -> int | None:
    """The HTTP status of a provider's error; None: it is no such error."""
    names = _names(error)
    if not any(name in table.API_ERRORS or name.startswith(("litellm.", "openai.")) for name in names):
        return None
    response = getattr(error, "response", None)
    for value in (
        getattr(error, "code", None),
        getattr(error, "status_code", None),
        getattr(error, "status", None),
        getattr(response, "status_code", None),
        getattr(response, "status", None),
    ):
        if isinstance(value, int) and 100 <= value <= 599:
            return int(value)
    return None


def _row(error: BaseException, origin: Origin, delay: float | None) -> tuple[str, Rule]:
    for name in _names(error):
        if name in table.WHEREVER_RAISED:
            return f"class {name}", table.WHEREVER_RAISED[name]
    if origin is Origin.TOOL:  # whatever it is: a tool's 400 is not about our prompt
        return "tool", table.TOOL_FAILED
    names = _names(error)
    for name in names:
        if name in table.LITELLM_KNOWS_BETTER:
            return f"class {name}", table.LITELLM_KNOWS_BETTER[name]
    status = status_of(error)
    if status is not None and (found := _row_of_status(status)) is not None:
        if status in table.SNOOZES_WHEN_IT_NAMES_A_DELAY and delay is not None:
            return f"status {status} with a delay", table.OVERLOADED
        if status == 400 and any(text in str(error) for text in table.API_KEY_TEXTS):
            return "status 400 about the key", table.AUTH_FAILED
        return found
    if origin is Origin.MODEL:
        for name in names:
            if name in table.BY_MODEL_CLASS:
                return f"model's class {name}", table.BY_MODEL_CLASS[name]
    for kind, pattern, rule in table.BY_TEXT:
        if names[0] == kind and re.search(pattern, str(error)):
            return f"text {pattern}", rule
    for name in names:
        if name in table.BY_CLASS:
            found_rule = table.BY_CLASS[name]
            # time-outs and lost connections of the agent's own code say nothing about the model
            if (
                origin is not Origin.MODEL
                and found_rule in (table.TIMED_OUT, table.UNREACHABLE)
                and _is_plain(name)
            ):
                return "agent", table.AGENT_FAILED
            return f"class {name}", found_rule
    return ("unknown", table.UNKNOWN) if origin is Origin.MODEL else ("agent", table.AGENT_FAILED)


def _is_plain(name: str) -> bool:
    return name.startswith(("builtins.", "socket.", "ssl."))


def _names(error: BaseException) -> list[str]:
    """``package.Class`` along the MRO, the most derived first."""
    return [f"{c.__module__.split('.', 1)[0]}.{c.__name__}" for c in type(error).__mro__]


def chain(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what explicitly caused it."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__


def _context(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what was being handled when it was raised, and so on: also what nobody named as the cause."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [link for link in (current.__cause__, current.__context__) if link is not None]


def _innermost(error: BaseException) -> BaseException:
    """ADK wraps what a plugin raises in a RuntimeError; groups hold what parallel agents raised."""
    for link in chain(error):
        if isinstance(link, AgentError):
            return link
    if isinstance(error, BaseExceptionGroup) and error.exceptions:
        return _innermost(error.exceptions[0])
    if type(error) is RuntimeError and error.__cause__ is not None and "plugin" in str(error).lower():
        return error.__cause__
    return error


def _quote(error: BaseException, rule: Rule) -> str:
    kind = type(error).__name__.lstrip("_")
    status = status_of(error)
    kind = f"{kind} {status}" if status is not None else kind
    if isinstance(error, json.JSONDecodeError) or not rule.quote or hasattr(error, "errors"):
        return kind  # its text holds the value that it complains about
    own = next(
        (said["message"] for said in accounts(error) if said.get("message")), getattr(error, "message", None)
    )
    text = _one_line(own if isinstance(own, str) and own else str(error))
    return f"{kind}: {text}" if text else kind


def _one_line(text: str | None) -> str:
    flat = " ".join((text or "").split())
    return flat if len(flat) <= QUOTE_CHARACTERS else flat[: QUOTE_CHARACTERS - 1] + "…"
