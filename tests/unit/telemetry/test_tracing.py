"""The OTEL_* variables alone decide whether, and where to."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from agentjobs.telemetry import tracing
from agentjobs.telemetry.job_spans import Attribute
from agentjobs.telemetry.relay import shows_texts
from agentjobs.telemetry.signals import Signal
from agentjobs.telemetry.spans import TRUNCATED, UNFINISHED
from agentjobs.telemetry.traceparent import TraceParent
from agentjobs.telemetry.tracing import asked_for, obstacle, open_tracing

PAGE = (Path(__file__).parents[3] / "docs" / "telemetry.md").read_text()
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "mine", "OTEL_TRACES_SAMPLER": "always_on"}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318/v1/metrics"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, True),
    ],
    ids=repr,
)
def test_an_endpoint_or_an_exporter_asks_for_traces(environ: dict[str, str], wanted: bool) -> None:
    assert asked_for(environ) is wanted


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, ""),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'"),
        (
            {
                **ENDPOINT,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            "",
        ),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin'"),
    ],
    ids=repr,
)
def test_what_cannot_be_done_is_said_with_its_variable(environ: dict[str, str], said: str) -> None:
    found = obstacle(environ)
    assert said in found
    assert bool(said) is bool(found)


def test_a_missing_exporter_is_said_and_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "EXPORTER", "opentelemetry.exporter.nowhere.http")
    with caplog.at_level(logging.ERROR):
        assert open_tracing(ENDPOINT, service="s", instance="i") is None
    (record,) = caplog.records
    assert "pip install 'agentjobs[otel]'" in str(vars(record))


def test_a_variable_that_cannot_be_read_turns_tracing_off_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
    assert open_tracing(ENDPOINT, service="s", instance="i") is None
    assert "soon" in str([vars(record) for record in caplog.records])


@pytest.mark.parametrize(
    ("sampler", "parent", "sampled"),
    [
        ("", None, True),
        ("", False, False),
        ("", True, True),
        ("always_off", True, False),
        ("parentbased_always_off", True, True),
        ("parentbased_always_off", None, False),
    ],
)
def test_the_standard_samplers_decide(
    monkeypatch: pytest.MonkeyPatch, sampler: str, parent: bool | None, sampled: bool
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler) if sampler else monkeypatch.delenv(
        "OTEL_TRACES_SAMPLER", raising=False
    )
    opened = open_tracing(ENDPOINT, service="s", instance="i")
    assert opened is not None
    try:
        given = None if parent is None else TraceParent("a" * 32, "b" * 16, sampled=parent)
        assert opened.samples("a" * 32, "job agents", given) is sampled
    finally:
        opened.close(0.5)


@pytest.mark.parametrize(
    ("environ", "texts"),
    [
        ({}, False),
        ({"ADK_CAPTURE_MESSAGE_CONTENT_IN_SPANS": "false"}, False),
        ({"ADK_CAPTURE_MESSAGE_CONTENT_IN_SPANS": "true"}, True),
        ({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "EVENT_ONLY"}, False),
        ({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "span_only"}, True),
    ],
    ids=repr,
)
def test_texts_are_shown_only_where_one_of_adks_variables_says_so(
    environ: dict[str, str], texts: bool
) -> None:
    assert shows_texts(environ) is texts


def test_every_attribute_and_every_signal_is_on_the_page_and_no_other() -> None:
    rows = re.findall(r"^\| (`.+?) \|", PAGE, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`([\w.]+)`", row)}
    assert {name for name in told if re.match(r"(job|schedule)\.", name)} == {s.value for s in Signal}
    attributes = {name for name in told if re.match(r"(agentjobs|messaging|gen_ai|error)\.", name)}
    assert attributes == {a.value for a in Attribute} | {TRUNCATED, UNFINISHED}
