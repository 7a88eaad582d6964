"""The values of `records.py` as the JSON that SQL functions take, checked. What they answer: `replies.py`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from agentjobs.queue import numbers
from agentjobs.queue.audit import act_row
from agentjobs.queue.breakers import stored_name, target_of
from agentjobs.queue.errors import JobRejected
from agentjobs.queue.records import (
    DEFAULT_RETRY,
    Ack,
    AckKind,
    AnnotatedAct,
    ImportedEnd,
    InputAnswer,
    InputResponse,
    NewJob,
    ObjectChange,
    ObjectRef,
    OutputTail,
    Progress,
    State,
)
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
from agentjobs.values.text import clean, cut, dumps, tail
from agentjobs.values.usage import NO_USAGE, Usage

FINAL_STATES_BY_CODE = {"c": State.COMPLETE, "f": State.FAILED, "k": State.CANCELLED, "x": State.REJECTED}
_FINAL_CODES = {state: code for code, state in FINAL_STATES_BY_CODE.items()}
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
    if job.retry != DEFAULT_RETRY:
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
    return {name: stored_name(text) for name, text in found.items() if isinstance(text, str) and text}


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
_DEFAULTS = {each.name: each.default for each in fields(NewJob) if each.name in _BOUNDS}
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
    for field, default in _DEFAULTS.items():
        value = getattr(job, field)
        if value is not default:
            check_number(field, value)
    if job.retry is not DEFAULT_RETRY:
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
    row: JsonObject = {
        "id": clean(answer.id),
        "approved": answer.approved,
        "reason": cut(clean(answer.reason), numbers.ANSWER_TEXT_BYTES)[0] or None,
        "by": cut(clean(answer.by), numbers.ANSWER_TEXT_BYTES)[0] or None,
        "payload": answer.payload,
    }
    return {name: value for name, value in row.items() if value is not None}


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


def files_rows(acks: Iterable[Ack]) -> list[JsonObject]:
    """The argument p_rows of ``note_files``: runs whose agents have saved or deleted files."""
    return [
        {
            "i": ack.id,
            "t": ack.token,
            "f": {
                clean(file.name): None
                if file.version is None
                else [
                    file.version,
                    clean(file.mime_type),
                    file.size_bytes,
                    *([clean(file.address)] if file.address else ()),
                ]
                for file in ack.files
            },
        }
        for ack in acks
        if ack.files
    ]


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


def usage_row(usage: Usage) -> list[int]:
    return [usage.prompt_tokens, usage.output_tokens, usage.total_tokens, usage.llm_calls, usage.tool_calls]


def time_text(value: datetime, field: str) -> str:
    """A caller's time for SQL. Raises JobRejected where it has no zone, or is not of the years that can be stored."""
    if value.tzinfo is None:
        raise JobRejected(field, value.isoformat(), "a time with its zone is wanted (datetime.now(UTC))")
    if not numbers.FIRST_TIME <= value <= numbers.LAST_TIME:
        raise JobRejected(field, value.isoformat(), "a time of the years 1970 to 2999 (UTC) is wanted")
    return value.isoformat()
