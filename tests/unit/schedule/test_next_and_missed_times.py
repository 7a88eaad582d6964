"""When schedules are due, case by case. test_times_against_oracles.py has the general proof."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import process_time

import pytest

from agentjobs.schedule.cron import parse
from agentjobs.schedule.times import MissedTimes, missed_times, next_time, next_times


def local(text: str, zone: str, after: str, n: int) -> list[str]:
    """The next times on the zone's wall clock, with its offset."""
    schedule = parse(text, zone)
    start = datetime.fromisoformat(after)
    return [
        time.astimezone(schedule.zone).isoformat(timespec="minutes")
        for time in next_times(schedule, start, n)
    ]


# Europe/Berlin: 2026-03-29 02:00 → 03:00, 2026-10-25 03:00 → 02:00. America/New_York: 2026-03-08 02:00 → 03:00,
# 2026-11-01 02:00 → 01:00. Australia/Lord_Howe: 2026-04-05 02:00 → 01:30, 2026-10-04 02:00 → 02:30.
FORWARD = [
    (
        "30 2 * * *",
        "Europe/Berlin",
        "2026-03-28T00:00Z",
        ["2026-03-28T02:30+01:00", "2026-03-30T02:30+02:00"],
    ),
    ("0 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["2026-03-30T02:00+02:00"]),
    ("0 3 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["2026-03-29T03:00+02:00", "2026-03-30T03:00+02:00"]),
    ("0 * * * *", "Europe/Berlin", "2026-03-29T00:00Z", ["2026-03-29T03:00+02:00", "2026-03-29T04:00+02:00"]),
    (
        "*/30 1-3 29 3 *",
        "Europe/Berlin",
        "2026-03-29T00:00Z",
        ["2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00"],
    ),
    ("30 2 * * *", "America/New_York", "2026-03-07T12:00Z", ["2026-03-09T02:30-04:00"]),
    (
        "0 * 8 3 *",
        "America/New_York",
        "2026-03-08T05:30Z",
        ["2026-03-08T01:00-05:00", "2026-03-08T03:00-04:00"],
    ),
    ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00Z", ["2026-10-05T02:15+11:00"]),
    ("30 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00Z", ["2026-10-04T02:30+11:00"]),
    (
        "*/30 * * * *",
        "Australia/Lord_Howe",
        "2026-10-03T15:00Z",
        ["2026-10-04T02:30+11:00", "2026-10-04T03:00+11:00"],
    ),
    ("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00Z", ["2026-04-25T00:00+03:00"]),
]
BACK = [
    (
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-24T12:00Z",
        ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00", "2026-10-26T02:30+01:00"],
    ),
    ("0 3 * * *", "Europe/Berlin", "2026-10-24T12:00Z", ["2026-10-25T03:00+01:00", "2026-10-26T03:00+01:00"]),
    (
        "0 * * * *",
        "Europe/Berlin",
        "2026-10-24T23:30Z",
        ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"],
    ),
    (
        "59 1 * * *",
        "America/New_York",
        "2026-10-31T12:00Z",
        ["2026-11-01T01:59-04:00", "2026-11-01T01:59-05:00", "2026-11-02T01:59-05:00"],
    ),
    (
        "*/20 1 * * *",
        "America/New_York",
        "2026-11-01T05:30Z",
        ["2026-11-01T01:40-04:00", "2026-11-01T01:00-05:00", "2026-11-01T01:20-05:00"],
    ),
    (
        "45 1 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T00:00Z",
        ["2026-04-05T01:45+11:00", "2026-04-05T01:45+10:30", "2026-04-06T01:45+10:30"],
    ),
    (
        "15 1 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T00:00Z",
        ["2026-04-05T01:15+11:00", "2026-04-06T01:15+10:30"],
    ),
    ("0 2 * * *", "Australia/Lord_Howe", "2026-04-04T00:00Z", ["2026-04-05T02:00+10:30"]),
]
NO_CHANGE = [
    ("30 2 * * *", "Asia/Kolkata", "2026-03-28T00:00Z", ["2026-03-29T02:30+05:30", "2026-03-30T02:30+05:30"]),
    ("30 2 * * *", "UTC", "2026-10-24T12:00Z", ["2026-10-25T02:30+00:00", "2026-10-26T02:30+00:00"]),
    ("0 6 * * *", "Pacific/Apia", "2011-12-29T00:00Z", ["2011-12-29T06:00-10:00", "2011-12-31T06:00+14:00"]),
]


@pytest.mark.parametrize(("text", "zone", "after", "times"), FORWARD)
def test_a_time_that_does_not_exist_is_not_made_up_for(
    text: str, zone: str, after: str, times: list[str]
) -> None:
    assert local(text, zone, after, len(times)) == times


@pytest.mark.parametrize(("text", "zone", "after", "times"), BACK)
def test_a_time_that_exists_twice_is_due_twice(text: str, zone: str, after: str, times: list[str]) -> None:
    assert local(text, zone, after, len(times)) == times


@pytest.mark.parametrize(("text", "zone", "after", "times"), NO_CHANGE)
def test_zones_without_such_a_change_have_each_time_once(
    text: str, zone: str, after: str, times: list[str]
) -> None:
    assert local(text, zone, after, len(times)) == times


@pytest.mark.parametrize(
    ("text", "after", "dates"),
    [
        ("0 0 29 2 *", "2026-11-23T00:00Z", ["2028-02-29", "2032-02-29"]),
        ("0 0 29 2 *", "2028-02-29T00:00Z", ["2032-02-29"]),
        (
            "0 0 31 * *",
            "2026-01-31T00:00Z",
            ["2026-03-31", "2026-05-31", "2026-07-31", "2026-08-31", "2026-10-31"],
        ),
        ("0 0 28-31 2 *", "2028-02-28T12:00Z", ["2028-02-29", "2029-02-28"]),
        ("0 0 30 2,4 *", "2026-01-01T00:00Z", ["2026-04-30", "2027-04-30"]),
        ("0 0 31 12 *", "2026-12-31T00:00Z", ["2027-12-31"]),
        ("@yearly", "2026-12-31T23:59Z", ["2027-01-01"]),
        ("@weekly", "2026-11-23T00:00Z", ["2026-11-29"]),
        ("@monthly", "2026-11-23T00:00Z", ["2026-12-01", "2027-01-01"]),
    ],
)
def test_leap_days_and_ends_of_months(text: str, after: str, dates: list[str]) -> None:
    assert [time[:10] for time in local(text, "UTC", after, len(dates))] == dates


@pytest.mark.parametrize(
    ("days", "dates"),
    [
        ("13 * fri", ["2026-11-06", "2026-11-13", "2026-11-20", "2026-11-27", "2026-12-04", "2026-12-11"]),
        ("13 * *", ["2026-11-13", "2026-12-13"]),
        ("* * fri", ["2026-11-06", "2026-11-13"]),
        ("? * fri", ["2026-11-06", "2026-11-13"]),
        ("*/1 * fri", ["2026-11-06", "2026-11-13"]),
        ("*,5 * fri", ["2026-11-06", "2026-11-13"]),
        ("13 * */1", ["2026-11-13", "2026-12-13"]),
        ("*/10 * fri", ["2026-11-01", "2026-11-06", "2026-11-11", "2026-11-13"]),
        ("13 * */6", ["2026-11-01", "2026-11-07", "2026-11-08", "2026-11-13"]),
        ("1-31 * fri", ["2026-11-01", "2026-11-02", "2026-11-03"]),
        ("13 * 0-6", ["2026-11-01", "2026-11-02"]),
    ],
)
def test_either_day_field_suffices_unless_one_is_starred(days: str, dates: list[str]) -> None:
    assert [time[:10] for time in local(f"0 6 {days}", "UTC", "2026-11-01T00:00Z", len(dates))] == dates


NEVER = ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 30-31 2 ?"]


@pytest.mark.parametrize("text", NEVER)
def test_a_schedule_that_is_never_due_has_no_next_time(text: str) -> None:
    after = datetime(2026, 11, 23, tzinfo=UTC)
    assert next_time(parse(text, "Europe/Berlin"), after) is None
    assert next_times(parse(text), after, 3) == []
    assert missed_times(parse(text), after - timedelta(days=3000), after) == MissedTimes(None, 0)


def test_the_search_ends_with_the_fifth_calendar_year_as_in_cronjob() -> None:
    leap_day = parse("0 0 29 2 *", "America/New_York")
    assert next_time(leap_day, datetime(2096, 3, 1, 12, tzinfo=UTC)) is None
    assert next_time(leap_day, datetime(2099, 1, 1, 4, 59, 58, tzinfo=UTC)) is None
    found = next_time(leap_day, datetime(2099, 1, 1, 5, tzinfo=UTC))
    assert found == datetime(2104, 2, 29, 5, tzinfo=UTC)


def test_next_is_later_than_after_and_missed_includes_until() -> None:
    hourly = parse("@hourly")
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    second, hour = timedelta(seconds=1), timedelta(hours=1)
    assert next_time(hourly, noon) == noon + hour
    assert next_time(hourly, noon - timedelta(microseconds=1)) == noon
    assert missed_times(hourly, noon - second, noon) == MissedTimes(noon, 1)
    assert missed_times(hourly, noon - hour, noon) == MissedTimes(noon, 1)
    assert missed_times(hourly, noon, noon + hour - second) == MissedTimes(None, 0)
    assert missed_times(hourly, noon, noon - 5 * hour) == MissedTimes(None, 0)


def test_ten_years_of_a_minutely_schedule_are_counted_exactly_without_walking_through_them() -> None:
    until = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)
    after = until.replace(year=2016)
    begin = process_time()
    missed = missed_times(parse("* * * * *", "Europe/Berlin"), after, until)
    used = process_time() - begin
    assert missed == MissedTimes(until.replace(second=0), (until - after) // timedelta(minutes=1))
    assert used < 0.5, "milliseconds; walking takes many seconds"


def test_a_record_of_another_age_bounds_the_work_to_twenty_years() -> None:
    until = datetime(2026, 11, 23, 12, tzinfo=UTC)
    missed = missed_times(parse("@daily"), datetime(1, 1, 1, tzinfo=UTC), until)
    assert missed == MissedTimes(until.replace(hour=0), 7305)


@pytest.mark.parametrize(
    "edge",
    [
        datetime.min.replace(tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, tzinfo=UTC),
        datetime(9999, 12, 30, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ],
)
def test_no_instant_is_an_error(edge: datetime) -> None:
    schedule = parse("0 0 1 * *", "America/New_York")
    assert next_time(schedule, edge) in (None, datetime(1970, 1, 1, 5, tzinfo=UTC))
    assert missed_times(schedule, edge, edge) == MissedTimes(None, 0)
