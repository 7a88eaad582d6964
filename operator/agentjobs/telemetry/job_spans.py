"""The spans of a job: one per round, and below it one for each wait and each run. Pure.

A span is made when its round, wait or run has ended. Its id can be computed beforehand, so a run's own spans
can name a parent that does not exist yet, and no process keeps a span open for the hours that a job may take.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from agentjobs.telemetry.spans import Attributes, Span, Value
from agentjobs.telemetry.traceparent import Part, TraceParent, span_id_of, trace_id_of


class Attribute(StrEnum):
    """The attributes of our own spans. A test compares docs/telemetry.md with them."""

    # OpenTelemetry's semantic conventions
    MESSAGING_SYSTEM = "messaging.system"
    MESSAGING_OPERATION = "messaging.operation.type"
    MESSAGING_OPERATION_NAME = "messaging.operation.name"
    MESSAGING_DESTINATION = "messaging.destination.name"
    MESSAGING_MESSAGE_ID = "messaging.message.id"
    CONVERSATION = "gen_ai.conversation.id"
    ERROR_TYPE = "error.type"
    # our own
    NAMESPACE = "agentjobs.job.namespace"
    NAME = "agentjobs.job.name"
    UID = "agentjobs.job.uid"
    STATE = "agentjobs.job.state"
    ROUND = "agentjobs.round"
    RUN = "agentjobs.run"
    ATTEMPT = "agentjobs.attempt"
    ATTEMPTS = "agentjobs.attempts"
    MAX_ATTEMPTS = "agentjobs.max_attempts"
    OUTCOME = "agentjobs.outcome"
    REASON = "agentjobs.reason"
    WORKER = "agentjobs.worker"
    SCHEDULE = "agentjobs.schedule"
    DELAY = "agentjobs.delay_seconds"
    EVENTS = "agentjobs.event_count"
    LLM_CALLS = "agentjobs.usage.llm_calls"
    TOOL_CALLS = "agentjobs.usage.tool_calls"
    # not gen_ai.usage.*: backends sum those up over all spans, and ADK's have them already
    PROMPT_TOKENS = "agentjobs.usage.prompt_tokens"
    OUTPUT_TOKENS = "agentjobs.usage.output_tokens"
    TOTAL_TOKENS = "agentjobs.usage.total_tokens"
    CPU = "agentjobs.cpu_seconds"
    MEMORY = "agentjobs.max_resident_bytes"


LOST, ASKED = "lost", "ask"
"""Two kinds of runs, by the queue's names."""
FAILED_OUTCOMES = frozenset({"retry", "discard", LOST})
_FAILED_STATES = frozenset({"Failed", "Rejected"})


@dataclass(frozen=True, slots=True)
class RunTimes:
    """The times of one ended run, by the database's clock, for the spans of its round."""

    run: int
    attempt: int
    worker: str
    started_at: datetime
    ended_at: datetime
    kind: str
    """As in column ``kind``. ``lost``: no supervisor exports the span, since the worker is dead."""
    reason: str
    next_at: datetime | None
    """When the job was due again; None: it was not."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The last round of a job that has ended."""

    uid: UUID
    namespace: str
    name: str
    queue: str
    traceparent: str
    """The caller's traceparent, from the object's annotation; empty: none."""
    round: int
    state: str
    reason: str
    attempts: int
    max_attempts: int
    begun_at: datetime
    due_at: datetime
    finished_at: datetime
    acked: bool
    """True: a run's ack ended the job. False: a user, a deadline or the loss of a worker did."""
    runs: Sequence[RunTimes]


def job_name(queue: str) -> str:
    """The name of a round's span."""
    return f"job {queue}"


def run_span(
    uid: UUID,
    parent: TraceParent | None,
    *,
    queue: str,
    round_: int,
    run: int,
    start_ns: int,
    end_ns: int,
    outcome: str,
    reason: str,
    attributes: Attributes,
) -> Span:
    """The span of a run, below its round's. ADK's spans of the run are below it."""
    failed = outcome in FAILED_OUTCOMES
    return Span(
        name=f"process {queue}",
        trace_id=trace_id_of(uid, parent),
        span_id=span_id_of(uid, Part.RUN, run),
        parent_id=span_id_of(uid, Part.JOB, round_),
        start_ns=start_ns,
        end_ns=end_ns,
        kind="CONSUMER",
        attributes={
            Attribute.MESSAGING_SYSTEM.value: "agentjobs",
            Attribute.MESSAGING_OPERATION.value: "process",
            Attribute.MESSAGING_OPERATION_NAME.value: "process",
            Attribute.MESSAGING_DESTINATION.value: queue,
            Attribute.MESSAGING_MESSAGE_ID.value: str(uid),
            Attribute.RUN.value: run,
            Attribute.OUTCOME.value: outcome,
            **({Attribute.REASON.value: reason} if reason else {}),
            **({Attribute.ERROR_TYPE.value: reason or outcome} if failed else {}),
            **attributes,
        },
        error=(reason or outcome) if failed else None,
    )


def spans_of(job: Timeline) -> Iterator[Span]:
    """The spans of a round's waits, of its lost runs, which no supervisor has exported, and of the round, as the last:
    whoever sees it has the others."""
    parent = TraceParent.parse(job.traceparent)
    due, since, delay = job.due_at, job.begun_at, "scheduled"
    for run in job.runs:
        yield from _waits(job, parent, since, due, run, delay)
        if run.kind == LOST:
            yield run_span(
                job.uid,
                parent,
                queue=job.queue,
                round_=job.round,
                run=run.run,
                start_ns=_ns(run.started_at),
                end_ns=_ns(run.ended_at),
                outcome=LOST,
                reason=run.reason,
                attributes=names(job) | {Attribute.WORKER.value: run.worker},
            )
        since, due, delay = run.ended_at, run.next_at or run.ended_at, "retrying"
        if run.kind == ASKED:  # no time of the answer is known: the wait lasts until the next run began
            due, delay = job.finished_at, "input required"
    yield _round(job, parent)


def names(job: Timeline) -> dict[str, Value]:
    """The attributes that name the job."""
    return {
        Attribute.NAMESPACE.value: job.namespace,
        Attribute.NAME.value: job.name,
        Attribute.UID.value: str(job.uid),
        Attribute.ROUND.value: job.round,
    }


def _round(job: Timeline, parent: TraceParent | None) -> Span:
    failed = job.state in _FAILED_STATES
    return Span(
        name=job_name(job.queue),
        trace_id=trace_id_of(job.uid, parent),
        span_id=span_id_of(job.uid, Part.JOB, job.round),
        parent_id=parent.span_id if parent is not None else None,
        start_ns=_ns(job.begun_at),
        end_ns=_ns(job.finished_at),
        attributes={
            **names(job),
            Attribute.MESSAGING_DESTINATION.value: job.queue,
            Attribute.STATE.value: job.state,
            Attribute.REASON.value: job.reason,
            Attribute.ATTEMPTS.value: job.attempts,
            Attribute.MAX_ATTEMPTS.value: job.max_attempts,
            **({Attribute.ERROR_TYPE.value: job.reason} if failed else {}),
        },
        error=job.reason if failed else None,
    )


def _waits(
    job: Timeline, parent: TraceParent | None, since: datetime, due: datetime, run: RunTimes, delay: str
) -> Iterator[Span]:
    """The spans of a wait: until the job was due, and from then until the run began."""
    due = min(max(since, due), run.started_at)
    spells = [
        (Part.DELAY, delay, since, due),
        (Part.WAIT, "queued", due, run.started_at),
    ]
    for part, name, begin, end in spells:
        if end > begin:
            yield Span(
                name=name,
                trace_id=trace_id_of(job.uid, parent),
                span_id=span_id_of(job.uid, part, run.run),
                parent_id=span_id_of(job.uid, Part.JOB, job.round),
                start_ns=_ns(begin),
                end_ns=_ns(end),
                attributes={
                    Attribute.MESSAGING_DESTINATION.value: job.queue,
                    Attribute.UID.value: str(job.uid),
                    Attribute.RUN.value: run.run,
                },
            )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _ns(at: datetime) -> int:
    """Nanoseconds since the epoch, exact, unlike a float of seconds."""
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000
