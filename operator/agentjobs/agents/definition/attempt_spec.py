"""The spec of an attempt: the supervisor makes it from a claimed job and sends it to an executor.

The supervisor imports this module: so it imports nothing of ADK.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agentjobs.values.usage import Usage


@dataclass(frozen=True, slots=True)
class AttemptSpec:
    """Everything that an executor needs to run one attempt. It travels between the processes as JSON."""

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
    state: Mapping[str, Any] = field(default_factory=dict)
    """``spec.state``: what the session's state gets with the job's first message."""
    inputs: Sequence[Mapping[str, Any]] = ()
    """``spec.inputs``: the files that the agent is given with the job's first message, as ``InputFile`` writes them."""
    user_id: str = "system"
    app_name: str = "agentjobs"
    session_id: str | None = None
    """``spec.sessionID``. None: the job's own session, ``job-<uid>``."""
    max_tokens: int | None = None
    """``spec.budget.maxTokens`` of the round. None: no limit."""
    max_llm_calls: int | None = None
    """``spec.budget.maxLLMCalls`` of the round. None: no limit."""
    spent: Usage = field(default_factory=Usage)
    """Usage of the round's earlier runs. It counts against both limits."""
    attempt_timeout_seconds: int = 1800
    traceparent: str = ""
    """W3C trace context of which the attempt's spans become children. Empty: the attempt is not traced."""
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """People's answers by the question's id: ``approved`` (bool), ``reason`` (text), ``payload`` (JSON)."""
    claim: int = 0
    """The number of the queue's claim, by which the session fence orders runs (H13). 0: not known."""

    def as_json(self) -> dict[str, Any]:
        """The spec as a message between processes carries it."""
        return {**asdict(self), "spent": self.spent.as_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AttemptSpec:
        return cls(**{**value, "spent": Usage.from_json(value.get("spent"))})
