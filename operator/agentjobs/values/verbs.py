"""What a person may do to a job, a queue, a model or a schedule, and what is kept of it: the words of the audit."""

from __future__ import annotations

from enum import StrEnum

ACTOR_CHARACTERS = 256
"""The longest name of an actor that is kept: Kubernetes knows of no limit of its own for a user's name."""
REASON_CHARACTERS = 1024
SOURCE_CHARACTERS = 32


class Verb(StrEnum):
    """What was done, as column ``verb`` of table ``audit`` has it."""

    CANCEL = "cancel"
    SUSPEND = "suspend"
    RESUME = "resume"
    RETRY = "retry"
    """A new round of a Failed or Cancelled job."""
    REPRIORITISE = "reprioritise"
    SET_MAX_ATTEMPTS = "set-max-attempts"
    APPROVE = "approve"
    REJECT = "reject"
    """A tool's question was answered with no."""
    ANSWER = "answer"
    """The result of a long-running tool was given, or an input that a node or a model asked for."""
    CREATE = "create"
    """A new object that names its author in the annotation."""
    RUN_AGAIN = "run-again"
    """A new object, made from an earlier one."""
    DELETE = "delete"
    """An object was deleted while its job had not finished."""
    RUN_NOW = "run-now"
    """A schedule's child, out of turn."""
    PAUSE = "pause"
    UNPAUSE = "unpause"
    LIMIT = "limit"
    """The limit of a queue's running jobs was set, changed or lifted."""
    RESET_MODEL = "reset-model"
    ERASE = "erase"
    """What was said by, to and for one person was erased."""
