"""The calendar of a schedule's five fields, on a wall clock without a zone: croniter steps through it.

For example, a person writes ``9-9 */1 * jan-mar fri``. ``schedule/cron.py`` reads this text, and writes it
anew for croniter as ``9 * * 1,2,3 5``: croniter reads some texts otherwise than CronJob does
(docs/dependencies.md has the table). croniter gets no time zone either, since it makes up a time where a
zone's clock is set forward. ``schedule/times.py`` handles such gaps and overlaps.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from croniter import CroniterBadDateError, croniter

GAP_YEARS = 8
"""Longest time between two chosen days: from 29 February 2096 to that of 2104. Fields that choose no day in
nine calendar years in a row, such as 31 February, never choose one."""
REMEMBERED = 16_384
"""Number of calendars whose last answer is kept, some 400 bytes each. The operator looks at a schedule
whenever its object or one of its children changes, and the next time stays the same until it has come."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall clock without a zone
_MINUTE = timedelta(minutes=1)
_CYCLE = 146_097 * 24 * 60
"""Minutes of 400 years, after which the days of months and weeks repeat. croniter, which cannot look past the
year 9999, is asked about the years 1970 to 2370 alone."""


class _Answer(NamedTuple):
    """An answer of croniter's: ``first`` is the first chosen minute from ``start`` on.

    None: there is none, ever.
    """

    start: int
    first: int | None


@dataclass(slots=True)
class Calendar:
    """The minutes that five fields choose, counted from 1970-01-01T00:00 on the wall clock.

    ``calendar_of`` makes it.
    """

    fields: str
    _last: _Answer | None = None

    def first_from(self, minute: int) -> int | None:
        """The first chosen minute from ``minute`` on, which may be ``minute`` itself.

        None: there is none, ever.
        """
        last = self._last
        if last is None or minute < last.start or (last.first is not None and last.first < minute):
            last = self._last = _Answer(minute, _step(self.fields, minute))
        return last.first


@lru_cache(maxsize=REMEMBERED)
def calendar_of(fields: str, zone: str) -> Calendar:
    """The calendar of ``fields``, one for each zone: when Tokyo asks about Friday, New York still asks about
    Thursday."""
    return Calendar(fields)


def _step(fields: str, minute: int) -> int | None:
    cycles, minute = divmod(minute, _CYCLE)
    before = _EPOCH + (minute - 1) * _MINUTE
    try:
        found: datetime = croniter(fields, before, max_years_between_matches=GAP_YEARS).get_next(datetime)
    except CroniterBadDateError:
        return None
    return cycles * _CYCLE + (found - _EPOCH) // _MINUTE
