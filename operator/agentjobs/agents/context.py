"""What a tool can learn about the job that it runs for.

    from agentjobs.agents.context import current_job

    def charge(card: str, cents: int) -> dict:
        return payments.charge(card, cents, idempotency_key=current_job().key("charge", card, cents))

A tool that was running when its process died runs again (at least once): the key is what lets the other side see
that both are the same call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.values.names import own_session


@dataclass(frozen=True, slots=True)
class JobContext:
    """The attempt that runs now."""

    uid: str
    namespace: str
    name: str
    queue: str
    run: int
    """Claims so far, this one included; never refunded."""
    attempt: int
    """Charged runs of this round, from 1."""
    max_attempts: int
    round: int
    """1, and one more for every retry of the finished job."""

    @property
    def idempotency_key(self) -> str:
        """Stable over all runs, attempts and rounds of the job."""
        return own_session(self.uid)

    def key(self, *parts: object) -> str:
        """Stable over runs for one call: give it the tool's name and the arguments that make the call unique."""
        told = "\x1f".join([self.idempotency_key, *(repr(part) for part in parts)])
        return f"{self.idempotency_key}-{hashlib.sha256(told.encode()).hexdigest()[:24]}"


_current: ContextVar[JobContext] = ContextVar("agentjobs_job")


def current_job() -> JobContext:
    """The job that this code runs for; works in tools and callbacks, also in the tool threads.

    :raises LookupError: outside of a run, such as at import.
    """
    try:
        return _current.get()
    except LookupError:
        raise LookupError(
            "current_job() was called outside of a job's run. Call it inside a tool or callback, not at import."
        ) from None


def context_of(spec: AttemptSpec) -> JobContext:
    return JobContext(
        uid=spec.uid,
        namespace=spec.namespace,
        name=spec.name,
        queue=spec.queue,
        run=spec.run,
        attempt=spec.attempt,
        max_attempts=spec.max_attempts,
        round=spec.round,
    )


@contextmanager
def running(spec: AttemptSpec) -> Iterator[JobContext]:
    """Makes ``spec`` the current job of this task and of what it starts."""
    context = context_of(spec)
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
