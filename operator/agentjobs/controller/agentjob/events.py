"""Kubernetes Events of an AgentJob, derived from its rows: names are fixed, so a repeat is AlreadyExists.

Where the API server takes Events, they are posted before the status is confirmed: a crash in between
repeats them harmlessly. Several runs that ended since the last status write share one Event (an outage's
backlog is summed up, not replayed).
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#events
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from agentjobs.controller.agentjob.status import reason_of
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.kit.queue_access import concerns_priority
from agentjobs.controller.kit.status_text import cut_text, time_text
from agentjobs.queue.records import AttemptRecord, JobView, ObjectChange, ObjectRef, OutboxEntry, State
from agentjobs.values.durations import duration_text
from agentjobs.values.reasons import Reason


class EventReason(StrEnum):
    """Every reason of an Event on an AgentJob; monitoring may match on them."""

    JOB_COMPLETED = "JobCompleted"
    """Normal: the agent gave its answer."""
    ATTEMPT_FAILED = "AttemptFailed"
    """Warning: why, and when it is tried again."""
    ATTEMPT_TIMEOUT = "AttemptTimeout"
    """Warning: an attempt took longer than attemptTimeoutSeconds."""
    JOB_FAILED = "JobFailed"
    """Warning: the job ended without an answer."""
    JOB_CANCELLED = "JobCancelled"
    """Normal: somebody asked for it."""
    JOB_REJECTED = "JobRejected"
    """Warning: the spec can never run."""
    WORKER_LOST = "WorkerLost"
    """Warning: the heartbeat of the run's worker stopped."""
    MODEL_RATE_LIMITED = "ModelRateLimited"
    """Warning: 429; no attempt charged. Posted at the first of several in a row."""
    MODEL_UNAVAILABLE = "ModelUnavailable"
    """Warning: the provider is down; no attempt charged."""
    MODEL_AUTH_FAILED = "ModelAuthFailed"
    """Warning: the provider refused the key; no attempt charged."""
    INPUT_REQUIRED = "InputRequired"
    """Normal: a tool asks a person whether it may be called; the question is in status.inputRequest."""
    INPUT_RESPONSE_REFUSED = "InputResponseRefused"
    """Warning: the annotation answers nothing that is asked."""
    RETRY_REFUSED = "RetryRefused"
    """Warning: the annotation asked for a round that cannot be."""
    QUEUE_NOT_ALLOWED = "QueueNotAllowed"
    """Warning: the queue is not open to the namespace; the job waits, or goes on as it was."""
    PRIORITY_NOT_ALLOWED = "PriorityNotAllowed"
    """Warning: the queue allows no such priority; the job waits, or goes on as it was."""
    TRACEPARENT_IGNORED = "TraceparentIgnored"
    """Warning: the annotation of a new object is no W3C traceparent; the job runs all the same."""

    STATUS_REDUCED = "StatusReduced"
    """Warning: the API server does not take the whole status; a part of it is shown."""

    @property
    def normal(self) -> bool:
        return self in (EventReason.JOB_COMPLETED, EventReason.JOB_CANCELLED, EventReason.INPUT_REQUIRED)


MODEL_REASONS = {e.value: e for e in (EventReason.MODEL_RATE_LIMITED, EventReason.MODEL_UNAVAILABLE, EventReason.MODEL_AUTH_FAILED)}  # fmt: skip


def events_of(entry: OutboxEntry) -> list[ObjectEvent]:
    """The Events of a job that are not posted: at most one of runs that failed, one of a question, one of
    its end."""
    job = entry.job
    if job.ref is None or job.imported_status is not None:
        return []
    fresh = [record for record in job.attempts_log if record.run > entry.posted_run]
    last = _ending_run(job)
    # the Event of the job's end covers the run that ended it
    failed = [r for r in fresh if r is not last and _worth_telling(r, job.attempts_log)]
    found = (_runs_of(job, failed), _question_of(job, fresh), _end_of(entry, last))
    return [event for event in found if event is not None]


def posted_run_of(entry: OutboxEntry) -> int:
    """The last run that ``events_of`` covers."""
    return max([entry.posted_run, *(record.run for record in entry.job.attempts_log)])


def traceparent_ignored(change: ObjectChange, why: str, now: datetime) -> ObjectEvent:
    """Once per object, when its job is accepted."""
    return ObjectEvent(
        change.uid,
        change.ref,
        "accepted",
        EventReason.TRACEPARENT_IGNORED,
        f"{why[0].upper()}{why[1:]}.",
        now,
        now,
    )


def retry_refused(uid: UUID, ref: ObjectRef, asked: str, why: str, now: datetime) -> ObjectEvent:
    """The annotation asked for a new round, and the queue said no."""
    key = hashlib.sha256(asked.encode()).hexdigest()[:8]
    return ObjectEvent(
        uid, ref, key, EventReason.RETRY_REFUSED, f"A retry was asked for, but {why}.", now, now
    )


def response_refused(uid: UUID, ref: ObjectRef, value: str, why: str, now: datetime) -> ObjectEvent:
    """The annotation answers nothing that is asked."""
    key = hashlib.sha256(value.encode()).hexdigest()[:8]
    text = f"The answer was not taken: {why}."
    return ObjectEvent(uid, ref, key, EventReason.INPUT_RESPONSE_REFUSED, text, now, now)


def not_allowed(change: ObjectChange, why: str, now: datetime) -> ObjectEvent:
    """What the object asks for is a privilege that its namespace does not have; once per text."""
    reason = EventReason.PRIORITY_NOT_ALLOWED if concerns_priority(why) else EventReason.QUEUE_NOT_ALLOWED
    key = f"g{change.generation}-{hashlib.sha256(why.encode()).hexdigest()[:8]}"
    return ObjectEvent(change.uid, change.ref, key, reason, f"{why}.", now, now)


def status_reduced(uid: UUID, ref: ObjectRef, why: str, now: datetime) -> ObjectEvent:
    """Once per refusal in the API server's words."""
    key = hashlib.sha256(why.encode()).hexdigest()[:8]
    text = f"Only a part of the status is shown: the API server does not take the whole one: {why}"
    return ObjectEvent(uid, ref, key, EventReason.STATUS_REDUCED, text, now, now)


# runs ------------------------------------------------------------------------------------------------


def _worth_telling(record: AttemptRecord, log: Sequence[AttemptRecord]) -> bool:
    """Whether a run deserves an Event: not a drain or suspend, and of several waits for the model in a row
    the first."""
    if record.outcome in ("release", "cancel", "complete", "ask"):
        return False
    if record.outcome != "snooze":
        return record.reason != Reason.CLAIM_LOST.value
    before = [r for r in log if r.run < record.run]
    return not before or (before[-1].outcome, before[-1].reason) != ("snooze", record.reason)


def _runs_of(job: JobView, records: Sequence[AttemptRecord]) -> ObjectEvent | None:
    if not records or job.ref is None:
        return None
    last = records[-1]
    if last.outcome == "lost":
        reason = EventReason.WORKER_LOST
    elif last.outcome == "snooze":
        reason = MODEL_REASONS.get(last.reason, EventReason.ATTEMPT_FAILED)
    elif last.reason == EventReason.ATTEMPT_TIMEOUT.value:
        reason = EventReason.ATTEMPT_TIMEOUT
    else:
        reason = EventReason.ATTEMPT_FAILED
    text = _run_text(job, last)
    if len(records) > 1:
        text = f"{len(records)} runs ended without an answer since {time_text(records[0].ended_at)}; the last: {text}"
    return ObjectEvent(
        job.uid, job.ref, str(last.run), reason, text, records[0].ended_at, last.ended_at, len(records)
    )


def _run_text(job: JobView, record: AttemptRecord) -> str:
    charged = (
        f"Attempt {record.attempt} of {job.max_attempts}"
        if record.charged
        else f"Run {record.run}, no attempt charged"
    )
    after = duration_text((record.ended_at - record.started_at).total_seconds())
    text = f"{charged}: {record.reason or 'failed'} after {after}"
    if record.message:
        text += f": {cut_text(record.message, 600)}"
    if record.next_at is not None:
        text += f"; next attempt at {time_text(record.next_at)}"
    return text


def _question_of(job: JobView, fresh: Sequence[AttemptRecord]) -> ObjectEvent | None:
    """The last question. Names the tool and nothing of the conversation."""
    asks = [record for record in fresh if record.outcome == "ask"]
    if not asks or job.ref is None:
        return None
    last = asks[-1]
    wants_payload = job.input_request is not None and job.input_request.kind
    verb, payload = ("answer", " --payload JSON") if wants_payload else ("approve|reject", "")
    text = (
        f"{cut_text(last.message, 300)} See status.inputRequest; answer with: "
        f"kubectl agentjobs {verb} {job.ref.name} -n {job.ref.namespace}{payload}"
    )
    return ObjectEvent(
        job.uid, job.ref, str(last.run), EventReason.INPUT_REQUIRED, text, last.ended_at, last.ended_at
    )


# ends ------------------------------------------------------------------------------------------------


def _ending_run(job: JobView) -> AttemptRecord | None:
    """The run that ended the job; None where it ended, or may go on, without one."""
    last = job.attempts_log[-1] if job.attempts_log else None
    return last if last is not None and job.state.final and last.ended_at == job.finished_at else None


def _end_of(entry: OutboxEntry, last: AttemptRecord | None) -> ObjectEvent | None:
    """The Event of the job's end, once.

    A job that ended while waiting (cancelled, out of time) has no attempt row to record that its Event was
    posted. So its Event is posted only if the job ended at most 5 s before it was marked in the outbox;
    re-projections of old jobs (after a wipe of their status, say) post nothing.
    """
    job = entry.job
    if not job.state.final or job.ref is None or job.finished_at is None:
        return None
    if last is not None:
        if last.run <= entry.posted_run:
            return None
        key = str(last.run)
    else:
        if job.finished_at < entry.marked_at - timedelta(seconds=5):
            return None
        key = f"round-{job.round}"
    reason, text = _end_text(job)
    return ObjectEvent(job.uid, job.ref, key, reason, text, job.finished_at, job.finished_at)


def _end_text(job: JobView) -> tuple[EventReason, str]:
    why = f"{reason_of(job)}: {cut_text(job.message, 700)}" if job.message else reason_of(job)
    if job.state is State.COMPLETE:
        assert job.finished_at is not None
        took = duration_text((job.finished_at - (job.started_at or job.finished_at)).total_seconds())
        return EventReason.JOB_COMPLETED, (
            f"Completed in {took}, attempt {job.attempts} of {job.max_attempts}: {job.event_count} events, "
            f"{job.usage.total_tokens} tokens"
        )
    if job.state is State.CANCELLED:
        return EventReason.JOB_CANCELLED, why
    if job.state is State.REJECTED:
        return EventReason.JOB_REJECTED, why
    return EventReason.JOB_FAILED, f"Failed after {job.attempts} of {job.max_attempts} attempts: {why}"
