"""The ids of a job's trace. Pure: any process that knows the job computes the same, so nothing has to be stored or passed on.

One trace per job, whatever happens to it: every run of every round belongs to it. An id is derived from the uid by a
hash, not taken from it: samplers by ratio read the low half of a trace id as a random number, and a uid has fixed bits
there. https://www.w3.org/TR/trace-context/#randomness-of-trace-id
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1


class Part(StrEnum):
    """What of a job is a span of its own."""

    JOB = "job"
    """One round, numbered by it."""
    RUN = "run"
    """One run, numbered by it."""
    DELAY = "delay"
    """What passed before a run until it was due."""
    WAIT = "wait"
    """What passed from then until it began."""


@dataclass(frozen=True, slots=True)
class TraceParent:
    """A place in a trace: what is begun there becomes a child of ``span_id``."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    sampled: bool = True

    def __str__(self) -> str:
        """As W3C's header ``traceparent``."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    @classmethod
    def parse(cls, text: object) -> TraceParent | None:
        """None for what is not valid: https://www.w3.org/TR/trace-context/#traceparent-header."""
        match = _TRACEPARENT.fullmatch(text) if isinstance(text, str) else None
        return None if match is None else cls(match[1], match[2], bool(int(match[3], 16) & _SAMPLED))


def trace_id_of(uid: UUID, parent: TraceParent | None) -> str:
    """The caller's trace where it named one, else the job's own."""
    return parent.trace_id if parent is not None else _hash("trace", uid, 16)


def span_id_of(uid: UUID, part: Part, number: int) -> str:
    return _hash(f"{part}-{number}", uid, 8)


def _hash(what: str, uid: UUID, size: int) -> str:
    # all zeros would be invalid: one in 2^64, and then that span is refused by whoever reads it
    return hashlib.blake2b(uid.bytes, digest_size=size, person=what.encode()[:16]).hexdigest()
