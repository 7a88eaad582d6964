"""The status of a ScheduledAgentJob as a function of its row, its object and its children (invariant 11).

Every time in it comes from the row, so a status that was wiped is rebuilt as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agentjobs.api.conditions import ConditionType
from agentjobs.api.scheduledagentjob import ACTIVE_MAX_ITEMS
from agentjobs.controller.kit.status_text import MESSAGE_CHARACTERS, cut_text, time_text
from agentjobs.controller.scheduledagentjob.parsed_schedule import ParsedSchedule
from agentjobs.queue.schedules import ScheduleRow
from agentjobs.schedule.history import Child
from agentjobs.values.json import JsonObject
from agentjobs.values.reasons import Reason


def schedule_status(
    parsed: ParsedSchedule,
    row: ScheduleRow,
    active: Sequence[Child],
    next_tick: datetime | None,
    *,
    finished: bool,
) -> JsonObject:
    """The whole ``status``; keys without a value are left out. ``finished``: a one shot has come to its
    end."""
    status: JsonObject = {
        "observedGeneration": parsed.generation,
        "revision": row.version,
        "conditions": _conditions(parsed, row, finished=finished),
        "lastScheduleTime": time_text(row.last_tick),
        "lastSuccessfulTime": time_text(row.last_successful),
        "lastResult": row.last_result.value if row.last_result else None,
        "nextScheduleTime": time_text(next_tick) if parsed.spec else None,
        "activeCount": len(active),
        "active": [{"name": child.name, "uid": child.uid} for child in active[:ACTIVE_MAX_ITEMS]] or None,
        "missedRuns": row.missed or None,
    }
    return {key: value for key, value in status.items() if value is not None}


def minimal_schedule_status(status: JsonObject) -> JsonObject:
    """The part of a status that every CRD of this resource accepts, and that has a small bound."""
    keys = ("observedGeneration", "revision", "conditions", "lastScheduleTime", "nextScheduleTime")
    return {key: status[key] for key in keys if key in status}


def _conditions(parsed: ParsedSchedule, row: ScheduleRow, *, finished: bool) -> list[JsonObject]:
    problem = parsed.problem
    found = [
        _condition(
            parsed,
            ConditionType.ACCEPTED,
            problem is None,
            problem.reason if problem else Reason.ACCEPTED,
            problem.message if problem else "",
            row.accepted_at,
        )
    ]
    if row.suspended:
        since = row.suspended_at or row.created_at
        found.append(_condition(parsed, ConditionType.SUSPENDED, True, Reason.SUSPENDED, "", since))
    elif row.unsuspended_at is not None:
        found.append(
            _condition(parsed, ConditionType.SUSPENDED, False, Reason.RESUMED, "", row.unsuspended_at)
        )
    if finished:
        fired = row.last_finished is not None
        reason = Reason.ONE_SHOT_FIRED if fired else Reason.ONE_SHOT_MISSED
        since = row.last_finished or row.last_tick or row.created_at
        found.append(_condition(parsed, ConditionType.FINISHED, True, reason, "", since))
    return found


def _condition(
    parsed: ParsedSchedule, kind: ConditionType, true: bool, reason: Reason, message: str, since: datetime
) -> JsonObject:
    return {
        "type": kind.value,
        "status": "True" if true else "False",
        "observedGeneration": parsed.generation,
        "lastTransitionTime": time_text(since),
        "reason": reason.value,
        "message": cut_text(message, MESSAGE_CHARACTERS),
    }
