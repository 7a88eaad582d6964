"""Steps of a chart add up to what the minutes say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agentjobs.queue.board import SeriesPoint
from agentjobs.queue.records import State
from agentjobs.web.series import KEYS, LEAST_KEYS, OTHER, STEPS, most_keys, series_of, step_for

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def point(minute: int, key: str = "a", outcome: State = State.COMPLETE, n: int = 1) -> SeriesPoint:
    return SeriesPoint(NOON + timedelta(minutes=minute), key, outcome, n, 10 * n, 0.5)


def test_minutes_of_one_step_are_added_up_by_outcome() -> None:
    minutes = [point(0), point(4), point(4, outcome=State.FAILED), point(5, n=3), point(1, "b")]
    found = series_of(minutes, "queue", NOON, NOON + timedelta(hours=1), 300)
    assert [(p.time[11:16], p.key, p.outcome, p.count, p.total_tokens) for p in found.items] == [
        ("12:00", "a", "Complete", 2, 20),
        ("12:00", "a", "Failed", 1, 10),
        ("12:00", "b", "Complete", 1, 10),
        ("12:05", "a", "Complete", 3, 30),
    ]


def test_more_keys_than_a_chart_shows_become_one_and_none_is_lost() -> None:
    minutes = [point(0, f"k{i}", n=1 + i) for i in range(KEYS + 50)]
    found = series_of(minutes, "agent", NOON, NOON, 60)
    assert len(found.items) == KEYS
    assert OTHER in {one.key for one in found.items}
    assert sum(one.count for one in found.items) == sum(one.n for one in minutes)


@pytest.mark.parametrize("hours", [0, 1, 3, 24, 24 * 7, 24 * 31])
def test_a_chart_that_names_no_step_has_no_more_than_it_can_show(hours: int) -> None:
    assert hours * 3600 / step_for(timedelta(hours=hours)) <= STEPS


@pytest.mark.parametrize("steps", [0, 1, STEPS, 2 * STEPS, 1500, 100_000])
def test_an_answer_with_more_steps_has_fewer_keys(steps: int) -> None:
    assert LEAST_KEYS <= most_keys(steps) <= KEYS
    assert most_keys(steps) * steps <= max(KEYS * STEPS, LEAST_KEYS * steps)
