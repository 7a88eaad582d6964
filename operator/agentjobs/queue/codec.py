"""The conversion between the values of `records.py` and the JSON that SQL functions take and return."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from agentjobs.queue import numbers
from agentjobs.queue.audit import act_row
from agentjobs.queue.breakers import TARGET_CHARACTERS, target_of
from agentjobs.queue.errors import JobRejected
from agentjobs.queue.records import (
    Ack,
    AckKind,
    AnnotatedAct,
    AnsweredInput,
    AttemptRecord,
    ClaimedJob,
    Control,
    ImportedEnd,
    InputAnswer,
    InputResponse,
    JobView,
    NewJob,
    ObjectChange,
    ObjectRef,
    OutputTail,
    Progress,
    RetryPolicy,
    State,
)
from agentjobs.telemetry.job_spans import RunTimes, Timeline
from agentjobs.values.bounds import (
    ERROR_BYTES,
    LOG_TAIL_BYTES,
    LONGEST_SECONDS,
    MOST_EVENTS,
    MOST_LINES,
    RESULT_BYTES,
    count,
    seconds,
)
from agentjobs.values.json import JsonObject
from agentjobs.values.names import is_dns_label
from agentjobs.values.requests import InputRequest
from agentjobs.values.text import clean, cut, dumps, tail
from agentjobs.values.usage import NO_USAGE, Usage

_DEFAULT_RETRY = RetryPolicy()
FINAL_STATES_BY_CODE = {"c": State.COMPLETE, "f": State.FAILED, "k": State.CANCELLED, "x": State.REJECTED}
_FINAL_CODES = {state: code for code, state in FINAL_STATES_BY_CODE.items()}
_CONTROLS = {"k": Control.CANCEL, "d": Control.DEADLINE, "s": Control.SUSPEND}
_ENDS = {AckKind.COMPLETE: "c", AckKind.FAIL: "f"}


def check_queue(name: str) -> None:
    """Raises JobRejected where the name cannot be a queue's."""
    if not is_dns_label(name):
        raise JobRejected("queue", name, "a DNS label is wanted: a-z, 0-9 and '-', at most 63 characters")


def job_row(job: NewJob) -> JsonObject:
    """One job for ``enqueue``. Raises JobRejected where it cannot be stored."""
    check_queue(job.queue)
    _check_numbers(job)
    if not isinstance(job.payload, dict):
        raise JobRejected("payload", job.payload, "a JSON object is wanted")
    if job.session is not None and len(job.session.encode("utf-8", "replace")) > numbers.SESSION_BYTES:
        raise JobRejected("session", job.session, f"at most {numbers.SESSION_BYTES} bytes are wanted")
    row: JsonObject = {
        "uid": str(job.uid),
        "queue": job.queue,
        "priority": job.priority,
        "payload": job.payload,
    }
    if (target := target_of(job.payload)) is not None:
        row["target"] = target
    row |= _labels(job.payload)
    if job.session is not None:
        row["session"] = clean(job.session)
    if job.run_at is not None:
        row["run_at"] = time_text(job.run_at, "run_at")
    if job.max_attempts != 3:
        row["max_attempts"] = job.max_attempts
    if job.retry != _DEFAULT_RETRY:
        r = job.retry
        row["retry"] = [r.initial_delay_seconds, r.factor, r.max_delay_seconds, r.max_wait_seconds]
    if job.attempt_timeout_seconds != 1800:
        row["attempt_timeout"] = job.attempt_timeout_seconds
    if job.starting_deadline_seconds is not None:
        row["starting_deadline"] = job.starting_deadline_seconds
    if job.active_deadline_seconds is not None:
        row["active_deadline"] = job.active_deadline_seconds
    if job.suspend:
        row["suspend"] = True
    if job.ref is not None:
        check_ref(job.ref)
        row |= {"cluster_id": job.ref.cluster_id, "namespace": job.ref.namespace, "name": job.ref.name}
    if job.created_at is not None:
        row["created_at"] = time_text(job.created_at, "created_at")
    return row


def _labels(payload: Mapping[str, Any]) -> JsonObject:
    """What lists know a job by, beside its model: the agent's module or an inline agent's name, and the user."""
    agent = payload.get("agent")
    agent = agent if isinstance(agent, Mapping) else {}
    inline = agent.get("inline")
    name = inline.get("name") if isinstance(inline, Mapping) else agent.get("module")
    found = {"agent": name, "user_id": payload.get("userID")}
    return {
        name: clean(text)[:TARGET_CHARACTERS]
        for name, text in found.items()
        if isinstance(text, str) and text
    }


def check_ref(ref: ObjectRef) -> None:
    """Raises JobRejected where a name is longer than one of Kubernetes: an index could not hold it."""
    for field, value in (
        ("ref.cluster_id", ref.cluster_id),
        ("ref.namespace", ref.namespace),
        ("ref.name", ref.name),
    ):
        if len(value) > numbers.OBJECT_NAME_CHARACTERS:
            raise JobRejected(field, value, f"at most {numbers.OBJECT_NAME_CHARACTERS} characters are wanted")


_BOUNDS = {
    "priority": (0, 9),
    "max_attempts": (1, numbers.MOST_ATTEMPTS),
    "attempt_timeout_seconds": (1, int(LONGEST_SECONDS)),
    "starting_deadline_seconds": (1, int(LONGEST_SECONDS)),
    "active_deadline_seconds": (1, int(LONGEST_SECONDS)),
}
"""The least and the most of each number of a job. Constraints of the table ``job`` repeat them for SQL callers."""
_RETRY_BOUNDS = {
    "initial_delay_seconds": (0, 86_400),
    "factor": (1, 100),
    "max_delay_seconds": (0, 604_800),
    "max_wait_seconds": (1, int(LONGEST_SECONDS)),
}
"""The same of ``retry``, as the resource's schema has them."""


def check_whole(field: str, value: object, least: int, most: int) -> None:
    """Raises JobRejected where the value is not a whole number in these bounds."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise JobRejected(field, value, f"a whole number from {least} to {most} is wanted")


def check_number(field: str, value: object) -> None:
    """Raises JobRejected where the value cannot be this number of a job."""
    check_whole(field, value, *_BOUNDS[field])


def _check_numbers(job: NewJob) -> None:
    for field in _BOUNDS:
        value = getattr(job, field)
        if value is not None or not field.endswith("deadline_seconds"):
            check_number(field, value)
    if job.retry is not _DEFAULT_RETRY:
        for field, bounds in _RETRY_BOUNDS.items():
            check_whole(f"retry.{field}", getattr(job.retry, field), *bounds)


def jobs_json(jobs: Sequence[NewJob]) -> str:
    """The argument of ``enqueue``. Raises JobRejected, for a payload that is too large too."""
    return _rows_json([job_row(job) for job in jobs])


def changes_json(changes: Sequence[ObjectChange]) -> str:
    """The argument of ``apply``. Raises JobRejected, for a payload that is too large too."""
    return _rows_json([change_row(change) for change in changes])


def _rows_json(rows: list[JsonObject]) -> str:
    try:
        text = dumps(rows)
    except TypeError as error:
        for row in rows:
            _payload_bytes(row)
        raise JobRejected("jobs", str(error), "values that JSON can hold are wanted") from error
    if len(text) * (1 if text.isascii() else 4) > numbers.PAYLOAD_BYTES:
        for row in rows:
            if (size := _payload_bytes(row)) > numbers.PAYLOAD_BYTES:
                raise JobRejected(
                    "payload",
                    f"{size} bytes",
                    f"at most {numbers.PAYLOAD_BYTES} bytes are wanted; pass a reference",
                )
    return text


def _payload_bytes(row: JsonObject) -> int:
    """The size of a row's payload. Raises JobRejected where it is no JSON."""
    payload = row.get("payload")
    try:
        return len(dumps(payload).encode())
    except TypeError as error:
        raise JobRejected("payload", payload, f"a JSON object is wanted: {error}") from error


def change_row(change: ObjectChange) -> JsonObject:
    """One change for ``apply``."""
    row: JsonObject
    if change.job is not None:
        row = job_row(replace(change.job, uid=change.uid, ref=change.ref))
    else:
        row = {
            "uid": str(change.uid),
            "cluster_id": change.ref.cluster_id,
            "namespace": change.ref.namespace,
            "name": change.ref.name,
        }
    row["generation"] = change.generation
    row["max_attempts"] = change.job.max_attempts if change.job else 3
    if change.created_at is not None:
        row["created_at"] = time_text(change.created_at, "created_at")
    if change.cancel:
        row |= {"cancel_wanted": True, "end": "k", "reason": "Cancelled", "message": "spec.cancel was set"}
    if change.unaccepted is not None:
        row |= {"hold": str(change.unaccepted[0]), "bar": clean(change.unaccepted[1])}
    if change.retry_requested is not None:
        row["retry_handled"] = clean(change.retry_requested)
    if change.confirmed is not None:
        row["row_generation"] = change.confirmed.row_generation
        row["listed_at"] = time_text(change.confirmed.listed_at, "listed_at")
    if change.gone:
        row |= {"gone": True, "end": "k", "reason": "Cancelled", "message": "the object was deleted"}
    if change.rejected is not None:
        row |= {"end": "x", "reason": change.rejected[0], "message": clean(change.rejected[1])}
    if change.imported is not None:
        row |= end_row(change.imported)
    if change.act is not None:
        row["act_key"] = change.act.key
        if (act := annotated_act_row(change.act)) is not None:
            row["act"] = act
    return row


def annotated_act_row(said: AnnotatedAct) -> JsonObject | None:
    """What an object's annotation says of a change, for ``apply`` and ``schedule_decide``."""
    if said.act is None:
        return None
    row = act_row(said.act) | {"verb": clean(said.act.verb)}
    return row | {"origin": clean(said.origin)} if said.origin else row


def end_row(end: ImportedEnd) -> JsonObject:
    """An end that an object's status shows, for ``apply`` and ``adopt_end``."""
    return {
        "end": _FINAL_CODES[end.state],
        "reason": end.reason,
        "message": clean(end.message),
        "finished_at": time_text(end.finished_at, "finished_at"),
        "imported": end.status,
    }


def response_row(uid: UUID, response: InputResponse) -> JsonObject:
    """One response for ``respond``."""
    row: JsonObject = {"uid": str(uid), "handled": clean(response.value)}
    if response.answer is None:
        return row | {"why": clean(response.problem)}
    return row | {"answer": answer_row(response.answer)}


def answer_row(answer: InputAnswer) -> JsonObject:
    """The argument of ``answer``. Raises JobRejected where the payload is no JSON, or too large."""
    try:
        size = len(dumps(answer.payload))
    except TypeError as error:
        raise JobRejected("payload", answer.payload, f"a JSON value is wanted: {error}") from error
    if size > numbers.ANSWER_BYTES:
        raise JobRejected("payload", f"{size} bytes", f"at most {numbers.ANSWER_BYTES} bytes are wanted")
    return {
        "id": clean(answer.id),
        "approved": answer.approved,
        "reason": cut(clean(answer.reason), numbers.ANSWER_TEXT_BYTES)[0] or None,
        "by": cut(clean(answer.by), numbers.ANSWER_TEXT_BYTES)[0] or None,
        "payload": answer.payload,
    }


def ack_rows(acks: Iterable[Ack]) -> tuple[list[JsonObject], list[JsonObject], list[JsonObject]]:
    """The arguments p_done, p_back and p_asks of ``step``, with texts cut to their limits (H7)."""
    done: list[JsonObject] = []
    back: list[JsonObject] = []
    asks: list[JsonObject] = []
    for ack in acks:
        row: JsonObject = {"i": ack.id, "t": ack.token}
        if ack.reason:
            row["y"] = ack.reason
        if ack.message:
            row["m"] = cut(clean(ack.message), ERROR_BYTES)[0]
        if ack.usage is not NO_USAGE and ack.usage != NO_USAGE:
            row["u"] = usage_row(ack.usage)
        if ack.event_count:
            row["e"] = count(ack.event_count, MOST_EVENTS)
        if ack.log_tail:
            row["l"], skipped = log_tail(ack.log_tail, ack.log_skipped)
            if skipped:
                row["b"] = skipped
        if ack.trace_id:
            row["c"] = clean(ack.trace_id)
        if (end := _ENDS.get(ack.kind)) is not None:
            row["s"] = end
            if ack.result is not None:
                result, row["x"] = cut(clean(ack.result), RESULT_BYTES)
                row["r"] = result
            if ack.session_id:
                row["d"] = clean(ack.session_id)
            done.append(row)
        elif ack.kind is AckKind.ASK:
            row["q"] = [
                {name: clean(value) for name, value in asdict(request).items() if value}
                for request in ack.requests
            ]
            if ack.input_deadline_seconds is not None:
                row["n"] = ack.input_deadline_seconds
            asks.append(row)
        else:
            row["k"] = ack.kind.value
            if (delay := seconds(ack.delay_seconds)) > 0:
                row["w"] = delay
            back.append(row)
    return done, back, asks


def log_tail(text: str, skipped: int) -> tuple[str, int]:
    """The end of an output as the database takes it, and the lines before it."""
    whole = clean(text)
    kept = tail(whole, LOG_TAIL_BYTES)
    return kept, count(skipped + whole.count("\n") - kept.count("\n"), MOST_LINES)


def output_rows(rows: Iterable[OutputTail]) -> list[JsonObject]:
    """The argument p_rows of ``store_output``."""
    made: list[JsonObject] = []
    for row in rows:
        kept, skipped = log_tail(row.text, row.skipped)
        made.append({"i": row.id, "t": row.token, "b": skipped, "o": kept})
    return made


def progress_rows(rows: Iterable[Progress]) -> list[JsonObject]:
    """The argument p_rows of ``progress``."""
    return [
        {
            "i": row.id,
            "t": row.token,
            "s": clean(row.step),
            "e": count(row.event_count, MOST_EVENTS),
            "u": usage_row(row.usage),
        }
        for row in rows
    ]


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
        _DEFAULT_RETRY if retry is None else RetryPolicy(*retry),
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


def usage_row(usage: Usage) -> list[int]:
    return [usage.prompt_tokens, usage.output_tokens, usage.total_tokens, usage.llm_calls, usage.tool_calls]


def control(code: str) -> Control:
    return _CONTROLS[code]


def job_view(v: Mapping[str, Any]) -> JobView:
    """One row of ``view``."""
    place, started = v["place"], v["started_at"] is not None
    since = datetime.fromisoformat(v["since"])
    requests = _open_requests(v["asked"]) if place == "i" else []
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
        next_attempt_at=datetime.fromisoformat(v["due_at"]) if place == "l" else None,
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
        payload=v["payload"],
        attempts_log=tuple(_attempt(a) for a in v["log"] or ()),
    )


def _open_requests(asked: Mapping[str, Any] | None) -> list[InputRequest]:
    return [
        InputRequest(**{name: value for name, value in request.items() if name != "answer"})
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
        approved=answer.get("approved") is True,
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


def maybe_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def time_text(value: datetime, field: str) -> str:
    """A caller's time for SQL. Raises JobRejected where it has no zone, or is not of the years that can be stored."""
    if value.tzinfo is None:
        raise JobRejected(field, value.isoformat(), "a time with its zone is wanted (datetime.now(UTC))")
    if not numbers.FIRST_TIME <= value <= numbers.LAST_TIME:
        raise JobRejected(field, value.isoformat(), "a time of the years 1970 to 2999 (UTC) is wanted")
    return value.isoformat()
