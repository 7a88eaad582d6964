"""The hint that keeps claims flat, and its bounds (H25)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentjobs.queue.claim_hint import PRIORITIES, RESCAN_SECONDS, ClaimHint


def pos(priority: int, place: int) -> int:
    return priority << 56 | place


def full(hint: ClaimHint, *places: tuple[str, int], rescan: bool, at: float = 0.0, took: float = 0.0) -> None:
    hint.claimed(places, short=False, rescan=rescan, started=at, ended=at + took)


def test_the_first_claim_looks_everywhere() -> None:
    assert ClaimHint().low(["a"], 0) is None


def test_after_a_full_claim_each_lane_starts_at_its_highest_place() -> None:
    hint = ClaimHint()
    full(hint, ("a", pos(2, 7)), ("a", pos(2, 9)), ("b", pos(0, 3)), rescan=True)
    low = hint.low(["b", "a"], 0.5)
    assert low is not None
    assert (len(low), low[0 * 2 + 0], low[2 * 2 + 1]) == (PRIORITIES * 2, pos(0, 3), pos(2, 9))
    assert sum(1 for place in low if place) == 2, "all other lanes start at their beginning"


def test_after_a_short_claim_the_next_one_looks_everywhere() -> None:
    hint = ClaimHint()
    hint.claimed([("a", pos(2, 7))], short=True, rescan=True, started=0, ended=0)
    assert hint.low(["a"], 0) is None


def test_a_mark_moves_back_only_by_a_rescan() -> None:
    hint = ClaimHint()
    full(hint, ("a", pos(2, 9)), rescan=True)
    full(hint, ("a", pos(2, 7)), rescan=False)
    low = hint.low(["a"], 0.5)
    assert low is not None
    assert low[2] == pos(2, 9)
    full(hint, ("a", pos(2, 8)), rescan=True)
    low = hint.low(["a"], 0.5)
    assert low is not None
    assert low[2] == pos(2, 8)


def test_a_rescan_leaves_the_lanes_that_gave_nothing() -> None:
    hint = ClaimHint()
    full(hint, ("a", pos(0, 9)), ("a", pos(2, 9)), rescan=True)
    full(hint, ("a", pos(2, 11)), rescan=True)
    low = hint.low(["a"], 0.5)
    assert low is not None
    assert low[0] == pos(0, 9), "its dead rows are not walked again"


@given(took=st.floats(0, 1000), calls=st.integers(1, 20))
def test_h25_a_rescan_comes_after_twenty_times_its_duration_but_within_one_to_five_seconds(
    took: float, calls: int
) -> None:
    hint = ClaimHint()
    full(hint, ("a", pos(2, 9)), rescan=True, took=took)
    shortest, longest = RESCAN_SECONDS
    due = took + min(longest, max(shortest, 20 * took))
    for _ in range(calls):  # claims in between change nothing about it
        full(hint, ("a", pos(2, 10)), rescan=False, at=took)
    assert hint.low(["a"], due - 0.001) is not None
    assert hint.low(["a"], due) is None
