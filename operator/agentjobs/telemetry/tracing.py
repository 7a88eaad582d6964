"""The export of spans to a collector, by OTLP: the supervisor does it for its executors too.

The standard ``OTEL_*`` variables configure it
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/). Where none asks for
traces, nothing of OpenTelemetry is imported. A thread of the SDK sends spans from a queue in memory. No
caller waits for the collector; spans beyond the queue's size are dropped.
"""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from agentjobs.telemetry.log import tell
from agentjobs.telemetry.spans import Span
from agentjobs.telemetry.traceparent import TraceParent

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import SpanContext

log = logging.getLogger(__name__)

EXPORTER = "opentelemetry.exporter.otlp.proto.http"
CLOSE_SECONDS = 2.0
"""How long the export of the last spans may take at the end of a process."""
SECRETS = frozenset(
    f"OTEL_EXPORTER_OTLP_{signal}{name}"
    for signal in ("", "TRACES_")
    for name in ("HEADERS", "CLIENT_KEY", "CLIENT_CERTIFICATE")
)
"""Variables with secrets, which only a process that exports needs."""


def asked_for(environ: Mapping[str, str]) -> bool:
    """True: the environment names an endpoint or an exporter, and no variable turns traces off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if exporter:
        return exporter.lower() != "none"
    return any(environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in ("ENDPOINT", "TRACES_ENDPOINT"))


def obstacle(environ: Mapping[str, str]) -> str:
    """Why traces cannot be exported as asked, and what to do; empty: they can."""
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if exporter != "otlp":
        return f"OTEL_TRACES_EXPORTER is {exporter!r}: only otlp and none are known here; set otlp"
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if protocol := environ.get(name, "").strip():
            if protocol == "http/protobuf":
                break
            return (
                f"{name} is {protocol!r}: only http/protobuf is spoken here; remove it, and name the collector's "
                f"port for HTTP (4318 as a rule) in the endpoint"
            )
    if not _installed():
        return (
            "the package opentelemetry-exporter-otlp-proto-http is not installed: "
            "pip install 'agentjobs[otel]', or unset the OTEL_* variables"
        )
    return ""


def _installed() -> bool:
    try:
        return importlib.util.find_spec(EXPORTER) is not None
    except ModuleNotFoundError:
        return False


def open_tracing(environ: Mapping[str, str], *, service: str, instance: str) -> Tracing | None:
    """The exporter of this process; None: not asked for, or not possible, and the log says why. Never raises.

    :param service: ``service.name`` where neither OTEL_SERVICE_NAME nor OTEL_RESOURCE_ATTRIBUTES names one.
    :param instance: ``service.instance.id``, in the same case.
    """
    if not asked_for(environ):
        return None
    why = obstacle(environ)
    if not why:
        try:
            tracing = _open(service, instance)
        except Exception as error:  # a wrong number, an unreadable certificate
            why = f"{type(error).__name__}: {error}"
        else:
            tell(log, "tracing.on", endpoint=tracing.endpoint)
            return tracing
    tell(log, "tracing.off", level=logging.ERROR, why=f"no trace is exported: {why}")
    return None


def _open(service: str, instance: str) -> Tracing:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider

    own = Resource(
        {"service.name": service, "service.instance.id": instance, "telemetry.sdk.language": "python"}
    )
    exporter = OTLPSpanExporter()
    # the provider reads OTEL_TRACES_SAMPLER and its argument; it is used for nothing else
    sampler = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False).sampler
    endpoint = str(getattr(exporter, "_endpoint", "")).split("?")[0]
    return Tracing(exporter, own.merge(OTELResourceDetector().detect()), sampler, endpoint)


class Tracing:
    """The exporter of one process. To be called from one thread, which never waits."""

    def __init__(
        self, exporter: SpanExporter, resource: Resource, sampler: Sampler, endpoint: str = ""
    ) -> None:
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self.endpoint = endpoint
        self._resource = resource
        self._sampler = sampler
        self._processor = BatchSpanProcessor(exporter)

    def samples(self, trace_id: str, name: str, parent: TraceParent | None) -> bool:
        """The sampler's decision on a trace, the same for all its spans in every process. Never raises."""
        from opentelemetry.sdk.trace.sampling import Decision
        from opentelemetry.trace import NonRecordingSpan, set_span_in_context

        context = None
        if parent is not None:
            remote = _context(parent.trace_id, parent.span_id, remote=True, sampled=parent.sampled)
            context = set_span_in_context(NonRecordingSpan(remote))
        try:
            decision = self._sampler.should_sample(context, int(trace_id, 16), name).decision
        except Exception:  # OTEL_TRACES_SAMPLER may name anybody's sampler
            log.exception("the sampler failed; trace %s is not sampled", trace_id)
            return False
        return decision is Decision.RECORD_AND_SAMPLE

    def export(self, span: Span) -> None:
        """Queues a span; drops and logs it beyond OTEL_BSP_MAX_QUEUE_SIZE. Never raises."""
        try:
            self._processor.on_end(_readable(span, self._resource))
        except Exception:  # no defect of tracing may fail a run
            log.exception("the span %r could not be queued", span.name)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Sends the spans that are left, within this time."""
        # in a thread: the SDK's shutdown may take 30 s
        closing = threading.Thread(target=self._processor.shutdown, name="tracing-close", daemon=True)
        closing.start()
        closing.join(seconds)
        if closing.is_alive():
            tell(log, "tracing.unsent", level=logging.WARNING, endpoint=self.endpoint, seconds=seconds)


def _readable(span: Span, resource: Resource) -> ReadableSpan:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace.status import Status, StatusCode

    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id),
        parent=None if span.parent_id is None else _context(span.trace_id, span.parent_id),
        resource=resource,
        attributes=span.attributes,  # type: ignore[arg-type]  # lists are sequences
        events=[Event(e.name, e.attributes, e.time_ns) for e in span.events],  # type: ignore[arg-type]
        links=[trace.Link(_context(link.trace_id, link.span_id), link.attributes) for link in span.links],  # type: ignore[arg-type]
        kind=trace.SpanKind[span.kind],
        instrumentation_scope=InstrumentationScope(span.scope, span.scope_version or None),
        status=Status(StatusCode.UNSET) if span.error is None else Status(StatusCode.ERROR, span.error),
        start_time=span.start_ns,
        end_time=span.start_ns if span.end_ns is None else max(span.end_ns, span.start_ns),
    )


def _context(trace_id: str, span_id: str, *, remote: bool = False, sampled: bool = True) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=remote, trace_flags=flags)
