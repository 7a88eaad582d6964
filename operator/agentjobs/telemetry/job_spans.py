"""The spans that say where a job was: one per round, and in it what it waited for and its runs. Pure.

They are made when the thing that they show has ended, with ids that can be computed beforehand; so no process needs to
hold a span open for the hours that a job may take, and a run's own spans can name a parent that does not exist yet.
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
    """Every attribute of our own spans; docs/telemetry.md is compared with it."""

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
"""Kinds of runs, as the queue names them."""
FAILED_OUTCOMES = frozenset({"retry", "discard", LOST})
_FAILED_STATES = frozenset({"Failed", "Rejected"})


@dataclass(frozen=True, slots=True)
class RunTimes:
    """One ended run, by the database's clock."""

    run: int
    attempt: int
    worker: str
    started_at: datetime
    ended_at: datetime
    kind: str
    """``lost``: its worker's heartbeat stopped, so nobody else tells of it."""
    reason: str
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """The last round of a job that has ended."""

    uid: UUID
    namespace: str
    name: str
    queue: str
    traceparent: str
    """As the object's annotation named it; empty: it did not."""
    round: int
    state: str
    reason: str
    attempts: int
    max_attempts: int
    begun_at: datetime
    due_at: datetime
    finished_at: datetime
    acked: bool
    """A run's ack ended it; False: a user, a deadline or the loss of a worker did."""
    runs: Sequence[RunTimes]


def job_name(queue: str) -> str:
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
    """One run: a child of its round. What ADK tells of the run is below it."""
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
    """The round, what it waited for, and those of its runs that nobody else can tell of."""
    parent = TraceParent.parse(job.traceparent)
    yield _round(job, parent)
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
        if run.kind == ASKED:  # nothing tells when the answer came: until the next run began
            due, delay = job.finished_at, "input required"


def names(job: Timeline) -> dict[str, Value]:
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
    """Until it was due (by its spec, or by what the run before asked for), and from then until a slot was free."""
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
    """Exact, unlike a float of seconds."""
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000
