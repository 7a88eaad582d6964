"""Times of a schedule: the next ones, and the number of those missed between two instants.

A schedule is due in each minute of real time in which its zone's wall clock shows a chosen time. For example,
the clock is set forward from 2:00 to 3:00: a schedule for 2:30 is not due on that day. On the day when it is
set back, 2:30 comes twice and the schedule is due twice. CronJob does the same.

Real time is cut into pieces of a few days with a constant offset, in which the wall clock is real time plus a
number. croniter finds the next time on the wall clock of each piece (``schedule/calendar.py``). Missed times
are counted by arithmetic, whole days at once: croniter can only step from one to the next, and ten years of a
minutely schedule are five million steps.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

from agentjobs.schedule.calendar import calendar_of
from agentjobs.schedule.cron import Schedule

NEXT_WITHIN_YEARS = 5
"""robfig/cron's limit: a schedule without a time until the end of the fifth calendar year from now is never
due."""
MISSED_WITHIN_DAYS = 7305
"""Missed times are counted in the last 20 years alone. This bounds the work where a clock or a record is
wrong."""

_DAY = 24 * 60
_PIECE = 4 * _DAY
"""Longest piece, in minutes. Since 1980 no zone has changed its offset twice within so short a time."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_MINUTE = (date(9999, 12, 1).toordinal() - _EPOCH_DAY) * _DAY


@dataclass(frozen=True, slots=True)
class MissedTimes:
    """Missed times: the last of them in UTC (None: there was none), and their number."""

    latest: datetime | None
    count: int


class _Piece(NamedTuple):
    """A piece of real time in minutes since the epoch, without ``end``.

    The wall clock is ``offset`` ahead of UTC.
    """

    start: int
    end: int
    offset: int


def next_time(schedule: Schedule, after: datetime) -> datetime | None:
    """The first time after ``after``, in UTC. None: there is none within NEXT_WITHIN_YEARS."""
    start = _minute(after) + 1
    if start >= _LAST_MINUTE:
        return None
    last_year = (max(after, _EPOCH) + timedelta(seconds=1)).astimezone(schedule.zone).year + NEXT_WITHIN_YEARS
    beyond = (date(min(last_year + 1, 9999), 1, 1).toordinal() - _EPOCH_DAY + 1) * _DAY
    calendar = calendar_of(schedule.fields, schedule.zone.key)
    for piece in _pieces(schedule.zone, start, min(beyond, _LAST_MINUTE)):
        on_wall = calendar.first_from(piece.start + piece.offset)
        if on_wall is None:
            return None
        if on_wall < piece.end + piece.offset:
            found = _moment(on_wall - piece.offset)
            return found if found.astimezone(schedule.zone).year <= last_year else None
    return None


def next_times(schedule: Schedule, after: datetime, n: int) -> list[datetime]:
    """The first ``n`` times after ``after``, in UTC. Fewer, where the schedule has no more."""
    return list(islice(_times(schedule, after), n))


def missed_times(schedule: Schedule, after: datetime, until: datetime) -> MissedTimes:
    """The times after ``after`` and not after ``until``, without those older than MISSED_WITHIN_DAYS."""
    end = min(_minute(until) + 1, _LAST_MINUTE)
    start = max(_minute(after) + 1, end - MISSED_WITHIN_DAYS * _DAY)
    count, latest = 0, None
    if start >= end:
        return MissedTimes(None, 0)
    for piece in _pieces(schedule.zone, start, end):
        for first, last, day in _matches(schedule, piece):
            if first < last:
                count += last - first
                latest = day * _DAY + schedule.minutes_of_day[last - 1] - piece.offset
    return MissedTimes(None if latest is None else _moment(latest), count)


def _times(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    moment = next_time(schedule, after)
    while moment is not None:
        yield moment
        moment = next_time(schedule, moment)


def _pieces(zone: ZoneInfo, start: int, end: int) -> Iterator[_Piece]:
    """The pieces from ``start`` to ``end``, cut where the offset changes, each short enough to hide no two
    changes."""
    offset = _offset(zone, start)
    while start < end:
        stop = min(start + _PIECE, end)
        changed = _offset(zone, stop)
        if changed != offset:
            low, high = start, stop  # the last known minute of the old offset, the first known of the new one
            while high - low > 1:
                middle = (low + high) // 2
                if _offset(zone, middle) == offset:
                    low = middle
                else:
                    high = middle
            stop, changed = high, _offset(zone, high)
        yield _Piece(start, stop, offset)
        start, offset = stop, changed


def _matches(schedule: Schedule, piece: _Piece) -> Iterator[tuple[int, int, int]]:
    """Each matching day in the piece: the slice of ``minutes_of_day`` inside the piece, and the day since the
    epoch."""
    start, end = piece.start + piece.offset, piece.end + piece.offset
    for day in range(start // _DAY, (end - 1) // _DAY + 1):
        if _day_matches(schedule, date.fromordinal(_EPOCH_DAY + day)):
            midnight = day * _DAY
            yield (
                bisect_left(schedule.minutes_of_day, start - midnight),
                bisect_left(schedule.minutes_of_day, end - midnight),
                day,
            )


def _day_matches(schedule: Schedule, day: date) -> bool:
    if day.month not in schedule.months:
        return False
    by_number = day.day in schedule.days
    by_weekday = day.isoweekday() % 7 in schedule.weekdays
    return (by_number or by_weekday) if schedule.either_day else (by_number and by_weekday)


def _offset(zone: ZoneInfo, minute: int) -> int:
    """Minutes by which the wall clock is ahead of UTC.

    Seconds, which only old local mean times have, are cut.
    """
    offset = datetime.fromtimestamp(minute * 60, zone).utcoffset() or timedelta()
    return offset // timedelta(minutes=1)


def _minute(moment: datetime) -> int:
    """The minute of ``moment`` since the epoch; 0 for times before, when nothing was due."""
    return (max(moment, _EPOCH) - _EPOCH) // timedelta(minutes=1)


def _moment(minute: int) -> datetime:
    return _EPOCH + timedelta(minutes=minute)
