"""Which finished children go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agentjobs.schedule.history import Child, surplus

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def child(hours: int, succeeded: bool | None = True, manual: bool = False) -> Child:
    return Child(f"watch-{hours}", f"uid-{hours}", NOON + hours * HOUR, succeeded, manual)


def gone(
    *children: Child,
    successful: int = 3,
    failed: int = 1,
    last_tick: datetime | None = NOON + 100 * HOUR,
    run_is_pending: bool = False,
) -> list[str]:
    chosen = surplus(
        children,
        successful_limit=successful,
        failed_limit=failed,
        last_tick=last_tick,
        run_is_pending=run_is_pending,
    )
    return [one.uid for one in chosen]


def test_the_oldest_of_each_outcome_go() -> None:
    children = [child(hours, succeeded=hours % 2 == 0) for hours in (9, 2, 4, 1, 8, 6, 3)]
    assert gone(*children) == ["uid-1", "uid-2", "uid-3"]


def test_unfinished_children_stay_and_do_not_count() -> None:
    assert gone(*(child(hours, None) for hours in range(9)), child(10), successful=1) == []


@pytest.mark.parametrize(
    ("last_hour", "expected"), [(None, []), (0, []), (1, ["uid-1"]), (2, ["uid-1", "uid-2"])]
)
def test_h29_a_child_goes_only_when_its_tick_is_stored(last_hour: int | None, expected: list[str]) -> None:
    last_tick = None if last_hour is None else NOON + last_hour * HOUR
    assert gone(child(1), child(2, succeeded=False), successful=0, failed=0, last_tick=last_tick) == expected


def test_h29_a_requested_run_goes_only_when_its_request_is_stored() -> None:
    assert gone(child(1, manual=True), successful=0, run_is_pending=True, last_tick=None) == []
    assert gone(child(1, manual=True), successful=0, last_tick=None) == ["uid-1"]


def test_a_child_whose_tick_is_unreadable_is_left_alone() -> None:
    assert gone(Child("watch-x", "uid-x", None, True), successful=0) == []


def test_limits_of_zero_keep_none() -> None:
    assert gone(child(1), child(2, succeeded=False), successful=0, failed=0) == ["uid-1", "uid-2"]
