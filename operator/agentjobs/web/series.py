"""Minutes of the queue's series, added up to steps for a chart. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from agentjobs.api.meta import format_time
from agentjobs.queue.board import SeriesKey
from agentjobs.queue.board import SeriesPoint as Minute
from agentjobs.web.objects.series import RunSeries, RunSeriesPoint

LONGEST = timedelta(days=31)
STEPS = 200
"""About the most steps of a chart that names no step."""
ROUND_STEPS = (60, 300, 900, 3600, 6 * 3600, 86_400)
"""Seconds."""
MOST_STEPS = 1500
"""A day by the minute is 1440."""
KEYS, LEAST_KEYS = 100, 10
"""The most keys of an answer with ``STEPS`` steps, and with ever so many: those with the most ends; the others are one."""
OTHER = "(other)"


def step_for(span: timedelta) -> int:
    """The seconds of a step, so that there are about ``STEPS`` at most."""
    return next((step for step in ROUND_STEPS if span.total_seconds() / step <= STEPS), ROUND_STEPS[-1])


def floor(moment: datetime, step_seconds: int) -> datetime:
    """The beginning of the step, counted from the epoch."""
    seconds = int(moment.timestamp())
    return datetime.fromtimestamp(seconds - seconds % step_seconds, UTC)


def series_of(
    minutes: Sequence[Minute], by: SeriesKey, since: datetime, until: datetime, step_seconds: int
) -> RunSeries:
    """The minutes added up to steps. Beyond as many keys as an answer has, those with the fewest ends become one."""
    totals: dict[str, int] = {}
    for minute in minutes:
        totals[minute.key] = totals.get(minute.key, 0) + minute.n
    ranked = sorted(totals, key=lambda key: (-totals[key], key))
    most = most_keys((until - since).total_seconds() / step_seconds)
    shown = set(ranked if len(ranked) <= most else ranked[: most - 1])
    sums: dict[tuple[datetime, str, str], tuple[int, int, float]] = {}
    for minute in minutes:
        key = minute.key if minute.key in shown else OTHER
        place = floor(minute.minute, step_seconds), key, minute.outcome.value
        n, tokens, seconds = sums.get(place, (0, 0, 0.0))
        sums[place] = n + minute.n, tokens + minute.tokens, seconds + minute.seconds
    return RunSeries(
        since_time=format_time(since),
        until_time=format_time(until),
        step_seconds=step_seconds,
        by=by,
        items=[
            RunSeriesPoint(
                time=format_time(time),
                key=key,
                outcome=outcome,
                count=n,
                total_tokens=tokens,
                seconds=round(seconds, 3),
            )
            for (time, key, outcome), (n, tokens, seconds) in sorted(sums.items())
        ],
    )


def most_keys(steps: float) -> int:
    """The most keys of an answer with so many steps."""
    return max(LEAST_KEYS, min(KEYS, int(KEYS * STEPS / max(steps, 1))))
