"""Which lookout claims when jobs are called out: as many as the jobs need, others a little later, and nobody is needed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentjobs.worker.supervisor.dispatch import look_seconds
from agentjobs.worker.supervisor.ticking import look_after

COUNTS = st.integers(1, 16)
NUMBERS = st.integers(0, 999_999)


@given(count=COUNTS, number=NUMBERS, jobs=st.integers(1, 1000))
def test_one_lookout_is_called_for_four_jobs_and_all_where_there_are_more(
    count: int, number: int, jobs: int
) -> None:
    delays = [look_after(place, count, jobs, number) for place in range(count)]
    assert delays.count(0.0) == min(count, -(-jobs // 4))


@given(count=COUNTS, number=NUMBERS)
def test_those_behind_look_one_after_the_other_and_nobody_goes_without_a_look(
    count: int, number: int
) -> None:
    delays = sorted(look_after(place, count, 1, number) for place in range(count))
    assert delays == ([0.0, 0.005, 0.015, 0.04, 0.1] + [0.15] * count)[:count]


@given(
    known=st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=16),
    number=NUMBERS,
    jobs=st.integers(1, 100),
)
def test_somebody_looks_soon_whatever_each_believes_of_the_others(
    known: list[tuple[int, int]], number: int, jobs: int
) -> None:
    assert min(look_after(place, count, jobs, number) for place, count in known) <= 0.15


@pytest.mark.parametrize(
    ("workers", "deaf", "seconds"),
    [(0, False, 1), (20, False, 1), (60, False, 3), (100, False, None), (1, True, 0.25), (64, True, 1)],
)
def test_workers_that_hear_of_nothing_look_the_less_often_the_more_they_are(
    workers: int, deaf: bool, seconds: float | None
) -> None:
    assert look_seconds(workers, 5.0, deaf=deaf) == seconds


@pytest.mark.parametrize("count", [1, 3, 16])
def test_each_is_called_as_often_as_the_others(count: int) -> None:
    called = Counter(
        place
        for number in range(160 * 3)
        for place in range(count)
        if look_after(place, count, 1, number) == 0
    )
    assert set(called.values()) == {160 * 3 // count}
