"""Filters of AgentJobs: the same words in plugin, runs API and dashboard. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from agentjobs.cli.errors import BadInput
from agentjobs.values.durations import seconds_of

STATES = (
    "Scheduled", "Suspended", "Queued", "Running", "Retrying", "InputRequired", "Complete", "Failed", "Cancelled",
    "Rejected",
)  # fmt: skip
"""Those of ``queue.records.State``, which is slow to import."""
FINAL = frozenset({"Complete", "Failed", "Cancelled", "Rejected"})
BY_LAST_ATTEMPT = "Backoff"
"""The reason of a job whose last attempt has the cause."""

JsonObject = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which AgentJobs are meant. Empty fields: any."""

    states: frozenset[str] = frozenset()
    reason: str = ""
    queue: str = ""
    agent: str = ""
    model: str = ""
    user: str = ""
    session: str = ""
    since: datetime | None = None
    """Created or ended at or after this time."""
    selector: str = ""
    """A label selector, as kubectl's ``-l``."""

    @property
    def empty(self) -> bool:
        """Whether it leaves nothing out."""
        return all(not getattr(self, one.name) for one in fields(self))

    def query(self) -> dict[str, str]:
        """The part that the API server can select by, as parameters of a list."""
        selectors = [f"spec.queue={self.queue}"] if self.queue else []
        if len(self.states) == 1:
            selectors += [f"status.state={state}" for state in self.states]
        found = {"fieldSelector": ",".join(selectors)} if selectors else {}
        return {**found, **({"labelSelector": self.selector} if self.selector else {})}

    def matches(self, job: JsonObject) -> bool:
        """Whether an object is meant. Labels are left to the API server."""
        spec, status = job.get("spec") or {}, job.get("status") or {}
        if self.states and status.get("state") not in self.states:
            return False
        if self.reason and self.reason not in (status.get("reason"), cause_of(status)):
            return False
        if self.queue and spec.get("queue") != self.queue:
            return False
        if self.agent and not fnmatchcase(agent_of(spec), self.agent):
            return False
        if self.model and not fnmatchcase(model_of(spec), self.model):
            return False
        if self.user and spec.get("userID") != self.user:
            return False
        if self.session and self.session not in (spec.get("sessionID"), status.get("sessionID")):
            return False
        if self.since is None:
            return True
        times = (job["metadata"].get("creationTimestamp"), status.get("completionTime"))
        return any(moment >= self.since for moment in map(time_of, times) if moment is not None)

    def words(self) -> str:
        """The filter for a sentence, such as ``state Failed, reason ModelTimeout``. Empty: it leaves nothing out."""
        told = [f"state {' or '.join(sorted(self.states))}"] if self.states else []
        for name in ("reason", "queue", "agent", "model", "user", "session"):
            if value := getattr(self, name):
                told.append(f"{name} {value}")
        if self.since is not None:
            told.append(f"since {time_text(self.since)}")
        if self.selector:
            told.append(f"labels {self.selector}")
        return ", ".join(told)


def states_of(given: list[str] | None) -> frozenset[str]:
    """The states that a user named, in whatever case; commas part several.

    :raises BadInput: one is unknown.
    """
    folded = {state.lower(): state for state in STATES}
    named = [word.strip() for value in given or () for word in value.split(",") if word.strip()]
    for word in named:
        if word.lower() not in folded:
            raise BadInput(f"--state: {word[:40]!r} is unknown; there are {', '.join(STATES)}.")
    return frozenset(folded[word.lower()] for word in named)


def since_of(text: str | None, now: datetime, flag: str = "--since") -> datetime | None:
    """The time that a flag names: an RFC 3339 time, or a duration back from now.

    :raises BadInput: it is neither.
    """
    if not text:
        return None
    if (moment := time_of(text)) is not None:
        return moment
    try:
        return now - timedelta(seconds=seconds_of(text))
    except (ValueError, OverflowError):
        raise BadInput(
            f"{flag}: wants a duration such as 2h, or a time such as 2026-11-26T06:00:00Z, got {text[:40]!r}."
        ) from None


def time_of(text: object) -> datetime | None:
    """An RFC 3339 time with an offset. None: the text is none."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def time_text(moment: datetime) -> str:
    """A time as Kubernetes writes it."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def agent_of(spec: JsonObject) -> str:
    """The agent's module, or the name of the inline agent."""
    agent = spec.get("agent") or {}
    return str(agent.get("module") or (agent.get("inline") or {}).get("name") or "")


def model_of(spec: JsonObject) -> str:
    """The model of an inline agent. Empty: the module's code chooses."""
    return str(((spec.get("agent") or {}).get("inline") or {}).get("model") or "")


def cause_of(status: JsonObject) -> str:
    """The reason of the error behind the state: of a job that goes on later that of its last attempt."""
    reason = str(status.get("reason") or "")
    if reason != BY_LAST_ATTEMPT:
        return reason
    attempts = status.get("recentAttempts") or ()
    return str(attempts[-1].get("reason") or reason) if attempts else reason
