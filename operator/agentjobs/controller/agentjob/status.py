"""The status of an AgentJob as a function of its rows: whole, deterministic, small.

Every time in it comes from a row and none from a clock, so a status that was wiped is rebuilt as it was,
byte for byte except ``revision`` (invariant 11).
"""

from __future__ import annotations

from datetime import datetime

from agentjobs.api.agentjob_status import (
    ARTIFACT_NAME_MAX_LENGTH,
    ATTEMPT_MESSAGE_MAX_LENGTH,
    ATTEMPT_OUTPUT_MAX_LENGTH,
    INPUT_SCHEMA_MAX_LENGTH,
    INPUT_TEXT_MAX_LENGTH,
    RECENT_ATTEMPTS_MAX_ITEMS,
    RESULT_MAX_LENGTH,
)
from agentjobs.api.conditions import ConditionType
from agentjobs.controller.kit.status_text import MESSAGE_CHARACTERS, cut_text, time_text
from agentjobs.queue.records import AttemptRecord, JobView, State
from agentjobs.values.durations import duration_text
from agentjobs.values.json import JsonObject
from agentjobs.values.names import own_session
from agentjobs.values.reasons import Reason
from agentjobs.values.saved_file import SavedFile
from agentjobs.values.text import cut, json_tail

WORKER_CHARACTERS = 253


def status_of(job: JobView, revision: int, *, output: bool = False) -> JsonObject:
    """The whole ``status`` of the object that mirrors ``job``; keys without a value are left out.

    :param revision: the outbox version that the job was read at: the CRD's transition rule refuses a
        lower one, so an older operator cannot overwrite a newer status (H3).
    :param output: with the end of what the last run printed, which may hold texts.
    """
    if job.imported_status is not None:
        return {**job.imported_status, "revision": max(revision, _int(job.imported_status.get("revision")))}
    reason = reason_of(job)
    status: JsonObject = {
        "observedGeneration": job.generation,
        "revision": revision,
        "state": job.state.value,
        "reason": reason,
        "message": cut_text(_message_of(job), MESSAGE_CHARACTERS) or None,
        "conditions": conditions_of(job),
        "attempts": job.attempts,
        "round": job.round,
        "nextAttemptTime": time_text(job.next_attempt_at),
        "queuedTime": time_text(_queued(job)),
        "startTime": time_text(job.started_at),
        "completionTime": time_text(job.finished_at),
        "duration": _duration_of(job),
        "worker": cut_text(job.worker, WORKER_CHARACTERS) or None,
        "sessionID": _session_of(job) if job.started_at else None,
        "eventCount": job.event_count if job.started_at else None,
        "usage": job.usage.as_json() if job.started_at else None,
        "inputRequest": _input_request(job),
        "artifacts": [_artifact(file) for file in job.files] or None,
        "artifactCount": job.file_count if job.file_count > len(job.files) else None,
        "recentAttempts": _recent_attempts(job, output),
        "traceID": job.trace_id or None,
    }
    if job.state is State.COMPLETE and job.result is not None:
        text, shortened = cut(job.result, RESULT_MAX_LENGTH)
        status["result"] = text
        if shortened or job.result_truncated:
            status["resultTruncated"] = True
    return {key: value for key, value in status.items() if value is not None}


def minimal_status(status: JsonObject) -> JsonObject:
    """The part of a status that every CRD of this resource accepts: for one that is older than this
    operator."""
    keys = ("observedGeneration", "revision", "state", "reason", "message", "conditions", "attempts")
    return {key: status[key] for key in keys if key in status}


def reason_of(job: JobView) -> str:
    """Why the job is where it is; never empty."""
    if job.reason:
        return job.reason
    defaults = {
        State.SCHEDULED: Reason.SCHEDULED,
        State.SUSPENDED: Reason.SUSPENDED,
        State.QUEUED: Reason.QUEUED,
        State.RUNNING: Reason.RUNNING,
        State.RETRYING: Reason.BACKOFF,
        State.INPUT_REQUIRED: Reason.INPUT_REQUIRED,
        State.COMPLETE: Reason.COMPLETED,
        State.CANCELLED: Reason.CANCELLED,
        State.REJECTED: Reason.INVALID_SPEC,
    }
    return str(defaults.get(job.state, job.state).value)


# conditions ------------------------------------------------------------------------------------------


def conditions_of(job: JobView) -> list[JsonObject]:
    """The conditions, in one order; each ``lastTransitionTime`` is a time of the job's rows."""
    found = [
        _accepted(job),
        _suspended(job),
        _running(job),
        _input_required(job),
        _end(job, ConditionType.COMPLETE, job.state is State.COMPLETE),
        _end(job, ConditionType.FAILED, job.state in (State.FAILED, State.CANCELLED, State.REJECTED)),
        _end(job, ConditionType.FINISHED, job.state.final),
    ]
    return [condition for condition in found if condition is not None]


def _accepted(job: JobView) -> JsonObject:
    """False also of a job that runs, where its object asks for more than it may: it goes on as it was."""
    if job.state is State.REJECTED:
        return _condition(job, ConditionType.ACCEPTED, False, reason_of(job), job.message, job.accepted_at)
    if job.reason == Reason.INPUT_UNAVAILABLE.value:
        return _condition(job, ConditionType.ACCEPTED, False, reason_of(job), job.message, job.since)
    if job.refused:
        reason = Reason.QUEUE_NOT_ALLOWED.value
        return _condition(job, ConditionType.ACCEPTED, False, reason, job.refused, job.refused_changed_at)
    return _condition(job, ConditionType.ACCEPTED, True, Reason.ACCEPTED.value, "", job.refused_changed_at)


_NOT_SUSPENDED = frozenset({Reason.QUEUE_NOT_ALLOWED.value, Reason.INPUT_UNAVAILABLE.value})
"""Reasons of jobs that wait in the state Suspended and are not accepted, which the condition Accepted says alone."""


def _suspended(job: JobView) -> JsonObject | None:
    if job.state is State.SUSPENDED and job.reason not in _NOT_SUSPENDED:
        since = job.suspended_at or job.since
        return _condition(job, ConditionType.SUSPENDED, True, reason_of(job), job.message, since)
    if job.resumed_at is None:
        return None
    ended = job.resumed_at == job.finished_at
    reason = reason_of(job) if ended else Reason.RESUMED.value
    return _condition(job, ConditionType.SUSPENDED, False, reason, "", job.resumed_at)


def _running(job: JobView) -> JsonObject | None:
    if job.state is State.RUNNING:
        since = job.run_started_at or job.since
        return _condition(job, ConditionType.RUNNING, True, Reason.RUNNING.value, "", since)
    ended = job.attempts_log[-1].ended_at if job.attempts_log else job.finished_at
    if not job.run or ended is None:
        return None
    return _condition(job, ConditionType.RUNNING, False, reason_of(job), "", ended)


def _input_required(job: JobView) -> JsonObject | None:
    if job.state is State.INPUT_REQUIRED:
        return _condition(job, ConditionType.INPUT_REQUIRED, True, reason_of(job), job.message, job.since)
    asked = next(
        (r.ended_at for r in reversed(job.attempts_log) if r.outcome == "ask" and r.round == job.round), None
    )
    answer = job.input_answered
    if answer is not None and (asked is None or answer.at >= asked):
        reason = _ANSWERED[answer.approved]
        by = f", by {answer.by} as the answer says" if answer.by else ""
        why = f": {answer.reason}" if answer.reason else ""
        return _condition(
            job, ConditionType.INPUT_REQUIRED, False, reason.value, f"tool {answer.tool}{by}{why}", answer.at
        )
    if asked is None:
        return None
    since = job.finished_at or job.suspended_at or asked
    return _condition(job, ConditionType.INPUT_REQUIRED, False, reason_of(job), "", since)


def _end(job: JobView, kind: ConditionType, true: bool) -> JsonObject | None:
    if true:
        reason, message = _how_it_ended(job)
        return _condition(job, kind, True, reason, message, job.finished_at or job.since)
    if job.round > 1 and kind is not ConditionType.COMPLETE:
        # a Complete job has no next round, so that condition was never true
        return _condition(job, kind, False, Reason.RETRY_REQUESTED.value, "", job.round_at)
    return None


def _how_it_ended(job: JobView) -> tuple[str, str]:
    """The reason and message of the end: that no attempt was left counts before what went wrong in the last."""
    if not job.exhausted:
        return reason_of(job), job.message
    told = f"attempt {job.attempts} of {job.max_attempts} was the last: {reason_of(job)}"
    return Reason.ATTEMPTS_EXHAUSTED.value, f"{told}: {job.message}" if job.message else told


def _condition(
    job: JobView, kind: ConditionType, true: bool, reason: str, message: str, since: datetime
) -> JsonObject:
    return {
        "type": kind.value,
        "status": "True" if true else "False",
        "observedGeneration": job.generation,
        "lastTransitionTime": time_text(since),
        "reason": reason,
        "message": cut_text(message, MESSAGE_CHARACTERS),
    }


# fields ----------------------------------------------------------------------------------------------


def _message_of(job: JobView) -> str:
    if job.state is State.RUNNING and not job.message and job.step:
        return f"at {job.step}"
    return job.message


_ANSWERED = {True: Reason.INPUT_APPROVED, False: Reason.INPUT_REJECTED, None: Reason.INPUT_ANSWERED}


def _input_request(job: JobView) -> JsonObject | None:
    request = job.input_request
    if request is None:
        return None
    shown: JsonObject = {
        "id": request.id,
        "kind": request.kind,
        "tool": cut_text(request.tool, 256),
        "arguments": cut_text(request.arguments, INPUT_TEXT_MAX_LENGTH),
        "hint": cut_text(request.hint, INPUT_TEXT_MAX_LENGTH),
        "result": cut_text(request.result, INPUT_TEXT_MAX_LENGTH),
        "responseSchema": request.schema if len(request.schema) <= INPUT_SCHEMA_MAX_LENGTH else "",
        "payload": cut_text(request.payload, INPUT_TEXT_MAX_LENGTH),
        "askedTime": time_text(job.since),
        "expiryTime": time_text(job.input_deadline),
        "remaining": job.input_requests_left,
    }
    return {key: value for key, value in shown.items() if value}


def _queued(job: JobView) -> datetime | None:
    """When it became due; absent before that, and where it never was."""
    if job.state in (State.SCHEDULED, State.REJECTED) or job.unaccepted:
        return None
    if job.state is State.CANCELLED and job.finished_at is not None and job.due_at > job.finished_at:
        return None
    return max(job.due_at, job.round_at)


def _duration_of(job: JobView) -> str | None:
    """From the round's first start to its end; absent while it runs (a status has no clock of its own)."""
    if job.started_at is None or job.finished_at is None:
        return None
    return duration_text((job.finished_at - job.started_at).total_seconds())


def _session_of(job: JobView) -> str:
    named = (job.payload or {}).get("sessionID")
    return job.session_id or (str(named) if named else own_session(job.uid))


def _recent_attempts(job: JobView, output: bool) -> list[JsonObject] | None:
    recent = job.attempts_log[-RECENT_ATTEMPTS_MAX_ITEMS:]
    shown = [_attempt(record) for record in recent]
    if output and shown and (printed := recent[-1].log_tail.rstrip()):
        shown[-1]["output"] = json_tail(printed, ATTEMPT_OUTPUT_MAX_LENGTH)
    return shown or None


def _artifact(file: SavedFile) -> JsonObject:
    entry = {
        "name": cut_text(file.name, ARTIFACT_NAME_MAX_LENGTH),
        "version": file.version,
        "mimeType": cut_text(file.mime_type, ARTIFACT_NAME_MAX_LENGTH) or None,
        "sizeBytes": file.size_bytes,
    }
    return {key: value for key, value in entry.items() if value is not None}


def _attempt(record: AttemptRecord) -> JsonObject:
    entry: JsonObject = {
        "number": record.attempt,
        "reason": record.reason or Reason.COMPLETED.value,
        "message": cut_text(record.message, ATTEMPT_MESSAGE_MAX_LENGTH),
        "startTime": time_text(record.started_at),
        "endTime": time_text(record.ended_at),
    }
    return {key: value for key, value in entry.items() if value not in (None, "")}


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
