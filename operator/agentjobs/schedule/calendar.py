"""The calendar of a schedule's five fields, on a wall clock without a zone: croniter steps through it.

croniter never sees the text that a person wrote, since it reads some texts otherwise than CronJob does
(docs/dependencies.md has the table). It gets what ``agentjobs.schedule.cron`` has read, written anew: for
``9-9 */1 * jan-mar fri`` that is ``9 * * 1,2,3 5``. It never sees a time zone either: where a zone's clock is set
forward, croniter makes up a time at the end of the gap. Gaps and overlaps are ``agentjobs.schedule.times``' matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from croniter import CroniterBadDateError, croniter

GAP_YEARS = 8
"""The longest that fields can choose no day, from 29 February 2096 to that of 2104. Fields that choose none in nine
calendar years in a row, such as 31 February, never choose any."""
REMEMBERED = 16_384
"""Calendars whose last answer is kept, some 400 bytes each. A schedule is looked at whenever its object or one of
its children changes, and its next time is the same until that time has come."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall clock without a zone
_MINUTE = timedelta(minutes=1)
_CYCLE = 146_097 * 24 * 60
"""After 400 years the days of months and weeks repeat, so croniter is asked about 1970 to 2370 alone: it could not
look past the year 9999."""


class _Answer(NamedTuple):
    """From the minute ``start`` on, ``first`` is the first chosen one. None: there is none, ever."""

    start: int
    first: int | None


@dataclass(slots=True)
class Calendar:
    """The chosen minutes, counted from 1970-01-01T00:00 on the wall clock. Made by ``calendar_of``."""

    fields: str
    _last: _Answer | None = None

    def first_from(self, minute: int) -> int | None:
        """The first chosen minute that is not before ``minute``. None: the fields choose none, ever."""
        last = self._last
        if last is None or minute < last.start or (last.first is not None and last.first < minute):
            last = self._last = _Answer(minute, _step(self.fields, minute))
        return last.first


@lru_cache(maxsize=REMEMBERED)
def calendar_of(fields: str, zone: str) -> Calendar:
    """The calendar of such fields. One for each zone: while Tokyo asks about Friday, New York asks about Thursday."""
    return Calendar(fields)


def _step(fields: str, minute: int) -> int | None:
    cycles, minute = divmod(minute, _CYCLE)
    before = _EPOCH + (minute - 1) * _MINUTE
    try:
        found: datetime = croniter(fields, before, max_years_between_matches=GAP_YEARS).get_next(datetime)
    except CroniterBadDateError:
        return None
    return cycles * _CYCLE + (found - _EPOCH) // _MINUTE
