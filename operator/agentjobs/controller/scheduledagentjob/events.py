"""Kubernetes Events of a schedule: CronJob's own reasons. Names are fixed by tick, so a repeat is
AlreadyExists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from agentjobs.controller.apiserver.resources import SCHEDULED_AGENT_JOBS
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.kit.queue_access import concerns_priority
from agentjobs.controller.kit.status_text import time_text
from agentjobs.controller.scheduledagentjob.parsed_schedule import ParsedSchedule, Problem
from agentjobs.queue.schedules import EndedChild, Tick
from agentjobs.values.durations import duration_text
from agentjobs.values.reasons import Reason


class ScheduleEventReason(StrEnum):
    """Every reason of an Event on a ScheduledAgentJob; monitoring may match on them."""

    SUCCESSFUL_CREATE = "SuccessfulCreate"
    """Normal: an AgentJob was created."""
    SAW_COMPLETED_JOB = "SawCompletedJob"
    """Normal: an AgentJob has ended; with its state and duration."""
    JOB_ALREADY_ACTIVE = "JobAlreadyActive"
    """Normal: Forbid holds a tick back, because an AgentJob is unfinished."""
    MISS_SCHEDULE = "MissSchedule"
    """Warning: ticks passed without an AgentJob; how many."""
    FAILED_CREATE = "FailedCreate"
    """Warning: the API server refused the AgentJob; why, and whether it is tried again."""
    UNKNOWN_TIME_ZONE = "UnknownTimeZone"
    """Warning: spec.timeZone is no IANA zone that this operator knows."""
    UNPARSEABLE_SCHEDULE = "UnparseableSchedule"
    """Warning: spec.schedule cannot be read."""
    QUEUE_NOT_ALLOWED = "QueueNotAllowed"
    """Warning: the template's queue is not open to the namespace; nothing is created."""
    PRIORITY_NOT_ALLOWED = "PriorityNotAllowed"
    """Warning: the template's queue allows no such priority; nothing is created."""
    INVALID_SCHEDULE = "InvalidSchedule"
    """Warning: something else of the spec cannot be read."""

    @property
    def normal(self) -> bool:
        return self in (
            ScheduleEventReason.SUCCESSFUL_CREATE,
            ScheduleEventReason.SAW_COMPLETED_JOB,
            ScheduleEventReason.JOB_ALREADY_ACTIVE,
        )


def created(parsed: ParsedSchedule, tick: Tick, stopped: Sequence[str], now: datetime) -> ObjectEvent:
    """``stopped``: names of the AgentJobs that Replace asked to end."""
    what = "as asked for" if tick.manual else f"for {time_text(tick.tick)}"
    replaced = f"; it replaces {', '.join(stopped)}" if stopped else ""
    text = f"Created {tick.child} {what}{replaced}"
    return _event(parsed, _key(parsed, tick.child), ScheduleEventReason.SUCCESSFUL_CREATE, text, now)


def completed(parsed: ParsedSchedule, child: EndedChild) -> ObjectEvent:
    took = ""
    if child.started_at is not None:
        took = f" after {duration_text((child.finished_at - child.started_at).total_seconds())}"
    why = f" ({child.reason})" if child.reason not in ("", child.state.value, "Completed") else ""
    text = f"{child.child}: {child.state.value}{why}{took}"
    key = _key(parsed, child.child)
    return _event(parsed, key, ScheduleEventReason.SAW_COMPLETED_JOB, text, child.finished_at)


def held(parsed: ParsedSchedule, tick: datetime, active: Sequence[str], now: datetime) -> ObjectEvent:
    text = f"The tick of {time_text(tick)} waits: concurrencyPolicy is Forbid, and {', '.join(active)} is unfinished"
    return _event(parsed, _minute(tick), ScheduleEventReason.JOB_ALREADY_ACTIVE, text, now)


def missed(parsed: ParsedSchedule, count: int, latest: datetime, now: datetime) -> ObjectEvent:
    ticks = (
        f"The tick of {time_text(latest)} was"
        if count == 1
        else f"{count} ticks up to {time_text(latest)} were"
    )
    return _event(parsed, _minute(latest), ScheduleEventReason.MISS_SCHEDULE, f"{ticks} missed", now)


def refused(parsed: ParsedSchedule, tick: Tick, why: str, now: datetime, *, again: bool) -> ObjectEvent:
    then = "it is tried again until the next tick" if again else "the tick is given up"
    text = f"{tick.child} was not created: {why}; {then}"
    return _event(parsed, _key(parsed, tick.child), ScheduleEventReason.FAILED_CREATE, text, now)


def not_accepted(parsed: ParsedSchedule, problem: Problem, now: datetime) -> ObjectEvent:
    reason = next(
        (member for member in ScheduleEventReason if member.value == problem.reason.value),
        ScheduleEventReason.INVALID_SCHEDULE,
    )
    if problem.reason is Reason.QUEUE_NOT_ALLOWED and concerns_priority(problem.message):
        reason = ScheduleEventReason.PRIORITY_NOT_ALLOWED
    return _event(parsed, f"g{parsed.generation}", reason, problem.message, now)


def _event(
    parsed: ParsedSchedule, key: str, reason: ScheduleEventReason, message: str, at: datetime
) -> ObjectEvent:
    return ObjectEvent(parsed.uid, parsed.ref, key, reason, message, at, at, resource=SCHEDULED_AGENT_JOBS)


def _key(parsed: ParsedSchedule, child: str) -> str:
    """The child's name without the schedule's, where that was not shortened in it."""
    return child.removeprefix(f"{parsed.ref.name}-")


def _minute(tick: datetime) -> str:
    return str(int(tick.timestamp()) // 60)
