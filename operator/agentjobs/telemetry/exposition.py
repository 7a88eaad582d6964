"""The text of ``/metrics``, made from numbers. The only module that imports prometheus_client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from agentjobs.telemetry.metrics import Kind, Metric

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
Series = Mapping[tuple[str, ...], float]
"""Values by label values, which are in the order of the metric's labels."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Observed:
    """One series of a histogram: a count for each bucket, and one for values above all of them."""

    counts: list[int]
    total: float = 0.0


def family(metric: Metric, series: Series | float) -> Family:
    """A gauge or a counter with these values; a single number where the metric has no labels."""
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    made = kind(metric.value, metric.help, labels=tuple(metric.labels))
    for labels, value in series.items() if isinstance(series, Mapping) else [((), series)]:
        made.add_metric(labels, value)
    return made


def histogram(metric: Metric, series: Mapping[tuple[str, ...], Observed]) -> Family:
    """A histogram with these series."""
    made = HistogramMetricFamily(metric.value, metric.help, labels=tuple(metric.labels))
    bounds = [*(str(float(bound)) for bound in metric.buckets), "+Inf"]
    for labels, seen in series.items():
        made.add_metric(labels, list(zip(bounds, accumulate(seen.counts), strict=True)), seen.total)
    return made


def page(families: Iterable[Family]) -> str:
    """The text of ``/metrics``."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(list(families)))
    return generate_latest(registry).decode()


class _Given(Collector):
    def __init__(self, families: list[Family]) -> None:
        self.families = families

    def collect(self) -> Iterable[Family]:
        return self.families
