"""Drawings: numbers as the bars of small charts, which templates write as SVG. All pure.

A chart has a height of ``HEIGHT`` and as many columns of ``STEP`` as it has places, of which each holds one bar. Colours
come from classes in app.css; each bar has a title, and beside each chart stands what it says in words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from agentjobs.web.objects.schedules import ScheduleRun
from agentjobs.web.ui import words

HEIGHT, STEP = 24, 6
LEAST = 2
"""Height of the lowest bar: what happened is seen, however little it was."""


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
