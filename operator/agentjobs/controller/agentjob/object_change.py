"""The change that an AgentJob's object asks of the queue: a pure function of the object and the operator's
settings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from pydantic import ValidationError

from agentjobs.api.agentjob import AgentJob, AgentJobSpec
from agentjobs.api.given import NOTHING, Given, sources_of
from agentjobs.api.input_response import parse
from agentjobs.api.meta import RETRY_REQUESTED_AT, parse_time
from agentjobs.api.names import ACT, INPUT_RESPONSE
from agentjobs.api.payload import payload_of, session_of
from agentjobs.api.validation import problems_of
from agentjobs.controller.kit.annotated_act import annotated_act
from agentjobs.controller.kit.queue_access import QueueAccess as QueueAccess
from agentjobs.controller.kit.queue_access import refusal
from agentjobs.queue.numbers import PAYLOAD_BYTES
from agentjobs.queue.records import (
    FINAL_STATES,
    Confirmed,
    ImportedEnd,
    InputAnswer,
    InputResponse,
    NewJob,
    ObjectChange,
    ObjectRef,
    RetryPolicy,
    State,
)
from agentjobs.values.json import JsonObject
from agentjobs.values.reasons import Reason
from agentjobs.values.text import dumps

ANNOTATION_CHARACTERS = 256
"""Of an annotation's value that is kept; only whether it differs matters."""


UNREAD = "what spec.messageFrom and spec.inputs name is being read: the job goes on by itself"


@dataclass(frozen=True, slots=True)
class Gate:
    """The cluster's identity and the operator's settings, which decide beside the object."""

    cluster_id: str
    queue_access: Mapping[str, QueueAccess] = field(default_factory=dict)
    restored_label: str | None = "velero.io/restore-name"


def change_of(
    obj: JsonObject,
    gate: Gate,
    *,
    deleted: bool = False,
    confirmed: Confirmed | None = None,
    read: Given | str = UNREAD,
) -> ObjectChange:
    """The change that the queue has to store for this object.

    :param read: what its ``messageFrom`` and ``inputs`` refer to, or why that cannot be had: then the job waits.
    Raises KeyError or ValueError only for what no API server sends (no uid, no name).
    """
    meta = obj["metadata"]
    base = ObjectChange(
        uid=UUID(meta["uid"]),
        ref=ObjectRef(gate.cluster_id, meta["namespace"], meta["name"]),
        generation=int(meta.get("generation", 1)),
        created_at=created_at(obj),
        confirmed=confirmed,
        act=annotated_act(meta.get("annotations") or {}),
    )
    if deleted or meta.get("deletionTimestamp"):
        return replace(base, gone=True)
    # `imported` is used only if this uid is new to the database (H1); `retry_requested` and `input_response` only if
    # it is known
    base = replace(
        base,
        imported=imported_end(obj),
        retry_requested=_retry(meta),
        input_response=input_response(meta.get("annotations") or {}),
    )
    try:
        job = AgentJob.model_validate({**_head(obj), "spec": obj.get("spec") or {}})
    except ValidationError:
        if base.imported is not None:
            return base
        return replace(base, rejected=(Reason.INVALID_SPEC.value, rejection_text(obj)))
    refused = refusal(gate.queue_access, job.spec.queue, job.spec.priority, meta["namespace"])
    unaccepted = (Reason.QUEUE_NOT_ALLOWED, refused) if refused else _restored(meta, gate)
    given = NOTHING
    if sources_of(job.spec):
        given, why = _fitting(job, read)
        if why and unaccepted is None:
            unaccepted = (Reason.INPUT_UNAVAILABLE, why)
    return replace(base, job=new_job(job, base, given), cancel=bool(job.spec.cancel), unaccepted=unaccepted)


def _fitting(job: AgentJob, read: Given | str) -> tuple[Given, str]:
    """What the job is given, or nothing and why."""
    if isinstance(read, str):
        return NOTHING, read
    size = len(dumps(payload_of(job, read)).encode())
    if size <= PAYLOAD_BYTES:
        return read, ""
    return NOTHING, (
        f"spec.inputs: wants at most {PAYLOAD_BYTES} bytes of spec and files together, the files as base64, got {size}: make the "
        f"files smaller, or keep them elsewhere and name their place in the message"
    )


def spec_to_read(obj: JsonObject, gate: Gate, confirmed: Confirmed | None = None) -> AgentJobSpec | None:
    """The spec of an object, where what it refers to has to be read before its job can run.

    None also where it was read: its job is accepted, as the status says.
    """
    spec = obj.get("spec") or {}
    if not (spec.get("inputs") or spec.get("messageFrom")):
        return None
    change = change_of(obj, gate, confirmed=confirmed)
    if change.job is None or change.cancel or change.imported is not None:
        return None
    reason, _ = change.unaccepted or (None, "")
    if reason is not Reason.INPUT_UNAVAILABLE or (confirmed is None and _was_accepted(obj)):
        return None
    return AgentJobSpec.model_validate(spec)


_HELD = frozenset({Reason.INPUT_UNAVAILABLE.value, Reason.QUEUE_NOT_ALLOWED.value, Reason.RESTORED.value})


def _was_accepted(obj: JsonObject) -> bool:
    status = obj.get("status") or {}
    held = status.get("state") == State.SUSPENDED and status.get("reason") in _HELD
    return bool(status.get("state")) and not held


def unreadable(obj: JsonObject, gate: Gate, problem: str) -> ObjectChange | None:
    """The change of an object that ``change_of`` cannot read: rejected, so that its status says why.

    None: not even its name can be read.
    """
    try:
        meta = obj["metadata"]
        return ObjectChange(
            uid=UUID(meta["uid"]),
            ref=ObjectRef(gate.cluster_id, str(meta["namespace"]), str(meta["name"])),
            generation=int(meta.get("generation", 1)),
            rejected=(
                Reason.INVALID_SPEC.value,
                f"the object cannot be read ({problem}): delete it and create a corrected one",
            ),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def new_job(job: AgentJob, change: ObjectChange, given: Given = NOTHING) -> NewJob:
    spec = job.spec
    policy = spec.retry_policy
    return NewJob(
        uid=change.uid,
        payload=payload_of(job, given),
        queue=spec.queue,
        priority=spec.priority,
        session=session_of(job),
        run_at=spec.due_at(change.created_at or datetime.now(UTC)),
        max_attempts=spec.max_attempts,
        retry=RetryPolicy(
            policy.initial_delay_seconds, policy.factor, policy.max_delay_seconds, policy.max_wait_seconds
        ),
        attempt_timeout_seconds=spec.attempt_timeout_seconds,
        starting_deadline_seconds=spec.starting_deadline_seconds,
        active_deadline_seconds=spec.active_deadline_seconds,
        suspend=bool(spec.suspend),
        ref=change.ref,
        created_at=change.created_at,
    )


def imported_end(obj: JsonObject) -> ImportedEnd | None:
    """The end that the object's own status shows, as a record for a database that does not know the job
    (H1)."""
    status = obj.get("status") or {}
    state = status.get("state")
    if state not in FINAL_STATES:
        return None
    return ImportedEnd(
        state=State(state),
        reason=str(status.get("reason", "")),
        message=str(status.get("message", "")),
        finished_at=_time(status.get("completionTime")) or created_at(obj) or datetime.now(UTC),
        status=status,
    )


def input_response(annotations: Mapping[str, str]) -> InputResponse | None:
    """The answer to a tool's question that somebody wrote into the object; None: nobody did."""
    text = str(annotations.get(INPUT_RESPONSE) or "")
    if not text:
        return None
    # only whether it differs matters, and it may hold what was filled in
    value = text if len(text) <= ANNOTATION_CHARACTERS else hashlib.sha256(text.encode()).hexdigest()
    try:
        said = parse(text)
    except ValueError as error:
        return InputResponse(value, None, f"annotation {INPUT_RESPONSE}: {error}")
    return InputResponse(value, InputAnswer(said.id, said.approved, said.reason, said.payload, said.by))


def wiped(obj: JsonObject) -> bool:
    """True where the object carries no status of ours: new, or somebody removed it (invariant 11)."""
    return not (obj.get("status") or {}).get("revision")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The part of an object that intake looks at: a change of status alone leaves it as it was."""

    generation: int
    core: int
    final: bool
    """Whether its status shows an end."""
    wiped: bool
    held: bool
    """Whether its status says that something it refers to is not there."""

    def is_echo_of(self, taken: Fingerprint | None) -> bool:
        """True if intake can skip the watch event, ``taken`` being the last one that it processed of this
        object.

        Generation, deletion and our annotations are unchanged, and the status only gained content: the operator's
        own write. A status that was wiped, or went back from final (a retry), is not skipped; nor one that begins to
        say that an input is missing, which an older database may say of a job that had it.
        """
        if taken is None:
            return False
        goes_on = self.final >= taken.final and self.wiped <= taken.wiped and self.held <= taken.held
        return self.core == taken.core and goes_on


def fingerprint(obj: JsonObject, gate: Gate) -> Fingerprint:
    meta = obj["metadata"]
    core = (
        meta.get("generation"),
        bool(meta.get("deletionTimestamp")),
        _retry(meta),
        (meta.get("annotations") or {}).get(INPUT_RESPONSE),
        (meta.get("annotations") or {}).get(ACT),
        bool(_restored(meta, gate)),
    )
    return Fingerprint(
        int(meta.get("generation", 1)),
        hash(core),
        (obj.get("status") or {}).get("state") in FINAL_STATES,
        wiped(obj),
        (obj.get("status") or {}).get("reason") == Reason.INPUT_UNAVAILABLE.value,
    )


def created_at(obj: JsonObject) -> datetime | None:
    return _time(obj["metadata"].get("creationTimestamp"))


def rejection_text(obj: JsonObject) -> str:
    """Each problem by field, value and what is wanted; never the text of a prompt."""
    problems = [str(problem) for problem in problems_of(obj, stored=True)] or ["spec: cannot be read"]
    more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
    return "; ".join(problems[:5]) + more + ". Delete this object and create a corrected one"


def _restored(meta: JsonObject, gate: Gate) -> tuple[Reason, str] | None:
    """Reason and message of an object from a backup, which waits so that a restore does not run old jobs
    again.

    None: an edit of the spec (a new generation), or removing the label, lets it run.
    """
    label = gate.restored_label
    if not label or label not in (meta.get("labels") or {}) or int(meta.get("generation", 1)) > 1:
        return None
    return Reason.RESTORED, (
        f"the object came from a backup (label {label}) and this database does not know it: remove the label, "
        f"or set spec.suspend to true and back to false, to run it"
    )


def _retry(meta: JsonObject) -> str | None:
    value = (meta.get("annotations") or {}).get(RETRY_REQUESTED_AT)
    return str(value)[:ANNOTATION_CHARACTERS] if value else None


def _head(obj: JsonObject) -> JsonObject:
    """What the payload needs of the object besides its spec; a foreign version is not ours to refuse."""
    meta = obj["metadata"]
    return {
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
            "annotations": meta.get("annotations") or {},
            "ownerReferences": meta.get("ownerReferences") or [],
        }
    }


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return parse_time(value)
    except ValueError:
        return None
