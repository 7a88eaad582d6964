"""What can be wrong with a job before or beside its run. Each knows its verdict and its reason."""

from __future__ import annotations

from agentjobs.agents.verdict.outcome import Verdict
from agentjobs.values.reasons import Reason


class AgentError(Exception):
    """An error of ours, classified where it is raised. The message is for people and is shown in the status."""

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


class SessionStoreUnavailable(AgentError):
    """Our own store failed, not the job: refunded (H11)."""

    verdict = Verdict.SNOOZE
    reason = Reason.SESSION_STORE_UNAVAILABLE


class SessionFenced(AgentError):
    """A later run has taken the session (H13): nothing of this one was written, and nothing is charged."""

    verdict = Verdict.SNOOZE
    reason = Reason.SESSION_FENCED
