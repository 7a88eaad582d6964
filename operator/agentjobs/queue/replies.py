"""What SQL functions answer, as values of `records.py`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from agentjobs.queue.codec import FINAL_STATES_BY_CODE
from agentjobs.queue.records import (
    DEFAULT_RETRY,
    AnsweredInput,
    AttemptRecord,
    ClaimedJob,
    Control,
    JobView,
    ObjectRef,
    RetryPolicy,
    State,
)
from agentjobs.telemetry.job_spans import RunTimes, Timeline
from agentjobs.values.requests import InputRequest
from agentjobs.values.saved_file import SavedFile
from agentjobs.values.usage import NO_USAGE, Usage

_CONTROLS = {"k": Control.CANCEL, "d": Control.DEADLINE, "s": Control.SUSPEND}
_USUAL = (3, 1, 1800, None, None, None, None, False, None)
"""Values that ``claim`` leaves out where all are usual: max attempts, round, attempt timeout, retry,
deadline, snoozes, losses, solo, spent."""


def claimed_job(row: Sequence[Any], token: int, problem: str = "") -> ClaimedJob:
    """One job of ``claim``'s reply. Where its payload is no object, ``payload_problem`` says so."""
    id_, uid, queue, pos, run, attempt, payload, rare, *more = row
    max_attempts, round_, timeout, retry, deadline, snoozes, losses, solo, spent = rare or _USUAL
    return ClaimedJob(  # positional: keywords would add a third to its cost
        id_,
        token,
        UUID(uid),
        queue,
        pos >> 56,
        run,
        attempt,
        max_attempts,
        round_,
        payload if isinstance(payload, dict) else {},
        DEFAULT_RETRY if retry is None else RetryPolicy(*retry),
        timeout,
        maybe_time(deadline),
        snoozes or 0,
        losses or 0,
        solo,
        NO_USAGE if spent is None else Usage(*spent),
        pos,
        more[0] if more else 0,
        ""
        if isinstance(payload, dict)
        else problem or f"payload is {payload!r:.80}; a JSON object is wanted",
    )


def control(code: str) -> Control:
    return _CONTROLS[code]


def job_view(v: Mapping[str, Any]) -> JobView:
    """One row of ``view``."""
    place, started = v["place"], v["started_at"] is not None
    since = datetime.fromisoformat(v["since"])
    requests = open_requests(v["asked"]) if place == "i" else []
    return JobView(
        id=v["id"],
        uid=UUID(v["uid"]),
        ref=None if v["ref"] is None else ObjectRef(*v["ref"]),
        queue=v["queue"],
        priority=v["priority"],
        session=v["session"],
        state=state(place, started),
        reason=v["reason"],
        message=v["message"],
        exhausted=v["exhausted"],
        generation=v["generation"],
        round=v["round"],
        run=v["run"],
        attempts=v["attempts"],
        max_attempts=v["max_attempts"],
        created_at=datetime.fromisoformat(v["created_at"]),
        accepted_at=datetime.fromisoformat(v["accepted_at"]),
        round_at=datetime.fromisoformat(v["round_at"]),
        due_at=datetime.fromisoformat(v["due_at"]),
        started_at=maybe_time(v["started_at"]),
        finished_at=maybe_time(v["finished_at"]),
        next_attempt_at=next_attempt(place, v["due_at"], v["next_at"]),
        since=since,
        suspended_at=since if place in ("s", "h") else None,
        resumed_at=maybe_time(v["resumed_at"]),
        run_started_at=maybe_time(v["run_started_at"]),
        worker=v["worker"],
        control=None if v["control"] is None else _CONTROLS[v["control"]],
        step=v["step"],
        event_count=v["event_count"],
        usage=NO_USAGE if v["usage"] is None else Usage(*v["usage"]),
        result=v["result"],
        result_truncated=v["result_truncated"],
        session_id=v["session_id"],
        trace_id=v["trace_id"],
        unaccepted=place == "h",
        refused=v["refused"],
        refused_changed_at=datetime.fromisoformat(v["refused_changed"]),
        input_request=requests[0] if requests else None,
        input_requests_left=max(0, len(requests) - 1),
        input_deadline=maybe_time(v["asked_until"]) if place == "i" else None,
        input_answered=_last_answer(v["payload"]),
        imported_status=v["imported"],
        files=_files(v.get("files")),
        file_count=(v.get("files") or {}).get("count", 0),
        payload=v["payload"],
        attempts_log=tuple(_attempt(a) for a in v["log"] or ()),
    )


def _files(told: Mapping[str, Any] | None) -> tuple[SavedFile, ...]:
    return tuple(SavedFile(*file) for file in (told or {}).get("first") or ())


def open_requests(asked: Mapping[str, Any] | None) -> list[InputRequest]:
    """The questions in ``waiting.asked`` that have no answer. What a newer worker knows more of them is left out."""
    return [
        InputRequest(**{name: value for name, value in request.items() if name in InputRequest.__slots__})
        for request in (asked or {}).get("requests", ())
        if "answer" not in request
    ]


def _last_answer(payload: Mapping[str, Any] | None) -> AnsweredInput | None:
    answers = []
    given = (payload or {}).get("answers")
    for answer in given.values() if isinstance(given, Mapping) else ():
        try:
            answers.append(_answered(answer))
        except (AttributeError, KeyError, TypeError, ValueError):
            continue  # not the queue's: a caller enqueued it so by SQL
    return max(answers, key=lambda answer: answer.at, default=None)


def _answered(answer: Mapping[str, Any]) -> AnsweredInput:
    return AnsweredInput(
        tool=answer.get("tool") or "",
        approved=None if answer.get("kind") else answer.get("approved") is True,
        at=datetime.fromisoformat(answer["at"]),
        reason=answer.get("reason") or "",
        by=answer.get("by") or "",
    )


def _attempt(a: Mapping[str, Any]) -> AttemptRecord:
    return AttemptRecord(
        run=a["run"],
        attempt=a["attempt"],
        round=a["round"],
        worker=a["worker"],
        started_at=datetime.fromisoformat(a["started_at"]),
        ended_at=datetime.fromisoformat(a["ended_at"]),
        outcome=a["outcome"],
        reason=a["reason"],
        message=a["message"],
        charged=a["charged"],
        next_at=maybe_time(a["next_at"]),
        usage=NO_USAGE if a["usage"] is None else Usage(*a["usage"]),
        event_count=a["event_count"],
        log_tail=a["log_tail"],
        log_skipped=a["log_skipped"],
    )


def timeline(v: Mapping[str, Any]) -> Timeline:
    """One row of ``timeline``."""
    return Timeline(
        uid=UUID(v["uid"]),
        namespace=v["namespace"] or "",
        name=v["name"] or "",
        queue=v["queue"],
        traceparent=v["traceparent"] or "",
        round=v["round"],
        state=v["state"],
        reason=v["reason"],
        attempts=v["attempts"],
        max_attempts=v["max_attempts"],
        begun_at=datetime.fromisoformat(v["begun_at"]),
        due_at=datetime.fromisoformat(v["due_at"]),
        finished_at=datetime.fromisoformat(v["finished_at"]),
        acked=v["acked"],
        runs=[_run_times(*run) for run in v["runs"]],
    )


def _run_times(
    run: int, attempt: int, worker: str | None, start: str, end: str, kind: str, reason: str, due: str | None
) -> RunTimes:
    begun, ended = datetime.fromisoformat(start), datetime.fromisoformat(end)
    return RunTimes(run, attempt, worker or "", begun, ended, kind, reason, maybe_time(due))


def state(place: str, started: bool) -> State:
    """The state of a job, from the letter of its place (0001_tables) and whether it has started."""
    if place in FINAL_STATES_BY_CODE:
        return FINAL_STATES_BY_CODE[place]
    if place == "@":
        return State.RUNNING
    if place in ("s", "h"):
        return State.SUSPENDED
    if place == "i":
        return State.INPUT_REQUIRED
    if place == "l":
        return State.RETRYING if started else State.SCHEDULED
    if place == "m" and started:
        return State.RETRYING
    return State.QUEUED


def next_attempt(place: str, due_at: str, next_at: str | None) -> datetime | None:
    """When a waiting job is tried next: of one that waits for its model, when the model is. None: not told, or at once."""
    return datetime.fromisoformat(due_at) if place == "l" else maybe_time(next_at) if place == "m" else None


def maybe_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
