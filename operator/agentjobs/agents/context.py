"""The current job, for tools and callbacks: its identity, its attempt, and idempotency keys.

    from agentjobs.agents.context import current_job

    def charge(card: str, cents: int) -> dict:
        return payments.charge(card, cents, idempotency_key=current_job().key("charge", card, cents))

A tool that was running when its process died is called again by the next attempt: tools run at least once.
The key is the same in both calls, so the other side can tell that they are one.

Runs in the executor.
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
    """The job and the attempt that this process runs."""

    uid: str
    namespace: str
    name: str
    queue: str
    run: int
    """Number of this run: claims of the job so far, this one included. Never refunded."""
    attempt: int
    """Number of this attempt in the round, from 1. A refunded run and the next one share it."""
    max_attempts: int
    round: int
    """Number of the round: 1, and one more for each retry of the finished job."""

    @property
    def idempotency_key(self) -> str:
        """A key of the job, the same in all its runs, attempts and rounds."""
        return own_session(self.uid)

    def key(self, *parts: object) -> str:
        """A key of one tool call, the same in each run that repeats the call.

        :param parts: the tool's name, and those of its arguments that make the call unique.
        """
        told = "\x1f".join([self.idempotency_key, *(repr(part) for part in parts)])
        return f"{self.idempotency_key}-{hashlib.sha256(told.encode()).hexdigest()[:24]}"


_current: ContextVar[JobContext] = ContextVar("agentjobs_job")


def current_job() -> JobContext:
    """The job that the caller works for. To be called in tools and callbacks, also in ADK's tool threads.

    :raises LookupError: no run has begun, for example while a module is imported.
    """
    try:
        return _current.get()
    except LookupError:
        raise LookupError(
            "current_job() was called outside of a job's run. Call it inside a tool or callback, not at import."
        ) from None


def context_of(spec: AttemptSpec) -> JobContext:
    """The context of the attempt that ``spec`` describes."""
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
    """Makes ``spec`` the current job of this task and of the tasks and threads that it starts."""
    context = context_of(spec)
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
