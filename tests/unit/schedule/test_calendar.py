"""The calendar under the times: what croniter is given, and that its answers are right wherever it is asked."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from croniter import CroniterBadCronError, croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from agentjobs.schedule.calendar import GAP_YEARS, Calendar
from agentjobs.schedule.cron import UnparseableSchedule, parse
from agentjobs.schedule.times import next_times

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall clock without a zone
MINUTE = timedelta(minutes=1)
PAGE = (Path(__file__).parents[3] / "docs" / "dependencies.md").read_text()


def minute(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // MINUTE


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("0 6 * * mon-fri", "0 6 * * 1,2,3,4,5"),
        ("9-9 18-18 25-25 * *", "9 18 25 * *"),
        ("*/20 ? * */4 ?", "0,20,40 * * 1,5,9 *"),
        ("59/15 20/2 * * *", "59 20,22 * * *"),
        ("0 0 */1 * fri", "0 0 * * 5"),
        ("0 0 *,5 jan-mar,Dec */01", "0 0 * 1,2,3,12 *"),
        ("0 0 */10 * 0-6", "0 0 1,11,21,31 * 0,1,2,3,4,5,6"),
        ("0 0 1-31 * fri", f"0 0 {','.join(map(str, range(1, 32)))} * 5"),
        ("@weekly", "0 0 * * 0"),
    ],
)
def test_croniter_gets_lists_of_numbers_and_a_star_only_where_a_field_is_starred(
    text: str, fields: str
) -> None:
    assert parse(text).fields == fields


def test_a_starred_day_among_others_and_a_full_list_of_days_are_told_apart() -> None:
    """The one thing that croniter must be told by a star: whether one day field suffices."""
    assert parse("0 0 *,13 * fri").fields == "0 0 * * 5"
    every_day, fridays = Calendar(parse("0 0 1-31 * fri").fields), Calendar(parse("0 0 *,13 * fri").fields)
    assert every_day.first_from(minute("2026-11-28T00:00")) == minute("2026-11-28T00:00")
    assert fridays.first_from(minute("2026-11-28T00:00")) == minute("2026-12-04T00:00")


ROW = re.compile(r"^\| `([^`]+)` \| (refused|[^|]+) \| (refused|[^|]+) \|$", re.MULTILINE)
AFTER = "2026-11-23T12:00:00+00:00"


@pytest.mark.parametrize(("text", "cronjob", "theirs"), ROW.findall(PAGE))
def test_the_page_tells_what_croniter_reads_differently(text: str, cronjob: str, theirs: str) -> None:
    """A cell is ``refused``, or says when it is due after Monday 2026-11-23T12:00Z, or just that it is."""
    after = datetime.fromisoformat(AFTER)

    def ours_reads() -> list[datetime]:
        return next_times(parse(text), after, 2)

    def croniter_reads() -> list[datetime]:
        times = croniter(text, after)
        return [times.get_next(datetime) for _ in range(2)]

    for cell, read, error in (
        (cronjob, ours_reads, UnparseableSchedule),
        (theirs, croniter_reads, CroniterBadCronError),
    ):
        if cell == "refused":
            with pytest.raises(error):
                read()
        elif told := re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d", cell):
            assert [f"{time:%Y-%m-%d %H:%M}" for time in read()][: len(told)] == told
        else:
            assert read() != [], "it is accepted"
    if "refused" not in (cronjob, theirs):
        assert ours_reads() != croniter_reads()


def test_the_page_has_the_differences_that_nobody_would_notice() -> None:
    texts = {text for text, _, _ in ROW.findall(PAGE)}
    assert {"0 9-9 * * *", "0 0 */1 * fri"} <= texts
    assert len(texts) >= 12


@pytest.mark.parametrize("cycles", [0, 1, 19])
def test_a_leap_day_that_eight_years_lie_before_is_found(cycles: int) -> None:
    """The longest gap that any fields can have; 1 and 19 are 400 and 7,600 years on."""
    ahead = cycles * 146_097 * 24 * 60
    leap_days = Calendar(parse("0 0 29 2 *").fields)
    last, first = minute("2096-02-29T00:00"), minute("2104-02-29T00:00")
    assert leap_days.first_from(ahead + last + 1) == ahead + first
    assert leap_days.first_from(ahead + last) == ahead + last
    assert GAP_YEARS == 8


@pytest.mark.parametrize("text", ["0 0 31 2 *", "0 0 30,31 2 ?", "0 0 31 4,6,9,11 *"])
@pytest.mark.parametrize("year", [1970, 2026, 2366, 9990])
def test_days_that_no_year_has_are_never_chosen(text: str, year: int) -> None:
    assert Calendar(parse(text).fields).first_from(minute(f"{year}-03-01T00:00")) is None


def test_one_day_field_suffices_though_the_other_is_never_chosen() -> None:
    calendar = Calendar(parse("0 0 31 2 fri").fields)
    assert calendar.first_from(minute("2026-02-02T00:00")) == minute("2026-02-06T00:00")
    assert calendar.first_from(minute("9998-03-01T00:00")) == minute("9999-02-05T00:00")


def walked(fields: str, start: int) -> int:
    """The first chosen minute from ``start`` on, day by day; a way of its own through fields that are lists or ``*``."""
    minutes, hours, days, months, weekdays = (
        None if field == "*" else sorted(map(int, field.split(","))) for field in fields.split()
    )
    either = days is not None and weekdays is not None
    day, of_day = divmod(start, 24 * 60)
    while True:
        then = date(1970, 1, 1) + timedelta(days=day % 146_097)  # 400 years: no date is past year 9999
        by_number = days is None or then.day in days
        by_weekday = weekdays is None or then.isoweekday() % 7 in weekdays
        if (months is None or then.month in months) and (
            by_number or by_weekday if either else by_number and by_weekday
        ):
            for hour in range(24) if hours is None else hours:
                for one in range(60) if minutes is None else minutes:
                    if 60 * hour + one >= of_day:
                        return day * 24 * 60 + 60 * hour + one
        day, of_day = day + 1, 0


def field(low: int, high: int, most: int = 4) -> st.SearchStrategy[str]:
    lists = st.sets(st.integers(low, high), min_size=1, max_size=most)
    return st.just("*") | lists.map(lambda chosen: ",".join(map(str, sorted(chosen))))


FIELDS = st.tuples(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6)).map(" ".join)
MINUTES = st.integers(minute("1970-01-01T00:00"), minute("9999-11-01T00:00"))
NEAR = st.integers(-3000, 3000)


@settings(max_examples=150, deadline=None)
@given(FIELDS, MINUTES, st.lists(NEAR, min_size=1, max_size=6))
def test_each_answer_is_that_of_a_walk_through_the_days_in_whatever_order_it_is_asked(
    fields: str, around: int, offsets: list[int]
) -> None:
    """Backwards too, as where a clock is set back: an answer that is remembered holds only for what it was asked."""
    calendar = Calendar(fields)
    for offset in offsets:
        asked = max(0, around + offset)
        assert calendar.first_from(asked) == walked(fields, asked)


def test_an_answer_is_remembered_until_its_time_has_come() -> None:
    calendar = Calendar("0 6 * * *")
    six = minute("2026-11-23T06:00")
    assert calendar.first_from(six - 100) == six
    remembered = calendar._last
    assert calendar.first_from(six - 50) == calendar.first_from(six) == six
    assert calendar._last is remembered, "croniter was not asked again"
    assert calendar.first_from(six + 1) == six + 24 * 60
