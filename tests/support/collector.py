"""An OTLP/HTTP receiver: a real server that decodes what the real exporter sends.

from collector import Collector

with Collector() as collector:
    …                                          # in an environment with collector.environ
    (root,) = collector.named("job agents")
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass(frozen=True)
class Received:
    """One span."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty: it has none."""
    kind: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    resource: dict[str, Any]
    scope: str
    error: str | None
    """The description where its status is ERROR."""
    events: list[tuple[str, dict[str, Any]]]


class Collector:
    """Takes spans on a free loopback port. ``holds``: it accepts connections, and answers none."""

    def __init__(self, *, holds: bool = False) -> None:
        self.spans: list[Received] = []
        self.raw = b""
        """All bodies, to search for what must not be in them."""
        self.headers: list[dict[str, str]] = []
        self._lock = threading.RLock()
        self._arrived = threading.Condition(self._lock)
        self.release = threading.Event()
        if not holds:
            self.release.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector._take(self.path, body, dict(self.headers))
                collector.release.wait()
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environ(self) -> dict[str, str]:
        """What a worker needs; spans leave quickly."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def named(self, name: str, trace_id: str | None = None) -> list[Received]:
        return [one for one in self.of(trace_id) if one.name == name]

    def of(self, trace_id: str | None) -> list[Received]:
        """The spans of that trace (None: all), in the order of their beginning."""
        with self._lock:
            found = [one for one in self.spans if trace_id in (None, one.trace_id)]
        return sorted(found, key=lambda one: one.start_ns)

    def wait_for(self, name: str, trace_id: str | None = None, seconds: float = 60.0) -> Received:
        """The first span of that name; blocks until it is there."""
        self.wait_until(lambda: bool(self.named(name, trace_id)), seconds, what=f"a span {name!r}")
        return self.named(name, trace_id)[0]

    def wait_until(self, reached: Callable[[], bool], seconds: float = 60.0, what: str = "it") -> None:
        """Blocks; for other threads than an event loop's."""
        with self._arrived:
            if not self._arrived.wait_for(reached, seconds):
                raise AssertionError(f"{what} did not come in {seconds} s: {[s.name for s in self.spans]}")

    def _take(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        assert path == "/v1/traces", path
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            self.raw += body
            self.headers.append(headers)
            self.spans.extend(_spans(request))
            self._arrived.notify_all()


def children(spans: Iterable[Received], parent: Received) -> list[Received]:
    return [span for span in spans if span.parent_id == parent.span_id]


def _spans(request: ExportTraceServiceRequest) -> Iterator[Received]:
    for group in request.resource_spans:
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Received(
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    kind=SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    attributes=_attributes(span.attributes),
                    resource=_attributes(group.resource.attributes),
                    scope=scope.scope.name,
                    error=span.status.message if span.status.code == Status.STATUS_CODE_ERROR else None,
                    events=[(event.name, _attributes(event.attributes)) for event in span.events],
                )


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind) if kind else None
