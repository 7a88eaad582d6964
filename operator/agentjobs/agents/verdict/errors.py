"""Errors of our own, about the agent, the pool's lists and the session store: each with its verdict."""

from __future__ import annotations

from agentjobs.agents.verdict.outcome import Verdict
from agentjobs.values.reasons import Reason


class AgentError(Exception):
    """An error with its own verdict and reason. Its message is for people: the job's status shows it."""

    verdict: Verdict = Verdict.FAIL
    reason: Reason = Reason.AGENT_INVALID


class AgentNotFound(AgentError):
    reason = Reason.AGENT_NOT_FOUND


class AgentInvalid(AgentError):
    reason = Reason.AGENT_INVALID


class ModuleNotAllowed(AgentError):
    reason = Reason.MODULE_NOT_ALLOWED


class ModelNotAllowed(AgentError):
    reason = Reason.MODEL_NOT_ALLOWED


class ArtifactRefused(AgentError):
    """A file that an agent saves is over a limit of its pool. A tool may catch it, and go on without the file."""

    reason = Reason.ARTIFACT_REFUSED


class InputGone(AgentError):
    """A file of an earlier job that the job is to be given is no more there."""

    reason = Reason.INPUT_UNAVAILABLE


class SessionStoreUnavailable(AgentError):
    """The session store failed. The attempt is refunded, since the job is not at fault (H11)."""

    verdict = Verdict.SNOOZE
    reason = Reason.SESSION_STORE_UNAVAILABLE


class ArtifactServiceUnavailable(AgentError):
    """The pool's artifact service, set by URI, failed. The attempt is refunded, since the job is not at fault."""

    verdict = Verdict.SNOOZE
    reason = Reason.ARTIFACT_SERVICE_UNAVAILABLE


class MemoryServiceUnavailable(AgentError):
    """The pool's memory service, set by URI, failed. The attempt is refunded, since the job is not at fault."""

    verdict = Verdict.SNOOZE
    reason = Reason.MEMORY_SERVICE_UNAVAILABLE


class SessionFenced(AgentError):
    """A later run has taken the session, so this run's write was refused and the run is refunded (H13)."""

    verdict = Verdict.SNOOZE
    reason = Reason.SESSION_FENCED
