"""A span as plain values, as executors send it to the supervisor and as the supervisor makes its own.

The agent's author chose the names and values of an executor's span. For example, an integer beyond 64 bits
cannot be exported, and would lose the whole batch with spans of other jobs. So every name and value is
brought into bounds here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

Value = str | bool | int | float | Sequence["Value"]
Attributes = Mapping[str, Value]
MAX_CHARACTERS = 256 * 1024
"""The limit on all texts of one span. A larger span is exported without attributes and events."""
TRUNCATED = "agentjobs.truncated"
UNFINISHED = "agentjobs.unfinished"
"""The attribute of a span whose process ended before the span did."""

_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}")
_KINDS = frozenset({"INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"})
_MOST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Event:
    """An event in a span."""

    name: str
    time_ns: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """A link to another span."""

    trace_id: str
    span_id: str
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """A span, with OpenTelemetry's names; times in Unix nanoseconds, ids in hexadecimal digits."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str | None
    start_ns: int
    end_ns: int | None
    """None: the span has not ended."""
    kind: str = "INTERNAL"
    attributes: Attributes = field(default_factory=dict)
    events: Sequence[Event] = ()
    links: Sequence[Link] = ()
    error: str | None = None
    """The description of status ERROR; None: the status is another."""
    scope: str = "agentjobs"
    scope_version: str = ""

    def as_json(self) -> dict[str, Any]:
        """The span as a JSON object, without fields that have their default."""
        value: dict[str, Any] = {"n": self.name, "t": self.trace_id, "s": self.span_id, "b": self.start_ns}
        optional: dict[str, Any] = {
            "p": self.parent_id,
            "e": self.end_ns,
            "k": self.kind if self.kind != "INTERNAL" else None,
            "a": dict(self.attributes) or None,
            "v": [[e.name, e.time_ns, dict(e.attributes)] for e in self.events] or None,
            "l": [[link.trace_id, link.span_id, dict(link.attributes)] for link in self.links] or None,
            "x": self.error,
            "c": self.scope,
            "cv": self.scope_version or None,
        }
        return value | {key: one for key, one in optional.items() if one is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Span:
        """A span from ``as_json``, in bounds. Raises KeyError, TypeError or ValueError."""
        end, parent = value.get("e"), value.get("p")
        return bounded(
            cls(
                name=_text(value["n"]),
                trace_id=_id(value["t"], _TRACE_ID),
                span_id=_id(value["s"], _SPAN_ID),
                parent_id=None if parent is None else _id(parent, _SPAN_ID),
                start_ns=_time(value["b"]),
                end_ns=None if end is None else _time(end),
                kind=kind if (kind := value.get("k")) in _KINDS else "INTERNAL",
                attributes=clean(value.get("a", {})),
                events=tuple(Event(_text(n), _time(at), clean(a)) for n, at, a in value.get("v", ())),
                links=tuple(
                    Link(_id(t, _TRACE_ID), _id(s, _SPAN_ID), clean(a)) for t, s, a in value.get("l", ())
                ),
                error=None if (error := value.get("x")) is None else _text(error),
                scope=_text(value.get("c", "")),
                scope_version=_text(value.get("cv", "")),
            )
        )


def clean(attributes: Mapping[Any, Any] | None) -> dict[str, Value]:
    """The attributes as plain values that an exporter can encode: no lone surrogates, 64-bit integers."""
    return {_text(key): _plain(value) for key, value in (attributes or {}).items() if value is not None}


def bounded(span: Span) -> Span:
    """The span; without attributes and events where their texts are longer than MAX_CHARACTERS."""
    size = _size(span.attributes) + sum(_size(event.attributes) for event in span.events)
    if size <= MAX_CHARACTERS:
        return span
    return replace(span, attributes={TRUNCATED: True}, events=())


def _plain(value: Any) -> Value:
    match value:
        case bool() | float():
            return value
        case int():
            return value if -_MOST <= value <= _MOST else str(value)
        case list() | tuple():
            return [_plain(one) for one in value]
        case _:
            return _text(value)


def _text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()


def _id(value: object, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"not an id of a trace or span: {value!r:.80}")
    return value


def _time(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"not a time in nanoseconds: {value!r:.80}")
    return min(max(value, 0), _MOST)


def _size(value: object) -> int:
    match value:
        case str():
            return len(value)
        case Mapping():
            return sum(len(key) + _size(one) for key, one in value.items())
        case list() | tuple():
            return sum(8 + _size(one) for one in value)
        case _:
            return 8
