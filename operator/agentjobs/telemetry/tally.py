"""What a process counts, for one event loop: a dictionary's worth of work per count, rendered when somebody scrapes.

The client library's own counters lock and look labels up anew each time: three times the work (measured), on the loop that
also claims and beats.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from agentjobs.telemetry.exposition import Family, Observed, family, histogram
from agentjobs.telemetry.metrics import Kind, Metric

Labels = tuple[str, ...]
"""Values in the order of the metric's labels."""


@dataclass(slots=True)
class Tally:
    """Counters and histograms by metric and label values."""

    _counts: dict[Metric, dict[Labels, float]] = field(default_factory=dict)
    _observed: dict[Metric, dict[Labels, Observed]] = field(default_factory=dict)

    def begin(self, metric: Metric, labels: Labels = ()) -> None:
        """Shows the series from now on, with zeros: a rate needs a beginning."""
        if metric.kind is Kind.COUNTER:
            self._counts.setdefault(metric, {}).setdefault(labels, 0.0)
        else:
            series = self._observed.setdefault(metric, {})
            series.setdefault(labels, Observed([0] * (len(metric.buckets) + 1)))

    def add(self, metric: Metric, labels: Labels, amount: float = 1.0) -> None:
        try:
            self._counts[metric][labels] += amount
        except KeyError:
            self.begin(metric, labels)
            self._counts[metric][labels] += amount

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        """Into the first bucket whose bound is not below the value."""
        try:
            seen = self._observed[metric][labels]
        except KeyError:
            self.begin(metric, labels)
            seen = self._observed[metric][labels]
        seen.counts[bisect_left(metric.buckets, value)] += 1
        seen.total += value

    def families(self) -> Iterator[Family]:
        """What was counted so far, in the order of the definitions."""
        for metric in Metric:
            if metric in self._counts:
                yield family(metric, self._counts[metric])
            elif metric in self._observed:
                yield histogram(metric, self._observed[metric])
