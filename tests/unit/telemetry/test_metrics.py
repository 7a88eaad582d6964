"""The definitions of metrics follow Prometheus' habits."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agentjobs.controller.metrics.counters import API_REQUESTS, EVENTS_SEEN, Counters
from agentjobs.telemetry.exposition import family, page
from agentjobs.telemetry.metrics import OTHER, Kind, Metric

UNITS = ("_seconds", "_bytes", "_total")


@pytest.mark.parametrize("metric", Metric, ids=str)
def test_a_metric_has_a_plain_name_a_help_and_labels(metric: Metric) -> None:
    assert re.fullmatch(r"agentjobs_[a-z]+(_[a-z]+)*", metric)
    assert metric.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.help.endswith("."), "a sentence"
    assert all(re.fullmatch(r"[a-z]+", label) for label in metric.labels)
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
    assert list(metric.buckets) == sorted(metric.buckets)
    if metric.kind is Kind.HISTOGRAM:
        assert metric.endswith(UNITS)


def test_what_stands_for_the_rest_is_no_name_that_a_queue_can_have() -> None:
    assert not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", OTHER)


def test_a_meter_counts_by_labels_and_shows_what_it_counted() -> None:
    meter = Counters()
    meter.add(API_REQUESTS, verb="PATCH", resource="agentjobs/status", result="200")
    meter.add(API_REQUESTS, 2, verb="PATCH", resource="agentjobs/status", result="409")
    meter.add(EVENTS_SEEN, taken='a "quoted"\nvalue')
    assert meter.total(API_REQUESTS, verb="PATCH") == 3
    assert meter.total("agentjobs_operator_api_requests_total", result="409") == 2
    text = page(meter.families())
    families = {f"{f.name}_total": f for f in text_string_to_metric_families(text)}
    assert set(families) == {API_REQUESTS, EVENTS_SEEN}
    assert families[API_REQUESTS].documentation == API_REQUESTS.help
    values = {s.labels["result"]: s.value for s in families[API_REQUESTS].samples}
    assert values == {"200": 1, "409": 2}


def test_a_gauge_without_labels_is_a_number() -> None:
    assert "agentjobs_outbox_depth 3.0\n" in page([family(Metric.OUTBOX_DEPTH, 3)])
