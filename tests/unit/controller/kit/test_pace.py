"""The pace of a loop that takes what has gathered."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentjobs.controller.kit.pace import Pace

GAP, SHARE, BURST = 0.02, 0.25, 2


def turns(asked: list[float], took: float = 0.0) -> list[float]:
    """When turns began that were asked for at these moments, in order, each as soon as it might."""
    pace, began, now = Pace(GAP, SHARE, BURST), [], 1000.0
    for moment in asked:
        now = max(now, 1000.0 + moment)
        now += pace.seconds(now)
        pace.began(now)
        pace.took(took)
        began.append(now - 1000)
        now += took
    return began


def test_after_a_pause_a_few_turns_follow_each_other_at_once() -> None:
    """Such as the reads for a job that was made known, then started, then ended."""
    first, second, third, fourth = turns([0, 0.004, 0.008, 0.009])
    assert (first, second, third) == pytest.approx((0, 0.004, 0.008))
    assert 0.018 <= fourth <= 0.021


def test_turns_that_are_asked_for_all_the_time_keep_the_gap() -> None:
    began = turns([0.0] * 100)
    assert began[-1] >= (100 - 1 - BURST) * GAP - 1e-6


def test_a_turn_that_took_long_is_followed_by_a_pause() -> None:
    began = turns([0.0] * 10, took=0.1)
    assert all(later - earlier >= 0.1 / SHARE - BURST * GAP - 1e-6 for earlier, later in pairwise(began))
    assert began[-1] >= 9 * 0.1 / SHARE - BURST * GAP - 1e-6


@given(st.lists(st.floats(0, 2), max_size=60).map(sorted), st.floats(0, 0.1))
def test_however_it_is_asked_turns_take_no_more_than_their_share(asked: list[float], took: float) -> None:
    began = turns(asked, took)
    cost = max(GAP, took / SHARE)
    for i, first in enumerate(began):
        for n, last in enumerate(began[i:]):
            assert last - first >= (n - BURST) * GAP + n * (cost - GAP) - 1e-6
