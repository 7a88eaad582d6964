"""The window of a follower: each event once, whatever comes into the table in whatever order of times."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from agentjobs.transcript.window import LOOK_BACK, MOST_EVENTS, Window

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)
Row = tuple[datetime, str]


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def followed(commits: list[list[Row]], page: int = 7) -> list[Row]:
    """What a follower tells that reads after each commit, in pages, as the statement NEWS gives them."""
    window, table, told = Window(), set[Row](), list[Row]()
    for rows in commits:
        table.update(rows)
        while True:
            known = set(window.known())
            news = sorted(
                r for r in table if (window.floor is None or r[0] > window.floor) and r[1] not in known
            )
            for row in news[:page]:
                if window.tell(*row):
                    told.append(row)
            if len(news) < page:
                break
        assert len(window.known()) <= MOST_EVENTS
    return told


@pytest.mark.parametrize("seed", range(20))
def test_events_with_growing_times_are_told_once_and_in_order(seed: int) -> None:
    dice = random.Random(seed)
    rows = [(at(n * dice.choice([0.001, 5])), f"{dice.random()}") for n in range(1, 1500)]
    rows = sorted(rows)
    commits, left = [], rows
    while left:
        size = dice.randint(1, 40)
        commits.append(left[:size])
        left = left[size:]
    assert followed(commits) == rows


@pytest.mark.parametrize("seed", range(20))
def test_events_that_come_late_or_share_a_time_are_told_once(seed: int) -> None:
    dice = random.Random(seed)
    rows = [(at(n // 3 - dice.choice([0, 0, 0, 1, 7, 60])), f"{n}") for n in range(1500)]
    told = followed([[row] for row in rows])
    assert len(told) == len(set(told))
    assert set(told) == set(rows), "none is later than the follower looks back"


def test_an_event_older_than_the_window_is_not_told_and_none_is_told_twice() -> None:
    late = (at(0), "late")
    rows = [(at(LOOK_BACK.total_seconds() * n), f"{n}") for n in range(1, 9)]
    assert followed([*[[row] for row in rows], [late], rows]) == rows


def test_more_events_of_one_time_than_a_window_holds_are_told_once() -> None:
    rows = [(at(0), f"{n:04}") for n in range(MOST_EVENTS)]
    assert followed([rows[:100], rows]) == rows
