"""The spec of an attempt: all that an executor needs. Imports nothing of ADK: the supervisor makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from agentjobs.values.usage import Usage


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
    spent: Usage = field(default_factory=Usage)
    attempt_timeout_seconds: int = 1800
    traceparent: str = ""
    """W3C's; spans of the attempt become children of it. Empty: it is not traced."""
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What people answered, by the question's id: approved (bool), reason (text), payload (JSON)."""

    def as_json(self) -> dict[str, Any]:
        """The form of the messages between processes."""
        return {**asdict(self), "spent": self.spent.as_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AttemptSpec:
        return cls(**{**value, "spent": Usage.from_json(value.get("spent"))})
