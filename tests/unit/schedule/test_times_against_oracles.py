"""Next and missed times agree with slow oracles, minute by minute and day by day, and with each other.

croniter is no oracle here: it finds the next times. The walks read no cron text and know no croniter, and missed
times are counted by an arithmetic of our own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import given, settings
from hypothesis import strategies as st

from agentjobs.schedule.cron import parse
from agentjobs.schedule.times import MissedTimes, missed_times, next_time, next_times

MINUTE = timedelta(minutes=1)
NOT_ZONES = frozenset({"Factory"})
# Instants about which the wall clock jumps, by the zone's own announcements.
CHANGES = {
    "Europe/Berlin": ["2026-03-29T01:00Z", "2026-10-25T01:00Z"],
    "America/New_York": ["2026-03-08T07:00Z", "2026-11-01T06:00Z"],
    "Australia/Lord_Howe": ["2026-04-04T15:00Z", "2026-10-03T15:30Z"],
    "America/St_Johns": ["2008-03-09T03:31Z", "2008-11-02T02:31Z"],  # at 00:01
    "Africa/Cairo": ["2026-04-23T22:00Z", "2026-10-29T21:00Z"],  # at midnight
    "Antarctica/Troll": ["2026-03-29T01:00Z", "2026-10-25T01:00Z"],  # two hours
    "Pacific/Apia": ["2011-12-30T10:00Z"],  # a whole day
    "Asia/Kolkata": ["2026-03-29T01:00Z"],  # none
    "UTC": ["2028-02-29T00:00Z", "2026-12-31T23:00Z"],
}


@dataclass(frozen=True)
class Field:
    """One field's text with what it means, so that the oracle reads no cron."""

    text: str
    chosen: frozenset[int]
    starred: bool = False


def field(low: int, high: int) -> st.SearchStrategy[Field]:
    number = st.integers(low, high)
    star = st.sampled_from(["*", "?"]).map(lambda text: Field(text, frozenset(range(low, high + 1)), True))
    stepped = st.integers(2, high).map(lambda n: Field(f"*/{n}", frozenset(range(low, high + 1, n))))
    listed = st.sets(number, min_size=1, max_size=4).map(lambda s: Field(",".join(map(str, s)), frozenset(s)))
    span = st.tuples(number, number, st.integers(1, 5)).map(
        lambda t: Field(
            f"{min(t[:2])}-{max(t[:2])}/{t[2]}", frozenset(range(min(t[:2]), max(t[:2]) + 1, t[2]))
        )
    )
    return star | stepped | listed | span


FIELDS = st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6))


def is_due(fields: tuple[Field, ...], wall: datetime) -> bool:
    """robfig/cron's rule, for one minute of the wall clock."""
    minute, hour, day, month, weekday = fields
    by_number, by_weekday = wall.day in day.chosen, wall.isoweekday() % 7 in weekday.chosen
    day_fits = by_number and by_weekday if day.starred or weekday.starred else by_number or by_weekday
    return (
        wall.minute in minute.chosen and wall.hour in hour.chosen and wall.month in month.chosen and day_fits
    )


def minute_by_minute(
    fields: tuple[Field, ...], zone: str, after: datetime, until: datetime
) -> list[datetime]:
    """Every minute of real time whose wall clock fits."""
    wall, moment, found = ZoneInfo(zone), after.replace(second=0, microsecond=0) + MINUTE, []
    while moment <= until:
        if is_due(fields, moment.astimezone(wall)):
            found.append(moment)
        moment += MINUTE
    return found


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, datetime, datetime]:
    zone = draw(st.sampled_from(sorted(CHANGES)))
    change = datetime.fromisoformat(draw(st.sampled_from(CHANGES[zone])))
    after = change - timedelta(seconds=draw(st.integers(0, 30 * 3600)))
    return zone, after, after + timedelta(minutes=draw(st.integers(0, 72 * 60)))


@settings(max_examples=150, deadline=None)
@given(FIELDS, windows())
def test_times_agree_with_minute_by_minute_over_changes_of_the_wall_clock(
    fields: tuple[Field, ...], window: tuple[str, datetime, datetime]
) -> None:
    zone, after, until = window
    schedule = parse(" ".join(one.text for one in fields), zone)
    expected = minute_by_minute(fields, zone, after, until)
    got = next_times(schedule, after, min(len(expected), 200))
    assert got == expected[:200]
    beyond = next_time(schedule, expected[-1] if expected else after)
    assert beyond is None or beyond > until
    missed = missed_times(schedule, after, until)
    assert (missed.latest, missed.count) == (expected[-1] if expected else None, len(expected))


INSTANTS = st.integers(946_684_800, 3_786_912_000).map(lambda second: datetime.fromtimestamp(second, UTC))
"""2000 to 2089."""


def day_by_day(fields: tuple[Field, ...], after: datetime) -> Iterator[datetime]:
    """Every chosen minute in UTC, where the wall clock never jumps; 30 years of it."""
    minute, hour, *_ = fields
    midnight = after.replace(hour=0, minute=0, second=0, microsecond=0)
    for days in range(30 * 366):
        day = midnight + timedelta(days=days)
        of_day = (day.replace(hour=h, minute=m) for h in sorted(hour.chosen) for m in sorted(minute.chosen))
        if is_due(fields, day.replace(hour=min(hour.chosen), minute=min(minute.chosen))):
            yield from (moment for moment in of_day if moment > after)


@settings(max_examples=100, deadline=None)
@given(FIELDS, INSTANTS)
def test_next_times_agree_with_day_by_day_where_the_wall_clock_never_jumps(
    fields: tuple[Field, ...], after: datetime
) -> None:
    found = next_times(parse(" ".join(one.text for one in fields)), after, 5)
    expected = list(islice(day_by_day(fields, after), 5))
    assert found == expected[: len(found)]
    if len(found) < 5 and len(expected) > len(found):
        ended_in = (found[-1] if found else after).year
        assert expected[len(found)].year > ended_in + 5, "the search ends with the fifth calendar year"


ZONES = sorted(name for name in available_timezones() if name[:1].isupper() and name not in NOT_ZONES)


@settings(max_examples=100, deadline=None)
@given(FIELDS, st.sampled_from(ZONES), INSTANTS)
def test_between_two_next_times_nothing_is_missed_and_at_each_of_them_one_is(
    fields: tuple[Field, ...], zone: str, after: datetime
) -> None:
    """croniter's steps against our own count of the same times, in every zone."""
    schedule = parse(" ".join(one.text for one in fields), zone)
    for found in next_times(schedule, after, 6):
        assert missed_times(schedule, after, found) == MissedTimes(found, 1)
        assert missed_times(schedule, after, found - MINUTE) == MissedTimes(None, 0)
        after = found
    if next_time(schedule, after) is None:
        assert missed_times(schedule, after, after.replace(day=1, year=after.year + 5)).count == 0


@settings(max_examples=60, deadline=None)
@given(
    FIELDS,
    st.sampled_from(sorted(CHANGES)),
    INSTANTS,
    st.lists(st.integers(0, 3_000_000), min_size=2, max_size=2),
)
def test_missed_times_of_a_long_time_are_those_of_its_parts(
    fields: tuple[Field, ...], zone: str, after: datetime, minutes: list[int]
) -> None:
    schedule = parse(" ".join(one.text for one in fields), zone)
    middle = after + timedelta(minutes=min(minutes))
    until = after + timedelta(minutes=max(minutes))
    first, second = missed_times(schedule, after, middle), missed_times(schedule, middle, until)
    whole = missed_times(schedule, after, until)
    assert whole.count == first.count + second.count
    assert whole.latest == (second.latest or first.latest)
