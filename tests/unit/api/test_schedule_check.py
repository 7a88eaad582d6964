"""The grammar of spec.schedule is CronJob's."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from agentjobs.api.schedule_check import MACROS, expand_macro, problem_of
from agentjobs.schedule.cron import parse
from agentjobs.schedule.times import next_time


def part(low: int, high: int) -> st.SearchStrategy[str]:
    """One field of a schedule."""
    number = st.integers(low, high)
    ranges = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.integers(1, high).map(lambda n: f"/{n}")
    stepped = st.tuples(st.just("*") | ranges, st.just("") | step).map("".join)
    return st.lists(number.map(str) | stepped, min_size=1, max_size=3).map(",".join)


@given(st.tuples(part(0, 59), part(0, 23), part(1, 28), part(1, 12), part(0, 6)).map(" ".join))
def test_what_is_accepted_can_be_computed_with(schedule: str) -> None:
    assert problem_of(schedule) is None
    assert croniter.is_valid(schedule)
    assert croniter.is_valid(parse(schedule).fields), "what it is given"
    assert next_time(parse(schedule), datetime(2026, 11, 23, tzinfo=UTC)) is not None


@given(st.text(alphabet="0123456789*/,-?@ LW#HRMONjan", max_size=20))
def test_any_text_is_accepted_or_refused_and_never_an_error(schedule: str) -> None:
    problem_of(schedule)


@pytest.mark.parametrize("macro", MACROS)
def test_a_macro_stands_for_five_fields(macro: str) -> None:
    assert problem_of(macro) is None
    assert problem_of(expand_macro(macro)) is None


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        ("60 * * * *", "minute '60': '60' is not a number from 0 to 59"),
        ("* * * foo *", "month 'foo': 'foo' is not a number from 1 to 12, or a name such as jan"),
        ("*-5 * * * *", "cannot begin a range"),
        ("5-1 * * * *", "runs backwards"),
        ("1,,2 * * * *", "wants *, a number"),
        ("*/ * * * *", "wants *, a number"),
        ("٣ * * * *", "wants *, a number"),
        ("0 0 31 2,4 *", "is never due: no chosen month has a day 31"),
    ],
)
def test_a_refusal_names_the_field_and_what_it_wants(schedule: str, says: str) -> None:
    assert says in (problem_of(schedule) or "")


@pytest.mark.parametrize("schedule", ["0 0 29 2 *", "0 0 31 4,5 *", "0 0 31 2 mon", "0 0 30 2 */2"])
def test_a_schedule_that_is_due_some_day_is_accepted(schedule: str) -> None:
    assert problem_of(schedule) is None
