"""Condition types, and every reason that a status, a condition or an attempt can carry.

Each is defined here once: code imports the constant, the reference is generated from the
descriptions. Reasons are open-ended for readers: a newer operator may write one that an older client
does not know, so clients must tolerate unknown values.
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties
"""

from __future__ import annotations

from enum import StrEnum


class ConditionType(StrEnum):
    """Types of ``status.conditions``. An absent condition means: not known yet."""

    doc: str
    """What it means, which way is good, who sets it, when it is absent."""

    def __new__(cls, value: str, doc: str) -> ConditionType:
        member = str.__new__(cls, value)
        member._value_ = value
        member.doc = doc
        return member

    ACCEPTED = (
        "Accepted",
        "True is good: the operator has read this generation and stored the job (or, of a schedule, understood "
        "it). False: it did not, and the reason says whether a change can cure that. Set by the operator; "
        "absent until it has seen the object.",
    )
    SUSPENDED = (
        "Suspended",
        "Neither way is bad. True: spec.suspend (or a restore) keeps it from running. False: it was suspended "
        "once and is not now. Set by the operator; absent while it was never suspended.",
    )
    RUNNING = (
        "Running",
        "True: a worker runs an attempt now. False: none does, and the reason says why (waiting or ended). Set "
        "by the operator; absent until the first attempt has started.",
    )
    INPUT_REQUIRED = (
        "InputRequired",
        "True: a tool asks a person whether it may be called, status.inputRequest, and nothing runs before the answer. "
        "False: it was answered, and the reason says how; or the job ended or was suspended before. Set by the "
        "operator; absent until a tool has asked.",
    )
    COMPLETE = (
        "Complete",
        "True is good and final: the agent gave its final answer. Never True together with Failed. Set by the "
        "operator at the end; absent before, False after a retry started a new round.",
    )
    FAILED = (
        "Failed",
        "True is bad and final: the job failed, was cancelled or was rejected, and the reason says which. Never "
        "True together with Complete. Set by the operator at the end; absent before, False after a retry "
        "started a new round.",
    )
    FINISHED = (
        "Finished",
        "True: nothing more happens by itself, whichever way it ended; the condition to wait for. Of a schedule: "
        "its one shot has fired and ended. Set by the operator at every end; absent before, False after a retry "
        "started a new round.",
    )
