"""From definitions to what Prometheus reads. The only module that imports prometheus_client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from agentjobs.telemetry.metrics import Kind, Metric

Family = CounterMetricFamily | GaugeMetricFamily
Series = Mapping[tuple[str, ...], float]
"""Values by label values, in the order of the metric's labels."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each of ours, of no use


def family(metric: Metric, series: Series | float) -> Family:
    """A gauge or a counter with these values; a number where it has no labels."""
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    made = kind(metric.value, metric.help, labels=tuple(metric.labels))
    for labels, value in series.items() if isinstance(series, Mapping) else [((), series)]:
        made.add_metric(labels, value)
    return made


def page(families: Iterable[Family], registry: CollectorRegistry | None = None) -> str:
    """The text of ``/metrics``: these families, then what the registry counted."""
    text = _rendered(_Given(list(families)))
    return text + (prometheus_client.generate_latest(registry).decode() if registry is not None else "")


def counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    return Counter(metric.value, metric.help, tuple(metric.labels), registry=registry)


def histogram(metric: Metric, registry: CollectorRegistry) -> Histogram:
    return Histogram(
        metric.value, metric.help, tuple(metric.labels), buckets=metric.buckets, registry=registry
    )


class _Given(Collector):
    def __init__(self, families: list[Family]) -> None:
        self.families = families

    def collect(self) -> Iterable[Family]:
        return self.families


def _rendered(collector: Collector) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return prometheus_client.generate_latest(registry).decode()
