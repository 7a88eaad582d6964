"""Checks of ``spec.schedule`` and ``spec.timeZone``, by the same parser that the operator reads it with
(``agentjobs.schedule.cron``)."""

from __future__ import annotations

from agentjobs.schedule.cron import MACROS, UnknownTimeZone, UnparseableSchedule, parse, zone_of
from agentjobs.schedule.zones import WANTED, way_out

__all__ = ["MACROS", "expand_macro", "problem_of", "zone_problem_of"]

_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def expand_macro(schedule: str) -> str:
    """The five fields of a schedule: those for which a macro stands, or the schedule itself."""
    return MACROS.get(schedule, schedule)


def problem_of(schedule: str) -> str | None:
    """The error in a schedule, with what is wanted instead. None: it has none.

    A schedule that is never due, such as 31 February, is an error, too.
    """
    try:
        chosen = parse(schedule)
    except UnparseableSchedule as error:
        return str(error).removeprefix(f"schedule {schedule!r}: ")
    if (
        not chosen.either_day
        and len(chosen.weekdays) == 7
        and not any(min(chosen.days) <= _LONGEST[month - 1] for month in chosen.months)
    ):
        return f"is never due: no chosen month has a day {min(chosen.days)}"
    return None


def zone_problem_of(name: str) -> str | None:
    """The error in the name of a time zone, with what is wanted instead. None: this system's data has the
    zone."""
    try:
        zone_of(name)
    except UnknownTimeZone:
        return f"{WANTED}{way_out(name)}"
    return None
