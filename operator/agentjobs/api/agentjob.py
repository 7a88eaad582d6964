"""The AgentJob: one durable run of an agent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from agentjobs.api.agentjob_status import AgentJobStatus
from agentjobs.api.job_spec import ONE_MESSAGE, YEAR_SECONDS, JobSpec
from agentjobs.api.meta import ApiModel, DueTime, ObjectMeta, Schema, parse_time, refuse, rule, validations

MUTABLE_FIELDS = ("suspend", "cancel", "priority", "maxAttempts", "ttlSecondsAfterFinished")
NAME_MAX_LENGTH = 63
DELAY_OR_TIME = "set at most one of delaySeconds and scheduledTime"


def immutable(field: str) -> Schema:
    """The rule of a field that refuses another value of it. It stands at the field itself: a rule of the spec looks fields up
    by their names, for which the API server goes through the whole schema each time, at each write of a status, too."""
    return rule("self == oldSelf", _IMMUTABLE.format(field), reason="FieldValueForbidden")


def neither_added_nor_removed(fields: Sequence[str]) -> Schema:
    """The rule of the spec that refuses to add or to remove one of these fields, which no rule of the field itself sees."""
    same = " && ".join(f"has(self.{field}) == has(oldSelf.{field})" for field in fields)
    changed = ", ".join(f"has(self.{field}) == has(oldSelf.{field}) ? '' : '{field}'" for field in fields)
    before, between, after = (json.dumps(part) for part in _IMMUTABLE.split("{0}"))
    first = f"[{changed}].filter(name, name != '')[0]"
    return rule(
        same,
        "a field is immutable, also where it was absent: create a new AgentJob, and cancel or delete this one",
        reason="FieldValueForbidden",
    ) | {"messageExpression": f"{before} + {first} + {between} + {first} + {after}"}


_IMMUTABLE = (
    "{0} is immutable: create a new AgentJob with the {0} that you want, and cancel or delete this one"
)


def _spec_rules(schema: Schema) -> None:
    """Adds the rules over several fields, and the immutability of each field outside MUTABLE_FIELDS."""
    fields = {name: node for name, node in schema["properties"].items() if name not in MUTABLE_FIELDS}
    for field, node in fields.items():
        node.update(validations(*node.get("x-kubernetes-validations", ()), immutable(field)))
    always = {
        *schema["required"],
        *(name for name, node in fields.items() if node.get("default") is not None),
    }
    schema.update(
        validations(
            ONE_MESSAGE,
            rule(
                "!(has(self.delaySeconds) && has(self.scheduledTime))",
                DELAY_OR_TIME,
                field="scheduledTime",
            ),
            rule(
                "!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)",
                "cancel cannot be taken back: create a new AgentJob to run it again",
                field="cancel",
                reason="FieldValueForbidden",
            ),
            neither_added_nor_removed([field for field in fields if field not in always]),
        )
    )


class AgentJobSpec(JobSpec):
    """The spec of an AgentJob: its agent and message, when it is due, and how often it is tried.

    Immutable, except suspend, cancel, priority, maxAttempts and ttlSecondsAfterFinished.
    """

    model_config = ConfigDict(json_schema_extra=_spec_rules)

    delay_seconds: Annotated[int, Field(ge=0, le=YEAR_SECONDS)] | None = Field(
        default=None,
        description="delaySeconds after the object's creation the job becomes due, in seconds. Not together with "
        "scheduledTime. Absent means: due at once.",
    )
    scheduled_time: DueTime | None = Field(
        default=None,
        description="scheduledTime at which the job becomes due, RFC 3339; in the past means now. Not together with "
        "delaySeconds. Absent means: due at once.",
    )
    suspend: bool | None = Field(
        default=None,
        description="suspend keeps the job from starting while it is true; a running attempt is stopped and refunded. "
        "The due time stays. Absent means: false.",
    )
    cancel: bool | None = Field(
        default=None,
        description="cancel ends the job when it is set to true: a waiting job at once, a running one after a grace. "
        "It cannot be taken back. Absent means: false.",
    )

    @model_validator(mode="after")
    def _one_due_time(self) -> Self:
        if self.delay_seconds is not None and self.scheduled_time is not None:
            raise refuse(DELAY_OR_TIME, "scheduledTime")
        return self

    def due_at(self, created: datetime) -> datetime | None:
        """The time at which the job becomes due, for an object created at ``created``. None: at once."""
        if self.scheduled_time is not None:
            return parse_time(self.scheduled_time)
        return created + timedelta(seconds=self.delay_seconds) if self.delay_seconds else None


class AgentJob(ApiModel):
    """AgentJob is one durable run of an AI agent: it is queued, run by a worker, retried, and its status
    tells how it went."""

    KIND: ClassVar = "AgentJob"
    PLURAL: ClassVar = "agentjobs"

    api_version: Literal["agentjobs.dev/v1alpha1"] = "agentjobs.dev/v1alpha1"
    kind: Literal["AgentJob"] = "AgentJob"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: AgentJobSpec = Field(
        description="spec says what to run, when, and how often to try. Immutable, except suspend, cancel, priority, "
        "maxAttempts and ttlSecondsAfterFinished.",
    )
    status: AgentJobStatus | None = Field(
        default=None,
        description="status shows the job as the operator last saw it in the database. Absent means: not seen yet.",
    )
