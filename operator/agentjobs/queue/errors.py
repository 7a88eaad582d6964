"""What can go wrong between a caller and the queue, as types that callers can act on."""

from __future__ import annotations


class QueueError(Exception):
    """Of the queue."""


class QueueUnavailable(QueueError):
    """The database cannot be reached or broke the connection. Nothing is known to have happened: try again.

    Every statement may be repeated: enqueue is idempotent by uid, an ack answers ``already``.
    """


class SchemaMismatch(QueueError):
    """The database's schema is not one that this version works with. Run ``agentjobs migrate up``."""


class GrantRefused(QueueError):
    """A role is not there, or this one may not grant; says who may."""


class JobRejected(QueueError, ValueError):
    """A job that cannot be stored; names the field, its value, and what to do."""

    def __init__(self, field: str, value: object, remedy: str) -> None:
        shown = repr(value)
        super().__init__(f"{field}: {shown if len(shown) <= 120 else shown[:117] + '...'}: {remedy}")
        self.field, self.value, self.remedy = field, value, remedy
