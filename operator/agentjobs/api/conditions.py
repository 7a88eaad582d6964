"""Condition types of both kinds, each with its meaning. ``values/reasons.py`` has the reasons of conditions.

docs/reference.md is generated from the descriptions.
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties
"""

from __future__ import annotations

from enum import StrEnum


class ConditionType(StrEnum):
    """Types of ``status.conditions``. An absent condition means: not known yet."""

    doc: str
    """The condition's meaning, which status is good, who sets it, and when it is absent."""

    def __new__(cls, value: str, doc: str) -> ConditionType:
        member = str.__new__(cls, value)
        member._value_ = value
        member.doc = doc
        return member

    ACCEPTED = (
        "Accepted",
        "True is good: the operator has read this generation, and stored the job or could read the schedule. False: it "
        "did not, and the reason says whether a change can cure that. Set by the operator; absent until the operator "
        "has seen the object.",
    )
    SUSPENDED = (
        "Suspended",
        "Neither status is bad. True: spec.suspend, or a restore from a backup, keeps the job from running. False: it was "
        "suspended before and is not now. Set by the operator; absent while it was never suspended.",
    )
    RUNNING = (
        "Running",
        "True: a worker runs an attempt now. False: none does, and the reason says why the job waits or ended. Set by the "
        "operator; absent until the first attempt has started.",
    )
    INPUT_REQUIRED = (
        "InputRequired",
        "True: a tool asks a person whether it may be called (status.inputRequest), and nothing runs before the answer. "
        "False: a person answered, and the reason says how; or the job ended or was suspended before. Set by the "
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
        "True: the job has ended, in whatever way, and nothing more happens by itself: the condition to wait for. Of a "
        "schedule: it is a one shot, and over. Set by the operator at each end; absent before, False after a retry "
        "started a new round.",
    )
