"""When a run's span begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from agentjobs.queue.records import Ack, AckAnswer, AckKind
from agentjobs.telemetry.spans import Span
from agentjobs.telemetry.tracing import Tracing
from agentjobs.worker.process.ended import Ended
from agentjobs.worker.supervisor.runs import Run
from agentjobs.worker.supervisor.traces import Traces
from worker_builders import claimed


class Kept(SpanExporter):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


@pytest.mark.parametrize("waited", [0.0, 5.0])
def test_a_runs_span_lasts_from_the_claim_to_its_end_also_where_it_waited_for_its_executor(
    waited: float,
) -> None:
    exporter = Kept()
    tracing = Tracing(exporter, Resource({}), ALWAYS_ON)
    traces = Traces(tracing, "worker")
    run = Run(claimed(), UUID(int=9))
    traces.begin(run)
    assert run.traced is not None
    run.claimed_at -= waited
    begun = run.traced.begun_ns + int(waited * 1e9)
    traces.saw(run, Span("invocation", run.traced.trace_id, "1" * 16, "2" * 16, begun, None))
    run.ended = Ended(duration_seconds=0.0)
    traces.ended(run)
    run.ack = Ack(run.job.id, run.job.token, AckKind.COMPLETE)
    traces.acked(run, AckAnswer.OK)
    tracing.close()
    spans = {span.name: span for span in exporter.spans}
    inner, outer = spans["invocation"], spans["process agents"]
    assert outer.start_time is not None
    assert inner.end_time is not None
    assert outer.end_time is not None
    assert outer.start_time <= begun <= inner.end_time <= outer.end_time
    assert outer.end_time - outer.start_time >= waited * 1e9
