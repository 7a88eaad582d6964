"""Drawings: numbers as the bars of small charts, which templates write as SVG. All pure.

A chart has a height of ``HEIGHT`` and as many columns of ``STEP`` as it has places, of which each holds one bar. Colours
come from classes in app.css; each bar has a title, and beside each chart stands what it says in words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from agentjobs.web.objects.schedules import ScheduleRun
from agentjobs.web.objects.series import RunSeries
from agentjobs.web.ui import words

HEIGHT, STEP = 24, 6
LEAST = 2
"""Height of the lowest bar: what happened is seen, however little it was."""

MOST_ROWS = 8
OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: from ``y`` down to the chart's foot."""

    x: int
    y: int
    height: int
    tone: str
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars, the width of their chart, and what they say in words."""

    bars: Sequence[Bar]
    width: int
    label: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a series: all that has one key."""

    key: str
    outcome: str
    """Empty: of several outcomes."""
    total: int
    most: int
    """Of one bar."""
    chart: Chart


def height(value: float, most: float) -> int:
    """The height of a bar among others of which the highest has ``most``; 0 for nothing."""
    return 0 if value <= 0 or most <= 0 else max(LEAST, round(HEIGHT * value / most))


def lasts(runs: Sequence[ScheduleRun]) -> Chart:
    """The last jobs of a schedule, the oldest first: as high as they took long, in the colours of their states."""
    most = max((run.seconds or 0.0 for run in runs), default=0.0)
    bars = []
    for place, run in enumerate(runs):
        tall = max(height(run.seconds or 0.0, most), 2 * LEAST)
        took = "" if run.seconds is None else f", {words.duration(run.seconds)}"
        reason = f" {run.reason}" if run.reason and run.reason != run.state else ""
        title = f"{words.clock(run.time)} UTC: {run.state}{reason}{took}"
        bars.append(Bar(place * STEP, HEIGHT - tall, tall, words.tone(run.state), title))
    counts = Counter(run.state for run in runs)
    said = ", ".join(f"{number} {state}" for state, number in counts.most_common())
    return Chart(bars, STEP * len(runs), f"The last {words.plural(len(runs), 'job')}: {said}")


def rows(series: RunSeries, places: int, *, tokens: bool = False) -> list[Row]:
    """What ended, a row for each outcome and key, or the tokens by key alone: the most first.

    :param places: into how many equal parts the series' time is cut, of which each has one bar.
    """
    since, until = words.moment(series.since_time), words.moment(series.until_time)
    part = (until - since) / places
    counts: dict[tuple[str, str], Counter[int]] = {}
    for point in series.items:
        place = min(max(int((words.moment(point.time) - since) / part), 0), places - 1)
        key = (point.key, "" if tokens else point.outcome)
        counts.setdefault(key, Counter())[place] += point.total_tokens if tokens else point.count
    totals = {key: found.total() for key, found in counts.items() if found.total()}
    order = sorted(totals, key=lambda key: (-totals[key], key))
    shown = order if len(order) <= MOST_ROWS else order[: MOST_ROWS - 1]
    merged: Counter[int] = Counter()
    for key in order[len(shown) :]:
        merged.update(counts[key])
    made = [_row(key, outcome, counts[key, outcome], since, part, places) for key, outcome in shown]
    return [*made, _row(OTHERS, "", merged, since, part, places)] if merged else made


def _row(key: str, outcome: str, counts: Counter[int], since: datetime, part: timedelta, places: int) -> Row:
    most = max(counts.values())
    tone = words.tone(outcome) if outcome else "live"
    bars = []
    for place, count in sorted(counts.items()):
        tall = height(count, most)
        at = (since + place * part).astimezone(UTC).strftime("%H:%M")
        bars.append(Bar(place * STEP, HEIGHT - tall, tall, tone, f"{at} UTC: {words.number(count)}"))
    total = counts.total()
    label = f"{words.number(total)}, at most {words.number(most)} in {words.duration(part.total_seconds())}"
    return Row(key, outcome, total, most, Chart(bars, STEP * places, label))
