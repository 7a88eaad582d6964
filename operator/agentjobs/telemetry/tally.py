"""The counts of a process, for one event loop: dictionaries, made into metrics when somebody scrapes.

The client library's own counters take a lock and look their labels up at each count. That is three times the
work (measured), on the loop that also claims and beats.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from agentjobs.telemetry.exposition import Family, Observed, family, histogram
from agentjobs.telemetry.metrics import Kind, Metric

Labels = tuple[str, ...]
"""Label values, in the order of the metric's labels."""


@dataclass(slots=True)
class Tally:
    """Counters and histograms by metric and label values."""

    _counts: dict[Metric, dict[Labels, float]] = field(default_factory=dict)
    _observed: dict[Metric, dict[Labels, Observed]] = field(default_factory=dict)

    def begin(self, metric: Metric, labels: Labels = ()) -> None:
        """Shows a series with zeros: a rate needs a first value."""
        if metric.kind is Kind.COUNTER:
            self._counts.setdefault(metric, {}).setdefault(labels, 0.0)
        else:
            series = self._observed.setdefault(metric, {})
            series.setdefault(labels, Observed([0] * (len(metric.buckets) + 1)))

    def add(self, metric: Metric, labels: Labels, amount: float = 1.0) -> None:
        """Adds to a counter."""
        try:
            self._counts[metric][labels] += amount
        except KeyError:
            self.begin(metric, labels)
            self._counts[metric][labels] += amount

    def observe(self, metric: Metric, labels: Labels, value: float) -> None:
        """Counts a value of a histogram, in the first bucket whose bound is not below it."""
        try:
            seen = self._observed[metric][labels]
        except KeyError:
            self.begin(metric, labels)
            seen = self._observed[metric][labels]
        seen.counts[bisect_left(metric.buckets, value)] += 1
        seen.total += value

    def families(self) -> Iterator[Family]:
        """The metrics counted so far, in the order of their definitions."""
        for metric in Metric:
            if metric in self._counts:
                yield family(metric, self._counts[metric])
            elif metric in self._observed:
                yield histogram(metric, self._observed[metric])
