"""Judgements: the executor judges the exception or error code that ended a run, by ``error_rules.py``."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum
from types import FrameType

from agentjobs.agents.verdict import error_rules
from agentjobs.agents.verdict.delays import accounts, delay_of
from agentjobs.agents.verdict.error_rules import Rule
from agentjobs.agents.verdict.errors import AgentError
from agentjobs.agents.verdict.outcome import Verdict
from agentjobs.agents.verdict.places import frames_of, place_of
from agentjobs.agents.verdict.redaction import bounded_error, without
from agentjobs.values.model_answer import ModelAnswer
from agentjobs.values.reasons import Reason

QUOTE_CHARACTERS = 1000
"""Longest quote of an error's own text."""


class Origin(StrEnum):
    """The place where an exception was raised first."""

    MODEL = "model"
    TOOL = "tool"
    AGENT = "agent"
    """Anywhere else in the run: callbacks, custom agents, ADK itself."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The meaning of an error for its job."""

    verdict: Verdict
    reason: Reason
    message: str
    """For people: bounded (H7), clean (H6), and without the texts of the conversation."""
    delay_seconds: float | None = None
    model_answer: ModelAnswer | None = None
    """What the error says about the model whose call raised it. None: nothing."""
    frames: tuple[str, ...] = ()
    """The lines of the agent's code that the error came through, as ``places.frames_of`` tells them."""
    row: str = ""
    """Name of the table's row that decided, such as ``status 429`` or ``class httpx.TimeoutException``."""


def judge_exception(
    error: BaseException,
    origin: Origin = Origin.AGENT,
    *,
    tool: str = "",
    said: Iterable[str] = (),
    now: datetime | None = None,
    module: str = "",
    written: Collection[str] = (),
) -> Judgement:
    """The judgement of the exception that ended a run.

    :param origin: where it was raised first.
    :param tool: name of the tool that raised it, for ``Origin.TOOL``.
    :param said: prompts, answers and keys that the message must not quote.
    :param now: the time that a Retry-After date is compared with. Default: the clock's.
    :param module: ``agent.module``: the message names the last line of its package's code.
    :param written: keys of the state that agents of the run write when they answer (``output_key``).
    """
    error = _innermost(error)
    if isinstance(error, AgentError):
        frames = frames_of(error.__cause__, module, own_only=True) if error.__cause__ is not None else ()
        message = bounded_error(without(str(error), said))
        return Judgement(error.verdict, error.reason, message, frames=frames, row="ours")
    delay = delay_of(error, now or datetime.now(UTC)) if origin is Origin.MODEL else None
    row, rule = _row(error, origin, delay, written)
    subject = f"Tool {tool!r}: " if tool and origin is Origin.TOOL else ""
    # of a model's call, the lines of its client say nothing about the agent
    place = place_of(error, module) if origin is not Origin.MODEL else ""
    told = without(f"{subject}{rule.told} ({quoted(error, rule)}", said)
    return Judgement(
        rule.verdict,
        rule.reason,
        bounded_error(f"{told} at {place})" if place else f"{told})"),
        delay if rule.verdict is Verdict.SNOOZE or rule.verdict is Verdict.RETRY else None,
        # only an error of a model's call says something about that model
        rule.model_answer if origin is Origin.MODEL else None,
        frames_of(error, module, own_only=origin is Origin.MODEL),
        row,
    )


def judge_code(code: object, message: str | None = None, *, said: Iterable[str] = ()) -> Judgement:
    """The judgement of an event's error code that no exception follows.

    :param code: empty for an event that has a message alone.
    """
    name = str(code.value if isinstance(code, Enum) else code)
    row, rule = _row_of_code(name) if name else ("no code", error_rules.AGENT_REPORTED)
    quote = ": ".join(filter(None, (name, _one_line(message) if rule.quote else "")))
    told = bounded_error(without(f"{rule.told} ({quote})", said))
    return Judgement(rule.verdict, rule.reason, told, model_answer=rule.model_answer, row=row)


def told_by(error: BaseException) -> BaseException:
    """The error of a model's call that tells most: ``error``, or the one beneath it where LiteLLM raised it.

    For example, LiteLLM raises an ``InternalServerError`` with status 500 for a lost connection, and an
    ``APIConnectionError`` for Anthropic's 403. The provider's or transport's own error is the context of that
    exception until ADK raises it again, so this is to be called where ``error`` is raised first.
    """
    names = names_of(error)
    if not names[0].startswith("litellm.") or any(name in error_rules.LITELLM_KNOWS_BETTER for name in names):
        return error
    for link in _context(error):
        names = names_of(link)
        if names[0].startswith("litellm."):
            continue
        if status_of(link) is not None or any(name in error_rules.BY_CALL_CLASS for name in names):
            return link
        if _row_of_text(link) is not None:  # OpenAI's client has no key: LiteLLM makes a status 500 of it
            return link
        # and of an answer that is not what it expects
        if names[0].startswith("builtins.") and _reads_answer(link):
            return link
    return error


def _row_of_code(name: str) -> tuple[str, Rule]:
    if (rule := error_rules.BY_EVENT_CODE.get(name.upper())) is not None:
        return f"code {name.upper()}", rule
    if name.isdigit() and (found := _row_of_status(int(name))) is not None:
        return found
    for key, known in (*error_rules.BY_CLASS.items(), *error_rules.BY_CALL_CLASS.items()):
        if key.split(".", 1)[1] == name:
            return f"class {key}", known
    return "code of no row", error_rules.MODEL_ERROR


def _row_of_text(error: BaseException) -> tuple[str, Rule] | None:
    """The table's row for an error that only its text tells apart. None: it is no such one."""
    for kind, pattern, rule in error_rules.BY_TEXT:
        if names_of(error)[0] == kind and re.search(pattern, str(error)):
            return f"text {pattern}", rule
    return None


def _row_of_status(status: int) -> tuple[str, Rule] | None:
    """The table's row for a provider's HTTP status. None: the status is not that of an error."""
    if status in error_rules.BY_STATUS:
        return f"status {status}", error_rules.BY_STATUS[status]
    if 400 <= status < 500:
        return "status 4xx", error_rules.REQUEST_INVALID
    return ("status 5xx", error_rules.SERVER_ERROR) if 500 <= status < 600 else None


def status_of(error: BaseException) -> int | None:
    """The HTTP status that a provider's error carries. None: it carries none, or is of another kind."""
    names = names_of(error)
    if not any(name in error_rules.API_ERRORS or name.startswith(("litellm.", "openai.")) for name in names):
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


def _row_of_state(error: BaseException, written: Collection[str]) -> tuple[str, Rule] | None:
    """The row for an instruction that names a key which the state does not have, also of an agent inside a tool."""
    missing = re.match(r"Context variable not found: `([^`]*)`", str(error.args[0])) if error.args else None
    if missing is None or not isinstance(error, KeyError):
        return None
    return ("state", error_rules.STATE_NOT_WRITTEN) if missing[1] in written else _row_of_text(error)


def _row(
    error: BaseException, origin: Origin, delay: float | None, written: Collection[str]
) -> tuple[str, Rule]:
    names = names_of(error)
    for name in names:
        if name in error_rules.WHEREVER_RAISED:
            return f"class {name}", error_rules.WHEREVER_RAISED[name]
    if (found := _row_of_state(error, written)) is not None:
        return found
    if origin is Origin.TOOL:  # a tool's 400, for example, says nothing about the prompt
        return (
            ("tool's result", error_rules.RESULT_INVALID)
            if is_of_result(error)
            else ("tool", error_rules.TOOL_FAILED)
        )
    if origin is Origin.MODEL and (found := _row_of_call(error, names, delay)) is not None:
        return found
    if (found := _row_of_text(error)) is not None:
        return found
    by_class = {
        Origin.MODEL: (*error_rules.BY_CLASS.items(), *error_rules.BY_CALL_CLASS.items()),
        Origin.AGENT: (
            *error_rules.BY_CLASS.items(),
            *(error_rules.BY_ANSWER_CLASS.items() if _raised_in(error, "google.adk") else ()),
        ),
    }[origin]
    known = dict(by_class)
    for name in names:
        if name in known:
            return f"class {name}", known[name]
    if origin is Origin.AGENT:
        return "agent", error_rules.AGENT_FAILED
    if _reads_answer(error):
        return "answer", error_rules.UNREADABLE
    if names[0] in _REFUSALS and any(_raised_in(error, client) for client in _BUILDERS):
        return "client", error_rules.REFUSED_BY_CLIENT
    return "unknown", error_rules.UNKNOWN


def _row_of_call(error: BaseException, names: list[str], delay: float | None) -> tuple[str, Rule] | None:
    """The row that counts for errors of a model's call alone, before all others. None: none does.

    A status, or a lost connection, of the agent's own calls says nothing about the model.
    """
    for name in names:
        if name in error_rules.LITELLM_KNOWS_BETTER:
            return f"class {name}", error_rules.LITELLM_KNOWS_BETTER[name]
    if (found := _row_of_text(error)) is not None:
        return found
    status = status_of(error)
    if status is not None and (found := _row_of_status(status)) is not None:
        if status in error_rules.SNOOZES_WHEN_IT_NAMES_A_DELAY and delay is not None:
            return f"status {status} with a delay", error_rules.OVERLOADED
        if status == 400 and any(text in str(error) for text in error_rules.API_KEY_TEXTS):
            return "status 400 about the key", error_rules.AUTH_FAILED
        return found
    if "google.GoogleAuthError" in names and getattr(error, "retryable", False) is True:
        return "token", error_rules.UNREACHABLE  # the server of tokens is away, and no key was refused
    for link in chain(error):  # OpenAI's client calls it a lost connection that an address has no host
        found_name = next((name for name in names_of(link) if name in error_rules.BY_CALL_CLASS), "")
        if error_rules.BY_CALL_CLASS.get(found_name) is error_rules.REFUSED_BY_CLIENT:
            return f"class {found_name}", error_rules.REFUSED_BY_CLIENT
    for name in names:
        if name in error_rules.BY_REQUEST_CLASS and not _reads_answer(error):
            return f"request's class {name}", error_rules.BY_REQUEST_CLASS[name]
    return None


_REFUSALS = ("builtins.ValueError", "builtins.NotImplementedError")
_BUILDERS = ("google.genai", "google.adk.models", "google.adk.integrations")
"""Packages that make a model's request, and refuse by these errors what no request can say."""
_READERS = ("pydantic", "pydantic_core", "json")
"""Packages that raise for the code that called them."""
_CLIENTS = (
    "google.genai.",
    "google.adk.models.",
    "google.adk.integrations.",
    "litellm.",
    "openai.",
    "anthropic.",
)


def _frames(error: BaseException) -> Iterator[FrameType]:
    """The frames from where ``error`` was caught to where it was raised."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _raised_in(error: BaseException, package: str) -> bool:
    """Whether code of ``package`` raised ``error``, itself or through a library that reads data."""
    modules = [str(frame.f_globals.get("__name__", "")) for frame in _frames(error)]
    own = [name for name in modules if name.split(".", 1)[0] not in _READERS]
    return bool(own) and (own[-1] == package or own[-1].startswith(f"{package}."))


def _reads_answer(error: BaseException) -> bool:
    """Whether ``error`` was raised while a model's answer was read: the clients' functions for it say so."""
    return any(
        "response" in frame.f_code.co_name.lower()
        for frame in _frames(error)
        if str(frame.f_globals.get("__name__", "")).startswith(_CLIENTS)
    )


def is_of_result(error: BaseException) -> bool:
    """Whether ADK raised ``error`` since a tool's result is no object with text as keys."""
    return getattr(error, "title", "") == "FunctionResponse" and _raised_in(error, "google")


def tool_of_result(error: BaseException) -> str:
    """Name of the tool whose result ADK was putting into an event. Empty: it was not doing that."""
    if is_of_result(error):
        for frame in _frames(error):
            name = getattr(frame.f_locals.get("tool"), "name", None)
            if isinstance(name, str):
                return name
    return ""


def names_of(error: BaseException) -> list[str]:
    """The names ``package.Class`` along the error's MRO, the most derived class first."""
    return [f"{c.__module__.split('.', 1)[0]}.{c.__name__}" for c in type(error).__mro__]


def chain(error: BaseException) -> Iterator[BaseException]:
    """``error`` and its explicit causes (``raise … from``)."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__


def _context(error: BaseException) -> Iterator[BaseException]:
    """``error``, its causes, and the exceptions that were being handled when each of them was raised."""
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
    """The exception to judge: ADK wraps a plugin's in a RuntimeError, parallel agents' come in a group."""
    for link in chain(error):
        if isinstance(link, AgentError):
            return link
    if isinstance(error, BaseExceptionGroup) and error.exceptions:
        return _innermost(error.exceptions[0])
    if type(error) is RuntimeError and error.__cause__ is not None and "plugin" in str(error).lower():
        return error.__cause__
    return error


def quoted(error: BaseException, rule: Rule) -> str:
    """The class of ``error`` with its status and, where ``rule`` allows, its own text in one line."""
    kind = type(error).__name__.lstrip("_")
    status = status_of(error)
    kind = f"{kind} {status}" if status is not None else kind
    if isinstance(error, json.JSONDecodeError) or not rule.quote or hasattr(error, "errors"):
        return kind  # the text of a validation error quotes the value
    own = next(
        (said["message"] for said in accounts(error) if said.get("message")), getattr(error, "message", None)
    )
    # Postgres' detail and context quote the values of the statement, such as a session's state
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    text = str(primary or (own if isinstance(own, str) and own else str(error)))
    # LiteLLM puts a traceback into its messages
    text = _one_line(text.partition("Traceback (most recent call last)")[0])
    return f"{kind}: {text}" if text else kind


def _one_line(text: str | None) -> str:
    flat = " ".join((text or "").split())
    return flat if len(flat) <= QUOTE_CHARACTERS else flat[: QUOTE_CHARACTERS - 1] + "…"
