"""The outcome of an attempt, and its events. Imports nothing of ADK: the worker's supervisor reads them too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from agentjobs.values.model_answer import ModelAnswer
from agentjobs.values.requests import InputRequest
from agentjobs.values.usage import Usage


class Verdict(StrEnum):
    """How an attempt ended, before the queue decides what follows."""

    COMPLETE = "complete"
    RETRY = "retry"
    """Transient: backoff, the attempt is charged."""
    SNOOZE = "snooze"
    """Not the job's fault (429, outage, our session store): waits, the attempt is refunded."""
    FAIL = "fail"
    """Permanent: no further attempt."""
    ASK = "ask"
    """A tool waits for a person's yes or no: the run is over, the invocation goes on when the answer is there."""
    CANCELLED = "cancelled"
    """Stopped because we asked."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one attempt. ``reason`` is a documented CamelCase constant of ``agentjobs.values.reasons``."""

    verdict: Verdict
    reason: str = ""
    message: str = ""
    """For people; says what happened and what to do. Never the text of a prompt or an answer."""
    delay_seconds: float | None = None
    """What the error itself asked for (Retry-After, RetryInfo); None: the policy decides."""
    result: str | None = None
    usage: Usage = field(default_factory=Usage)
    event_count: int = 0
    health: ModelAnswer | None = None
    """What the error that ended the run says about ``model``; None: nothing."""
    model: str = ""
    """The model whose call failed, as the agent names it; empty: not known."""
    answered: tuple[str, ...] = ()
    """Models that answered in this run, without the one that failed."""
    requests: tuple[InputRequest, ...] = ()
    """ASK: the questions of one model answer, in its order; at least one."""

    def as_json(self) -> dict[str, Any]:
        """The form of the messages between processes."""
        return {**asdict(self), "usage": self.usage.as_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Outcome:
        health = value.get("health")
        return cls(
            **{
                **value,
                "verdict": Verdict(value["verdict"]),
                "usage": Usage.from_json(value.get("usage")),
                "health": None if health is None else ModelAnswer(health),
                "answered": tuple(value.get("answered", ())),
                "requests": tuple(InputRequest(**request) for request in value.get("requests", ())),
            }
        )


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """One ADK event as the supervisor sees it: names and counts, never text (that is in the session store)."""

    author: str
    kind: str
    """text, tool_call, tool_result, error, other."""
    tool: str = ""
    prompt_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    error_code: str = ""
    final: bool = False
    model: str = ""
    """As the provider names its version; empty: it does not say."""
    timestamp: float = 0.0
    """Unix seconds."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AgentEvent:
        return cls(**value)
