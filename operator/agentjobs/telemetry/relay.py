"""The executor's side of tracing: it sends the spans of ADK and of the agent's own code to the supervisor.

A span is sent when it begins and when it ends, so a killed process loses none. There is no exporter, thread
or connection here: nothing to flush before the exit, and nothing that a fork could break.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from agentjobs.telemetry.spans import Event, Link, Span, bounded, clean
from agentjobs.telemetry.traceparent import TraceParent

log = logging.getLogger(__name__)

Send = Callable[[dict[str, Any]], None]
_TRUE = frozenset({"true", "1", "yes", "on"})
_IN_SPANS = frozenset({"SPAN_ONLY", "SPAN_AND_EVENT"})
_TEXTS = frozenset({"exception.message", "exception.stacktrace"})


def shows_texts(environ: Mapping[str, str]) -> bool:
    """True: one of ADK's variables asks for the texts of the conversation in spans."""
    return (
        environ.get("ADK_CAPTURE_MESSAGE_CONTENT_IN_SPANS", "").strip().lower() in _TRUE
        or environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "").strip().upper() in _IN_SPANS
    )


def warm() -> None:
    """Imports the modules that ``begin`` needs, in the template, before the fork."""
    import opentelemetry.sdk.trace.sampling  # noqa: F401 - for its side effect


def begin(traceparent: str, send: Send) -> None:
    """Sends the spans of this task, and of tasks that it starts, to ``send``, as children of ``traceparent``.

    To be called once per process. A provider that the agent's modules have set is kept, with one more
    processor.
    """
    from opentelemetry import context, trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

    parent = TraceParent.parse(traceparent)
    if parent is None:
        return

    class Relay(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            tell(span)

        def on_end(self, span: Any) -> None:
            tell(span)

    texts = shows_texts(os.environ)

    def tell(span: Any) -> None:
        try:
            if span.context.trace_flags.sampled:
                send(span_of(span, texts=texts).as_json())
        except Exception:  # no defect here may fail the agent
            log.warning("a span could not be sent to the supervisor", exc_info=True)

    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        # the supervisor's sampler has decided; the traceparent says how
        sampler = ParentBased(ALWAYS_ON)
        provider = TracerProvider(sampler, Resource.get_empty(), shutdown_on_exit=False)
        trace.set_tracer_provider(provider)
    provider.add_span_processor(Relay())
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if parent.sampled else trace.TraceFlags.DEFAULT)
    remote = trace.SpanContext(
        int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags
    )
    context.attach(trace.set_span_in_context(trace.NonRecordingSpan(remote)))


def span_of(span: Any, *, texts: bool) -> Span:
    """A span of the SDK as plain values.

    :param texts: False: without the texts of exceptions, which quote prompts, answers and arguments of tools.
        Their types stay.
    """
    events = [_event(event.name, event.timestamp, event.attributes, texts=texts) for event in span.events]
    error = None
    if span.status.status_code.name == "ERROR":
        error = str(span.status.description or "") if texts else _type_of(span, events)
    scope = span.instrumentation_scope
    return bounded(
        Span(
            name=str(span.name),
            trace_id=f"{span.context.trace_id:032x}",
            span_id=f"{span.context.span_id:016x}",
            parent_id=None if span.parent is None else f"{span.parent.span_id:016x}",
            start_ns=int(span.start_time),
            end_ns=span.end_time,
            kind=span.kind.name,
            attributes=clean(span.attributes),
            events=events,
            links=[
                Link(f"{k.context.trace_id:032x}", f"{k.context.span_id:016x}", clean(k.attributes))
                for k in span.links
            ],
            error=error,
            scope=str(scope.name) if scope is not None else "",
            scope_version=str(scope.version or "") if scope is not None else "",
        )
    )


def _event(name: str, time_ns: int, attributes: Mapping[str, Any] | None, *, texts: bool) -> Event:
    kept = clean(attributes)
    if not texts and name == "exception":
        kept = {key: value for key, value in kept.items() if key not in _TEXTS}
    return Event(name, time_ns, kept)


def _type_of(span: Any, events: list[Event]) -> str:
    """The type of the span's error; empty: the span does not say it."""
    told = (span.attributes or {}).get("error.type")
    if told is None:
        told = next(
            (e.attributes.get("exception.type") for e in reversed(events) if e.name == "exception"), ""
        )
    return str(told or "")
