"""What an attempt reports. Imported by the worker's supervisor too, so nothing of ADK is touched here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


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


class Health(StrEnum):
    """What a failed call says about its model, whatever the prompt was."""

    UNAVAILABLE = "unavailable"
    """Transport, 5xx or time-out."""
    KEY_REFUSED = "key_refused"
    """401, 403, or there is no key."""
    RATE_LIMITED = "rate_limited"
    """429, or a spent quota."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """What one attempt spent."""

    prompt_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    llm_calls: int = 0
    tool_calls: int = 0

    def plus(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(
            self.prompt_tokens + other.prompt_tokens,
            self.output_tokens + other.output_tokens,
            self.total_tokens + other.total_tokens,
            self.llm_calls + other.llm_calls,
            self.tool_calls + other.tool_calls,
        )


@dataclass(frozen=True, slots=True)
class InputRequest:
    """A tool's question to a person: may this call be made?"""

    id: str
    """ADK's id of the question, the same in every run that comes upon it. An answer names it."""
    tool: str
    arguments: str = ""
    """Of the call, as JSON, cut at 1 KiB."""
    hint: str = ""
    """What the tool says to the person; empty where it says nothing of its own. Cut at 1 KiB."""
    payload: str = ""
    """What the tool wants to have filled in, as JSON, cut at 1 KiB; empty: nothing."""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one attempt. ``reason`` is a documented CamelCase constant of ``agentjobs.api.conditions``."""

    verdict: Verdict
    reason: str = ""
    message: str = ""
    """For people; says what happened and what to do. Never the text of a prompt or an answer."""
    delay_seconds: float | None = None
    """What the error itself asked for (Retry-After, RetryInfo); None: the policy decides."""
    result: str | None = None
    usage: TokenUsage = field(default_factory=TokenUsage)
    event_count: int = 0
    health: Health | None = None
    """What the error that ended the run says about ``model``; None: nothing."""
    model: str = ""
    """The model whose call failed, as the agent names it; empty: not known."""
    answered: tuple[str, ...] = ()
    """Models that answered in this run, without the one that failed."""
    requests: tuple[InputRequest, ...] = ()
    """ASK: the questions of one model answer, in its order; at least one."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Outcome:
        health = value.get("health")
        return cls(
            **{
                **value,
                "verdict": Verdict(value["verdict"]),
                "usage": TokenUsage(**value.get("usage", {})),
                "health": None if health is None else Health(health),
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


@dataclass(frozen=True, slots=True)
class AttemptSpec:
    """All that an executor needs to run one attempt; crosses the process border as JSON."""

    uid: str
    namespace: str
    name: str
    queue: str
    run: int
    attempt: int
    max_attempts: int
    round: int
    agent: Mapping[str, Any]
    """``spec.agent`` as written: {"module": …} or {"inline": {…}}."""
    message: str
    user_id: str = "system"
    app_name: str = "agentjobs"
    session_id: str | None = None
    """None: the job's own, ``job-<uid>``."""
    max_tokens: int | None = None
    max_llm_calls: int | None = None
    """Budgets of the round; ``spent`` counts against them."""
    spent: TokenUsage = field(default_factory=TokenUsage)
    attempt_timeout_seconds: int = 1800
    traceparent: str = ""
    """W3C's; spans of the attempt become children of it. Empty: it is not traced."""
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What people answered, by the question's id: approved (bool), reason (text), payload (JSON)."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AttemptSpec:
        return cls(**{**value, "spent": TokenUsage(**value.get("spent", {}))})


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What a worker pool allows and grants. The same for all its jobs."""

    modules: tuple[str, ...] = ()
    """Allowed module prefixes (``my_agents`` allows ``my_agents`` and ``my_agents.x``). Empty allows none."""
    models: tuple[str, ...] = ("echo",)
    """Allowed models of inline agents, as shell-style patterns (``gemini-*``, ``openai/*``)."""
    preload: tuple[str, ...] = ()
    """Modules imported once in the template."""
    session_dsn: str | None = None
    """Where ADK keeps sessions (schema ``adk``), as a libpq URL; None: in memory, for tests and benches."""
    session_dsn_file: str | None = None
    """A file that holds it, read at each connect: a rotated password is taken up by runs that have begun."""
    model_timeout_seconds: int = 300
    """Per model call."""
    pool: str = "default"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AgentSettings:
        return cls(**{**value, **{k: tuple(value.get(k, ())) for k in ("modules", "models", "preload")}})
