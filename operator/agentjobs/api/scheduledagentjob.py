"""The ScheduledAgentJob: the operator creates AgentJobs at the times of its cron schedule, or one at a given
time."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from agentjobs.api import schedule_check
from agentjobs.api.agentjob_status import (
    CONDITION_LIST,
    CONDITIONS_MAX_ITEMS,
    Count,
    SmallCount,
    revision_never_goes_back,
)
from agentjobs.api.job_spec import (
    ONE_MESSAGE,
    PRIORITY_DESCRIPTION,
    QUEUE_DESCRIPTION,
    YEAR_SECONDS,
    JobSpec,
    Priority,
    QueueName,
)
from agentjobs.api.labels import ANNOTATION_RULES, LABEL_RULES, Annotations, Labels
from agentjobs.api.meta import ApiModel, Condition, DueTime, ObjectMeta, Timestamp, refuse, rule, validations
from agentjobs.api.schedule_rules import schedule_rules, zone_rules

NAME_MAX_LENGTH = 52
"""Longest name, as CronJob's: a child is named ``<schedule>-<unix minute>``, which must fit into 63
characters."""
ACTIVE_MAX_ITEMS = 10

SCHEDULE_OR_TIME = "set exactly one of schedule and scheduledTime"


def _cron(schedule: str) -> str:
    if problem := schedule_check.problem_of(schedule):
        raise refuse(problem)
    return schedule


def _zone(name: str) -> str:
    if problem := schedule_check.zone_problem_of(name):
        raise refuse(problem)
    return name


Schedule = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_cron)]
TimeZoneName = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_zone)]


class TemplateMeta(ApiModel):
    """Labels and annotations that each AgentJob of this schedule gets."""

    labels: Labels | None = Field(
        default=None,
        description="labels of each AgentJob, at most 32. Absent means: none.",
        json_schema_extra=LABEL_RULES,
    )
    annotations: Annotations | None = Field(
        default=None,
        description="annotations of each AgentJob, at most 32 of at most 1024 characters. Absent means: none.",
        json_schema_extra=ANNOTATION_RULES,
    )


class TemplateSpec(JobSpec):
    """The spec of each AgentJob of this schedule: an AgentJob's without suspend, cancel, delaySeconds,
    scheduledTime."""

    model_config = ConfigDict(json_schema_extra=validations(ONE_MESSAGE))

    queue: QueueName = Field(default="scheduled", description=QUEUE_DESCRIPTION.format("scheduled"))
    priority: Priority = Field(default=0, description=PRIORITY_DESCRIPTION.format(0))


class JobTemplate(ApiModel):
    """The AgentJob that each tick creates."""

    metadata: TemplateMeta | None = Field(
        default=None,
        description="metadata that each AgentJob gets: labels and annotations. Absent means: none.",
    )
    spec: TemplateSpec = Field(
        description="spec of each AgentJob. In its message $(SCHEDULED_TIME), $(SCHEDULED_DATE) and "
        "$(LAST_SUCCESSFUL_TIME) are replaced, in timeZone; $$( stands for $(.",
    )


class ScheduledAgentJobSpec(ApiModel):
    """The times at which AgentJobs are created, and their template."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "has(self.schedule) != has(self.scheduledTime)",
                SCHEDULE_OR_TIME,
                field="schedule",
                got="(has(self.schedule) ? 'both' : 'neither')",
            ),
            rule(
                "has(self.schedule) == has(oldSelf.schedule)",
                "schedule cannot be exchanged for scheduledTime, nor the reverse: create a new ScheduledAgentJob",
                field="schedule",
                reason="FieldValueForbidden",
            ),
        )
    )

    schedule: Schedule | None = Field(
        default=None,
        description="schedule as five cron fields (minute, hour, day of month, month, day of week) or a macro such as "
        "@daily. Where day of month and day of week are both set, either suffices, as in a CronJob. timeZone is its time "
        "zone. Absent means: scheduledTime is set.",
        json_schema_extra=validations(*schedule_rules()),
    )
    scheduled_time: DueTime | None = Field(
        default=None,
        description="scheduledTime at which the one AgentJob of a one-shot schedule is created, RFC 3339. Absent means: "
        "schedule is set.",
    )
    time_zone: TimeZoneName = Field(
        default="UTC",
        description="timeZone of schedule and of the dates in the message, an IANA name such as Europe/Berlin. "
        "Default: UTC.",
        json_schema_extra=validations(*zone_rules()),
    )
    suspend: bool = Field(
        default=False,
        description="suspend stops further AgentJobs from being created while it is true; those that exist go on. "
        "Default: false.",
    )
    concurrency_policy: Literal["Allow", "Forbid", "Replace"] = Field(
        default="Allow",
        description="concurrencyPolicy says what happens to a tick while an AgentJob of this schedule is unfinished: "
        "Allow runs both, Forbid holds the tick back until that one ends or the next tick takes its place, Replace "
        "cancels the unfinished one. Default: Allow.",
    )
    starting_deadline_seconds: Annotated[int, Field(ge=1, le=YEAR_SECONDS)] | None = Field(
        default=None,
        description="startingDeadlineSeconds is how late a tick may still be created, in seconds; a later one is "
        "missed. Absent means: no deadline.",
    )
    missed_run_policy: Literal["Latest", "Skip"] = Field(
        default="Latest",
        description="missedRunPolicy says what happens to ticks that passed while nothing could create them: Latest "
        "creates the last of them, Skip none. Default: Latest.",
    )
    successful_jobs_history_limit: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=3,
        description="successfulJobsHistoryLimit is how many complete AgentJobs are kept. Default: 3.",
    )
    failed_jobs_history_limit: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=1,
        description="failedJobsHistoryLimit is how many failed or cancelled AgentJobs are kept. Default: 1.",
    )
    job_template: JobTemplate = Field(description="jobTemplate is the AgentJob that each tick creates.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.schedule is None) == (self.scheduled_time is None):
            raise refuse(
                f"{SCHEDULE_OR_TIME}: got {'neither' if self.schedule is None else 'both'}", "schedule"
            )
        return self


class ActiveJob(ApiModel):
    """An unfinished AgentJob of the schedule."""

    name: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        description="name of the AgentJob, in the schedule's namespace."
    )
    uid: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="uid of the AgentJob. Absent means: not known."
    )


class ScheduledAgentJobStatus(ApiModel):
    """The schedule's last and next ticks and its unfinished AgentJobs. Only the operator writes it."""

    model_config = ConfigDict(json_schema_extra=revision_never_goes_back)

    observed_generation: Count | None = Field(
        default=None,
        description="observedGeneration is the metadata.generation that this status reflects. Absent means: not seen "
        "yet.",
    )
    revision: Count | None = Field(
        default=None,
        description="revision of the schedule's record that this status shows; never goes back while there is a status. "
        "Absent means: not written yet.",
    )
    conditions: Annotated[list[Condition], Field(max_length=CONDITIONS_MAX_ITEMS)] | None = Field(
        default=None,
        description="conditions of the schedule: Accepted, Suspended and, of a one shot, Finished. Absent means: not "
        "seen yet.",
        json_schema_extra=CONDITION_LIST,
    )
    last_schedule_time: Timestamp | None = Field(
        default=None,
        description="lastScheduleTime is the last tick for which an AgentJob was created, or that was given up. Absent "
        "means: none was.",
    )
    last_successful_time: Timestamp | None = Field(
        default=None,
        description="lastSuccessfulTime at which an AgentJob of this schedule last completed. Absent means: none has.",
    )
    last_result: Annotated[str, Field(max_length=32)] | None = Field(
        default=None,
        description="lastResult is the state of the AgentJob of this schedule that ended last: Complete, Failed, "
        "Cancelled or Rejected; clients must tolerate unknown ones. Absent means: none has ended.",
    )
    next_schedule_time: Timestamp | None = Field(
        default=None,
        description="nextScheduleTime is the next tick. Absent means: suspended, finished, or not accepted.",
    )
    active_count: SmallCount | None = Field(
        default=None,
        description="activeCount is how many AgentJobs of this schedule are unfinished. Absent means: not seen yet.",
    )
    active: Annotated[list[ActiveJob], Field(max_length=ACTIVE_MAX_ITEMS)] | None = Field(
        default=None,
        description="active are the unfinished AgentJobs of this schedule, the oldest 10 of them. Absent means: none.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    missed_runs: Count | None = Field(
        default=None,
        description="missedRuns is how many ticks were missed since the schedule's creation. Absent means: 0.",
    )


class ScheduledAgentJob(ApiModel):
    """ScheduledAgentJob creates AgentJobs at the times of a cron schedule, or one at a given time."""

    KIND: ClassVar = "ScheduledAgentJob"
    PLURAL: ClassVar = "scheduledagentjobs"

    api_version: Literal["agentjobs.dev/v1alpha1"] = "agentjobs.dev/v1alpha1"
    kind: Literal["ScheduledAgentJob"] = "ScheduledAgentJob"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: ScheduledAgentJobSpec = Field(
        description="spec has the times at which AgentJobs are created, and their template."
    )
    status: ScheduledAgentJobStatus | None = Field(
        default=None,
        description="status shows the last and next ticks of the schedule. Absent means: not seen yet.",
    )
