"""From an exception or an event's error code to what follows. The rules are data, in table.py."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum

from agentjobs.agents import table
from agentjobs.agents.delays import delay_of
from agentjobs.agents.errors import AgentError
from agentjobs.agents.outcome import Health, Verdict
from agentjobs.agents.table import Rule
from agentjobs.agents.text import bounded_error, without
from agentjobs.api.conditions import Reason

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
    health: Health | None = None
    """What it says about the model that was called."""


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
        return Judgement(error.verdict, error.reason, bounded_error(without(str(error), said)))
    delay = delay_of(error, now or datetime.now(UTC)) if origin is not Origin.TOOL else None
    rule = _rule(error, origin, delay)
    subject = f"Tool {tool!r}: " if tool and origin is Origin.TOOL else ""
    quoted = f" ({_quote(error, rule)})"
    return Judgement(
        rule.verdict,
        rule.reason,
        bounded_error(without(f"{subject}{rule.told}{quoted}", said)),
        delay if rule.verdict is Verdict.SNOOZE or rule.verdict is Verdict.RETRY else None,
        # an agent's own calls of anything else, and errors beside a model's call, say nothing about a model
        rule.health if origin is Origin.MODEL else None,
    )


def judge_code(code: object, message: str | None = None, *, said: Iterable[str] = ()) -> Judgement:
    """What an event means that carries ``error_code`` and that no exception follows."""
    name = str(code.value if isinstance(code, Enum) else code)
    rule = table.BY_EVENT_CODE.get(name.upper())
    if rule is None and name.isdigit():
        rule = rule_of_status(int(name))
    if rule is None:
        rule = next(
            (r for key, r in table.BY_CLASS.items() if key.split(".", 1)[1] == name), table.MODEL_ERROR
        )
    quote = f"{name}: {_one_line(message)}" if message and rule.quote else name
    message = bounded_error(without(f"{rule.told} ({quote})", said))
    return Judgement(rule.verdict, rule.reason, message, health=rule.health)


def rule_of_status(status: int) -> Rule | None:
    """The rule for an HTTP status of a provider; None: it is none of an error."""
    if status in table.BY_STATUS:
        return table.BY_STATUS[status]
    if 400 <= status < 500:
        return table.REQUEST_INVALID
    return table.SERVER_ERROR if 500 <= status < 600 else None


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


def _rule(error: BaseException, origin: Origin, delay: float | None) -> Rule:
    if origin is Origin.TOOL:  # whatever it is: a tool's 400 is not about our prompt
        return table.TOOL_FAILED
    names = _names(error)
    status = status_of(error)
    if status is not None and (rule := rule_of_status(status)) is not None:
        if status in table.SNOOZES_WHEN_IT_NAMES_A_DELAY and delay is not None:
            return table.OVERLOADED
        if status == 400 and any(text in str(error) for text in table.API_KEY_TEXTS):
            return table.AUTH_FAILED
        # a more telling class than its status, such as LiteLLM's content policy
        return next(
            (table.BY_CLASS[n] for n in names if n.startswith("litellm.") and n in table.BY_CLASS), rule
        )
    if origin is Origin.MODEL:
        for name in names:
            if name in table.BY_MODEL_CLASS:
                return table.BY_MODEL_CLASS[name]
    for kind, pattern, rule in table.BY_TEXT:
        if names[0] == kind and re.search(pattern, str(error)):
            return rule
    for name in names:
        if name in table.BY_CLASS:
            found = table.BY_CLASS[name]
            # time-outs and lost connections of the agent's own code say nothing about the model
            if (
                origin is not Origin.MODEL
                and found in (table.TIMED_OUT, table.UNREACHABLE)
                and _is_plain(name)
            ):
                return table.AGENT_FAILED
            return found
    return table.UNKNOWN if origin is Origin.MODEL else table.AGENT_FAILED


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
    own = getattr(error, "message", None)
    text = _one_line(own if isinstance(own, str) and own else str(error))
    return f"{kind}: {text}" if text else kind


def _one_line(text: str | None) -> str:
    flat = " ".join((text or "").split())
    return flat if len(flat) <= QUOTE_CHARACTERS else flat[: QUOTE_CHARACTERS - 1] + "…"
