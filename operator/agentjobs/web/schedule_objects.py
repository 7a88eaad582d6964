"""The database's schedules as the API's objects, with their next times. Pure."""

from __future__ import annotations

from datetime import datetime

from agentjobs.api.meta import format_time, parse_time
from agentjobs.queue.schedule_list import ListedSchedule
from agentjobs.queue.schedule_list import ScheduleRun as Run
from agentjobs.schedule.cron import UnknownTimeZone, UnparseableSchedule, parse
from agentjobs.schedule.times import next_times
from agentjobs.web.objects.meta import Metadata, time_text
from agentjobs.web.objects.schedules import (
    NEXT_TIMES,
    ScheduleRun,
    ScheduleStat,
    ScheduleStatSpec,
    ScheduleStatStatus,
)

ONCE = "at "
ZONE = " in "


def schedule_of(found: ListedSchedule, now: datetime) -> ScheduleStat:
    """One schedule, as it is due after ``now``."""
    times, problem = _next(found.times, now)
    if not found.accepted and problem is None:
        problem = "the operator has not accepted it: its condition Accepted says why"
    return ScheduleStat(
        metadata=Metadata(
            name=found.name,
            namespace=found.namespace,
            uid=str(found.uid),
            creation_timestamp=time_text(found.created_at),
        ),
        spec=_spec(found),
        status=ScheduleStatStatus(
            next_times=[format_time(moment) for moment in times] if found.accepted else [],
            last=[_run(run) for run in reversed(found.runs)],
            active=found.active,
            missed=found.missed,
            problem=problem,
        ),
    )


def _spec(found: ListedSchedule) -> ScheduleStatSpec:
    if found.times.startswith(ONCE):
        moment = found.times.removeprefix(ONCE)
        return ScheduleStatSpec(scheduled_time=moment, suspend=found.suspended)
    text, _, zone = found.times.rpartition(ZONE)
    return ScheduleStatSpec(schedule=text, time_zone=zone, suspend=found.suspended)


def _next(times: str, now: datetime) -> tuple[list[datetime], str | None]:
    """The next times, and what is wrong with the text."""
    try:
        if times.startswith(ONCE):
            moment = parse_time(times.removeprefix(ONCE))
            return ([moment] if moment > now else []), None
        text, _, zone = times.rpartition(ZONE)
        return next_times(parse(text, zone), now, NEXT_TIMES), None
    except (UnparseableSchedule, UnknownTimeZone, ValueError) as error:
        return [], str(error)[:500]


def _run(run: Run) -> ScheduleRun:
    return ScheduleRun(
        name=run.name,
        uid=str(run.uid),
        time=format_time(run.created_at),
        state=run.state,
        reason=run.reason or None,
        seconds=run.seconds,
    )
