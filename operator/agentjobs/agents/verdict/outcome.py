"""The outcome of an attempt and its events: the executor sends both to the supervisor.

The supervisor imports this module: so it imports nothing of ADK. What ``from_json`` makes is bounded, whatever the
run has sent: numbers by ``agentjobs.values.bounds``, texts without what Postgres refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from agentjobs.values.bounds import ERROR_BYTES, MOST, MOST_EVENTS, MOST_FRAMES, count, name, seconds
from agentjobs.values.model_answer import ModelAnswer
from agentjobs.values.reasons import Reason
from agentjobs.values.requests import InputRequest
from agentjobs.values.text import clean, cut
from agentjobs.values.usage import Usage

_REASONS = frozenset(Reason)
MODELS_REPORTED = 100
"""The most models of which one run reports that they answered."""


class Verdict(StrEnum):
    """The end of an attempt in the executor's view. The queue decides what follows."""

    COMPLETE = "complete"
    RETRY = "retry"
    """A transient error: the attempt is charged, and the next one follows after the backoff."""
    SNOOZE = "snooze"
    """An error that is not the job's fault (429, outage, our session store): refunded, and the job waits."""
    FAIL = "fail"
    """A permanent error: no further attempt."""
    ASK = "ask"
    """A tool asks a person. The run is over; a later one continues its invocation after the answer."""
    CANCELLED = "cancelled"
    """The run was aborted, because ``spec.cancel`` or a control call asked for it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one attempt, as the executor tells it to the supervisor."""

    verdict: Verdict
    reason: str = ""
    """A constant of ``agentjobs.values.reasons``."""
    message: str = ""
    """Message for people: what happened, and what to do. It never quotes a prompt or an answer."""
    delay_seconds: float | None = None
    """The wait for which the error asks (Retry-After, RetryInfo). None: the retry policy decides."""
    result: str | None = None
    usage: Usage = field(default_factory=Usage)
    event_count: int = 0
    model_answer: ModelAnswer | None = None
    """What the error that ended the run says about ``model``. None: nothing."""
    model: str = ""
    """The model whose call failed, as the agent names it. Empty: not known."""
    answered: tuple[str, ...] = ()
    """Models that answered in this run, except the one whose last call failed."""
    requests: tuple[InputRequest, ...] = ()
    """The questions of an ASK, in the order of the model's answer; at least one."""
    frames: tuple[str, ...] = ()
    """The lines of the agent's own code that the error came through, such as ``shop/tools.py:24 in refund``, the innermost
    last."""
    warnings: tuple[str, ...] = ()
    """What ADK logged beside the run at WARNING and above, each once and without texts of the conversation."""

    def as_json(self) -> dict[str, Any]:
        """The outcome as a message between processes carries it."""
        return {**asdict(self), "usage": self.usage.as_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Outcome:
        """An outcome from ``as_json``, in bounds. Raises KeyError, TypeError or ValueError."""
        verdict, result = Verdict(value["verdict"]), value.get("result")
        delay, model_answer = value.get("delay_seconds"), value.get("model_answer")
        requests = tuple(InputRequest(**request) for request in value.get("requests", ()))
        if verdict is Verdict.ASK and not requests:
            raise ValueError("an outcome that asks has no question")
        return cls(
            verdict=verdict,
            reason=_reason(value.get("reason", ""), verdict),
            message=cut(clean(_text(value.get("message", ""))), ERROR_BYTES)[0],
            delay_seconds=None if delay is None else seconds(delay),
            result=None if result is None else clean(_text(result)),
            usage=Usage.from_json(value.get("usage")),
            event_count=count(value.get("event_count", 0), MOST_EVENTS),
            model_answer=None if model_answer is None else ModelAnswer(model_answer),
            model=name(value.get("model", "")),
            answered=tuple(name(model) for model in value.get("answered", ())[:MODELS_REPORTED]),
            requests=requests,
            frames=tuple(name(frame) for frame in value.get("frames", ())[:MOST_FRAMES]),
            warnings=tuple(name(warning, 1000) for warning in value.get("warnings", ())[:MODELS_REPORTED]),
        )


def _reason(value: object, verdict: Verdict) -> str:
    """A reason that people can look up; one that an outcome without an answer lacks is UnknownError."""
    if not value and verdict in (Verdict.FAIL, Verdict.RETRY, Verdict.SNOOZE):
        return Reason.UNKNOWN_ERROR.value
    if value and value not in _REASONS:
        raise ValueError("a reason that nobody knows")
    return str(value or "")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is wanted, not {type(value).__name__}")
    return value


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """One ADK event for the supervisor: names and counts. Its texts are in the session store alone."""

    author: str
    kind: str
    """One of text, tool_call, tool_result, error and other."""
    tool: str = ""
    prompt_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    error_code: str = ""
    final: bool = False
    model: str = ""
    """The model's version, as the provider names it. Empty: it does not."""
    timestamp: float = 0.0
    """Unix seconds."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AgentEvent:
        """An event from ``as_json``, in bounds. Raises KeyError or TypeError."""
        return cls(
            author=name(value["author"]),
            kind=name(value["kind"]),
            tool=name(value.get("tool", "")),
            prompt_tokens=count(value.get("prompt_tokens", 0)),
            output_tokens=count(value.get("output_tokens", 0)),
            total_tokens=count(value.get("total_tokens", 0)),
            error_code=name(value.get("error_code", "")),
            final=value.get("final") is True,
            model=name(value.get("model", "")),
            timestamp=seconds(value.get("timestamp", 0.0), MOST),
        )
