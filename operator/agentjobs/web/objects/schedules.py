"""ScheduleStat: when a schedule is due next, and how its last jobs ended."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from agentjobs.api.meta import ApiModel
from agentjobs.web.objects.meta import Count, KubeObject, ListMetadata, Metadata, Time

NEXT_TIMES = 5
LAST_RUNS = 20


class ScheduleStatSpec(ApiModel):
    """The times, as the ScheduledAgentJob has them."""

    schedule: str | None = Field(
        default=None,
        description="schedule as five cron fields or a macro. Absent means: scheduledTime is set.",
    )
    scheduled_time: Time | None = Field(
        default=None, description="scheduledTime of a one-shot schedule. Absent means: schedule is set."
    )
    time_zone: str = Field(default="UTC", description="timeZone of the schedule, an IANA name.")
    suspend: bool = Field(default=False, description="suspend: no job is created while it is true.")


class ScheduleRun(ApiModel):
    """One job of the schedule."""

    name: str = Field(description="name of the job.")
    uid: str | None = Field(default=None, description="uid of the job. Absent means: not known.")
    time: Time = Field(description="time at which it was asked for.")
    state: str = Field(description="state of the job.")
    reason: str | None = Field(default=None, description="reason of its state.")
    seconds: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="seconds from its start to its end. Absent means: it has not run, or runs still.",
    )


class ScheduleStatStatus(ApiModel):
    """What the schedule did, and will do."""

    next_times: Annotated[list[Time], Field(max_length=NEXT_TIMES)] = Field(
        default_factory=list,
        description="nextTimes: the next five times at which a job is due; while it is suspended, those that are left out.",
    )
    last: Annotated[list[ScheduleRun], Field(max_length=LAST_RUNS)] = Field(
        default_factory=list,
        description="last: the latest twenty jobs that the database still has, the oldest first.",
    )
    active: Count = Field(default=0, description="active: jobs of the schedule that have not finished.")
    missed: Count = Field(default=0, description="missed times since the schedule was created.")
    problem: str | None = Field(
        default=None, description="problem: why the schedule is not accepted. Absent means: it is."
    )


class ScheduleStat(KubeObject):
    """ScheduleStat is one ScheduledAgentJob with its next times and its last jobs."""

    kind: Literal["ScheduleStat"] = Field(default="ScheduleStat", description="kind: ScheduleStat.")
    metadata: Metadata = Field(description="metadata: name, namespace and uid are the ScheduledAgentJob's.")
    spec: ScheduleStatSpec = Field(description="spec: the times.")
    status: ScheduleStatStatus = Field(description="status: next and last.")


class ScheduleStatList(KubeObject):
    """The schedules."""

    kind: Literal["ScheduleStatList"] = Field(
        default="ScheduleStatList", description="kind: ScheduleStatList."
    )
    metadata: ListMetadata = Field(default_factory=ListMetadata, description="metadata of the list.")
    items: list[ScheduleStat] = Field(description="items: the schedules by namespace and name.")
