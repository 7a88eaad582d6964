"""The grammar of schedules: robfig/cron's ParseStandard, as in CronJob."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentjobs.api.schedule_check import MACROS as ACCEPTED_MACROS
from agentjobs.api.schedule_check import problem_of
from agentjobs.schedule.cron import EVERY, MACROS, UnknownTimeZone, UnparseableSchedule, parse, zone_of
from agentjobs.schedule.times import next_times
from agentjobs.schedule.zones import AREAS, PART_PATTERN, SINGLE_NAMES


def minutes(text: str) -> list[int]:
    return list(parse(f"{text} 0 * * *").minutes_of_day)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("5", [5]),
        ("9-9", [9]),
        ("1-5", [1, 2, 3, 4, 5]),
        ("*/20", [0, 20, 40]),
        ("?/30", [0, 30]),
        ("50/5", [50, 55]),
        ("10-20/5", [10, 15, 20]),
        ("59/15", [59]),
        ("*/100", [0]),
        ("1,3,2-4", [1, 2, 3, 4]),
    ],
)
def test_a_field_is_a_list_of_numbers_ranges_and_steps(text: str, chosen: list[int]) -> None:
    assert minutes(text) == chosen


def test_months_and_weekdays_have_names_in_any_case() -> None:
    schedule = parse("0 0 * JAN-mar,Dec mon-FRI/2")
    assert schedule.months == {1, 2, 3, 12}
    assert schedule.weekdays == {1, 3, 5}


@pytest.mark.parametrize("macro", MACROS)
def test_a_macro_is_its_five_fields(macro: str) -> None:
    assert parse(macro).minutes_of_day == parse(MACROS[macro]).minutes_of_day
    assert MACROS == ACCEPTED_MACROS


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "wants five fields"),
        ("* * * *", "wants five fields"),
        ("0 * * * * *", "wants five fields"),
        ("@reboot", "or one of @yearly"),
        ("@every 1h", "write 0 * * * *"),
        ("@Daily", "or one of @yearly"),
        ("@daily\n", "or one of @yearly"),
        ("TZ=UTC 0 0 * * *", "set timeZone"),
        ("CRON_TZ=Europe/Berlin 0 0 * * *", "set timeZone"),
        ("0 0 L * *", "day of month 'L': L, W and # are unknown to CronJob"),
        ("0 0 15W * *", "L, W and # are unknown"),
        ("0 0 * * fri#2", "day of week 'fri#2': L, W and # are unknown"),
        ("0 0 * * 5L", "L, W and # are unknown"),
        ("0 0 * * 7", "'7' is not a number from 0 to 6, or a name such as sun; Sunday is 0"),
        ("0 0 * * fri-mon", "the range 'fri-mon' runs backwards"),
        ("60 * * * *", "minute '60': '60' is not a number from 0 to 59"),
        ("0 24 * * *", "hour '24'"),
        ("0 0 0 * *", "day of month '0'"),
        ("0 0 * 13 *", "month '13'"),
        ("H * * * *", "minute 'H'"),
        ("*/0 * * * *", "a step of 0"),
        ("*-5 * * * *", "cannot begin a range"),
        ("-1 * * * *", "wants *, a number"),
        ("1,,2 * * * *", "wants *, a number"),
        ("1-2-3 * * * *", "wants *, a number"),
        ("٣ * * * *", "wants *, a number"),
        ("0 0 * * *" + " " * 250, "has 259 characters"),
    ],
)
def test_a_refusal_names_the_field_and_what_it_wants(text: str, says: str) -> None:
    with pytest.raises(UnparseableSchedule) as refused:
        parse(text)
    assert says in str(refused.value)


PIECES = st.sampled_from(
    [
        "*",
        "?",
        "0",
        "5",
        "12",
        "30",
        "31",
        "60",
        "7",
        "-",
        "/",
        ",",
        "jan",
        "Sun",
        "L",
        "#",
        "TZ=",
        "@daily",
        " ",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join) | st.lists(PIECES, min_size=5, max_size=5).map(" ".join))
def test_what_the_api_accepts_can_be_computed_with_and_nothing_else(text: str) -> None:
    problem = problem_of(text)
    try:
        parse(text)
    except UnparseableSchedule:
        assert problem
    else:
        assert problem is None or "never due" in problem


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mars/Olympus",
        "Europe",
        "Local",
        "localtime",
        "posixrules",
        "right/UTC",
        "../etc/passwd",
        "/etc/passwd",
        "a\0b",
    ],
)
def test_an_unknown_zone_is_named_with_a_remedy(name: str) -> None:
    with pytest.raises(UnknownTimeZone, match="name an IANA time zone, such as Europe/Berlin"):
        zone_of(name)


@pytest.mark.parametrize(
    "name", ["UTC", "Europe/Berlin", "Etc/GMT+3", "America/Argentina/Buenos_Aires", "EST5EDT"]
)
def test_an_iana_name_is_a_zone(name: str) -> None:
    assert zone_of(name).key == name


def test_the_names_that_the_schema_knows_are_those_of_the_time_zone_data() -> None:
    """A new name without a slash, or a new area, must come into the tables: the schema refuses it else."""
    names = available_timezones() - {"Factory", "localtime"}
    assert {name for name in names if "/" not in name} == set(SINGLE_NAMES)
    assert {name.partition("/")[0] for name in names if "/" in name} == set(AREAS)
    parts = {part for name in names if "/" in name for part in name.split("/")[1:]}
    assert [part for part in parts if not re.fullmatch(PART_PATTERN, part)] == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("utc", "write UTC"),
        ("UTC+2", "write Etc/GMT-2"),
        ("-05:00", "write Etc/GMT+5"),
        ("GMT+14", "write Etc/GMT-14"),
        ("europe/berlin", "did you mean Europe/Berlin"),
        ("America/New York", "did you mean America/New_York"),
        ("Europe/Berlin ", "did you mean Europe/Berlin"),
        ("local", "name the time zone"),
    ],
)
def test_a_wrong_zone_is_answered_with_the_way_out(name: str, says: str) -> None:
    with pytest.raises(UnknownTimeZone, match=re.escape(says)):
        zone_of(name)


@pytest.mark.parametrize("text", EVERY)
def test_the_fields_for_an_interval_choose_times_that_far_apart(text: str) -> None:
    number, unit = int(text.split()[1][:-1]), text[-1]
    times = next_times(parse(EVERY[text]), datetime(2026, 11, 23, tzinfo=UTC), 30)
    assert {b - a for a, b in pairwise(times)} == {
        timedelta(**{"m": {"minutes": number}, "h": {"hours": number}}[unit])
    }


def test_what_go_takes_for_a_space_separates_fields_and_nothing_else_does() -> None:
    for space in "\t\n\v\f\r \x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000":
        assert parse(f"0{space}9 * * *").minutes_of_day == (540,), repr(space)
    for other in "\x1c\x1f\u200b\ufeff\u180e":
        with pytest.raises(UnparseableSchedule):
            parse(f"0{other}9 * * *")
