"""The ids of a job's trace and its spans. Pure: any process computes the same ids from the job's uid.

A job has one trace for all runs of all its rounds. Each id is a hash of the uid: samplers by ratio read the
low half of a trace id as a random number, and a uid has fixed bits there.
https://www.w3.org/TR/trace-context/#randomness-of-trace-id
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
    """The kinds of spans of a job."""

    JOB = "job"
    """One round, by its number."""
    RUN = "run"
    """One run, by its number."""
    DELAY = "delay"
    """The wait before a run until it was due, by the run's number."""
    WAIT = "wait"
    """The wait from then until the run began, by its number."""


@dataclass(frozen=True, slots=True)
class TraceParent:
    """The parent of new spans: their trace, and the span that they become children of."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    sampled: bool = True

    def __str__(self) -> str:
        """The value of W3C's header ``traceparent``."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    @classmethod
    def parse(cls, text: object) -> TraceParent | None:
        """The parent in a header's value; None: not valid.
        https://www.w3.org/TR/trace-context/#traceparent-header."""
        match = _TRACEPARENT.fullmatch(text) if isinstance(text, str) else None
        return None if match is None else cls(match[1], match[2], bool(int(match[3], 16) & _SAMPLED))


def trace_id_of(uid: UUID, parent: TraceParent | None) -> str:
    """The trace that the caller named, else the job's own."""
    return parent.trace_id if parent is not None else _hash("trace", uid, 16)


def span_id_of(uid: UUID, part: Part, number: int) -> str:
    """The id of one of the job's spans; ``number``: of its round or run."""
    return _hash(f"{part}-{number}", uid, 8)


def _hash(what: str, uid: UUID, size: int) -> str:
    # one hash in 2^64 is all zeros, which is invalid: readers refuse that span
    return hashlib.blake2b(uid.bytes, digest_size=size, person=what.encode()[:16]).hexdigest()
