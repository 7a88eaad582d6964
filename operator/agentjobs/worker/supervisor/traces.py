"""The traces of a worker's runs: the supervisor exports its executors' spans, and those of runs and jobs.

The supervisor does it since an executor that is killed cannot. Where tracing is off, nothing here does
anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from uuid import UUID

from agentjobs.queue.records import Ack, AckAnswer
from agentjobs.telemetry.job_spans import Attribute, job_name, run_span
from agentjobs.telemetry.spans import UNFINISHED, Span, Value
from agentjobs.telemetry.traceparent import Part, TraceParent, span_id_of, trace_id_of
from agentjobs.telemetry.tracing import Tracing
from agentjobs.worker.supervisor.reports import outcome_of, schedule_of
from agentjobs.worker.supervisor.runs import Run, Traced

OPEN_SPANS = 1000
"""The most open spans of one run that are remembered; others are exported only if they end."""


class Traces:
    """The traces of one worker process."""

    def __init__(self, tracing: Tracing | None, worker: str) -> None:
        self._tracing = tracing
        self._worker = worker
        self.job_acked: Callable[[UUID], None] | None = None
        """Called with the job of each acked run; the database knows whether the job has ended."""

    def begin(self, run: Run) -> None:
        """Decides whether the run is traced; alike for all runs of a job."""
        if self._tracing is None:
            return
        job = run.job
        parent = TraceParent.parse(job.payload.get("traceparent"))
        trace_id = trace_id_of(job.uid, parent)
        if self._tracing.samples(trace_id, job_name(job.queue), parent):
            run.traced = Traced(trace_id, parent)

    def saw(self, run: Run, span: Span) -> None:
        """Takes a span from an executor, when it begins and when it ends."""
        if self._tracing is None or run.traced is None:
            return
        if span.end_ns is not None:
            run.traced.open.pop(span.span_id, None)
            self._tracing.export(span)
        elif len(run.traced.open) < OPEN_SPANS:
            run.traced.open[span.span_id] = span

    def ended(self, run: Run) -> None:
        """Notes the run's end; exports the spans that the executor began and did not end: its process is gone."""
        traced = run.traced
        if self._tracing is None or traced is None:
            return
        # from the claim on: the run may have waited for its executor, whose own spans begin and end later by that
        traced.ended_ns = now = traced.begun_ns + int((time.monotonic() - run.claimed_at) * 1e9)
        for span in traced.open.values():
            attributes = {**span.attributes, UNFINISHED: True}
            self._tracing.export(replace(span, end_ns=now, attributes=attributes, error="unfinished"))
        traced.open.clear()

    def acked(self, run: Run, answer: AckAnswer) -> None:
        """Exports the span of an acked run. A lost run's span is exported at the end of its job
        (telemetry/job_ends.py)."""
        if self._tracing is None or run.traced is None or run.ack is None or answer is AckAnswer.LOST:
            return
        self._tracing.export(span_of(run, run.traced, run.ack, self._worker))
        if self.job_acked is not None:
            self.job_acked(run.job.uid)


def traceparent_of(run: Run) -> str:
    """The parent of the run's own spans, as a W3C traceparent; empty: the run is not traced."""
    if run.traced is None:
        return ""
    return str(TraceParent(run.traced.trace_id, span_id_of(run.job.uid, Part.RUN, run.job.run)))


def span_of(run: Run, traced: Traced, ack: Ack, worker: str) -> Span:
    """The span of the run itself, by this machine's clock, as ADK's spans are."""
    job, ended = run.job, run.ended
    names: Mapping[str, object] = run.names()
    found: dict[str, Value | None] = {
        Attribute.NAMESPACE.value: _text(names["namespace"]),
        Attribute.NAME.value: _text(names["name"]),
        Attribute.UID.value: str(job.uid),
        Attribute.ROUND.value: job.round,
        Attribute.ATTEMPT.value: job.attempt,
        Attribute.MAX_ATTEMPTS.value: job.max_attempts,
        Attribute.CONVERSATION.value: ack.session_id,
        Attribute.WORKER.value: worker,
        Attribute.SCHEDULE.value: _text(schedule_of(run).get("schedule")),
        Attribute.DELAY.value: round(ack.delay_seconds, 3) or None,
        Attribute.EVENTS.value: ack.event_count,
        Attribute.LLM_CALLS.value: ack.usage.llm_calls,
        Attribute.TOOL_CALLS.value: ack.usage.tool_calls,
        Attribute.PROMPT_TOKENS.value: ack.usage.prompt_tokens,
        Attribute.OUTPUT_TOKENS.value: ack.usage.output_tokens,
        Attribute.TOTAL_TOKENS.value: ack.usage.total_tokens,
        Attribute.CPU.value: round(ended.cpu_seconds, 3) if ended is not None else None,
        Attribute.MEMORY.value: (ended.max_resident_bytes or None) if ended is not None else None,
    }
    return run_span(
        job.uid,
        traced.parent,
        queue=job.queue,
        round_=job.round,
        run=job.run,
        start_ns=traced.begun_ns,
        end_ns=traced.ended_ns,
        outcome=outcome_of(run, ack),
        reason=ack.reason,
        attributes={key: value for key, value in found.items() if value not in (None, "")},
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
