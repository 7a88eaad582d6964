"""From a watched object to what the queue is told: pure, imports neither kopf nor kubernetes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from pydantic import ValidationError

from agentjobs.api.agentjob import AgentJob, AgentJobSpec
from agentjobs.api.input_response import parse
from agentjobs.api.meta import RETRY_REQUESTED_AT, parse_time
from agentjobs.api.names import INPUT_RESPONSE
from agentjobs.api.payload import payload_of, session_of
from agentjobs.api.validation import problems_of
from agentjobs.queue.records import (
    FINAL_STATES,
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
from agentjobs.values.reasons import Reason as ApiReason

ANNOTATION_CHARACTERS = 256
"""Of an annotation's value that is kept; only whether it differs matters."""


@dataclass(frozen=True, slots=True)
class QueueAccess:
    """Who may use a queue. ``namespaces`` empty: all; ``best_priority`` 0: any priority may be asked for."""

    namespaces: tuple[str, ...] = ()
    best_priority: int = 0


@dataclass(frozen=True, slots=True)
class Gate:
    """What decides besides the object: the cluster's identity and the operator's settings."""

    cluster_id: str
    queue_access: Mapping[str, QueueAccess] = field(default_factory=dict)
    restored_label: str | None = "velero.io/restore-name"


def change_of(obj: JsonObject, gate: Gate, *, deleted: bool = False) -> ObjectChange:
    """What the queue is told about this object.

    Raises KeyError or ValueError only for what no API server sends (no uid, no name).
    """
    meta = obj["metadata"]
    base = ObjectChange(
        uid=UUID(meta["uid"]),
        ref=ObjectRef(gate.cluster_id, meta["namespace"], meta["name"]),
        generation=int(meta.get("generation", 1)),
        created_at=created_at(obj),
    )
    if deleted or meta.get("deletionTimestamp"):
        return replace(base, gone=True)
    # with its job: the end is for a database that does not know the job, the rest for one that does
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
        return replace(base, rejected=(ApiReason.INVALID_SPEC.value, rejection_text(obj)))
    refused = refusal(job.spec, meta["namespace"], gate)
    hold = (Reason.QUEUE_NOT_ALLOWED, refused) if refused else _restored(meta, gate)
    return replace(base, job=new_job(job, base), cancel=bool(job.spec.cancel), hold=hold)


def new_job(job: AgentJob, change: ObjectChange) -> NewJob:
    spec = job.spec
    policy = spec.retry_policy
    return NewJob(
        uid=change.uid,
        payload=payload_of(job),
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


def refusal(spec: AgentJobSpec, namespace: str, gate: Gate) -> str:
    """Why this namespace may not use this queue at this priority; empty: it may."""
    access = gate.queue_access.get(spec.queue)
    if access is None:
        return ""
    if access.namespaces and namespace not in access.namespaces:
        return (
            f"spec.queue: {spec.queue!r} is not open to namespace {namespace!r}: use another queue in a new "
            f"object, or ask for the namespace to be added to queue_access of the operator"
        )
    if spec.priority < access.best_priority:
        return (
            f"spec.priority: {spec.priority} is better than {access.best_priority}, the best that queue "
            f"{spec.queue!r} allows: set spec.priority to {access.best_priority} or more, or ask for "
            f"best_priority in queue_access of the operator to be lowered"
        )
    return ""


def imported_end(obj: JsonObject) -> ImportedEnd | None:
    """The end that the object's own status tells, as a record for a database that does not know it (H1)."""
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
    """What of an object has been taken in: a change of status alone leaves it as it was."""

    generation: int
    core: int
    final: bool
    """Its status tells an end."""
    wiped: bool
    version: int
    """resourceVersion; 0 where it is no number. Newer is larger (Kubernetes promises so since 1.35, and
    etcd's revisions always were)."""

    def is_echo_of(self, taken: Fingerprint | None) -> bool:
        """True where nothing is new since ``taken``, or only that a status appeared or tells the end, which
        the table knows; and where it is older than what was taken (a GET that a watch event overtook).

        An end that is taken back (a retry) is new: what was asked meanwhile must be told again.
        """
        if taken is None:
            return False
        if 0 < self.version < taken.version:
            return True
        return self.core == taken.core and self.final >= taken.final and self.wiped <= taken.wiped


def fingerprint(obj: JsonObject, gate: Gate) -> Fingerprint:
    meta = obj["metadata"]
    core = (
        meta.get("generation"),
        bool(meta.get("deletionTimestamp")),
        _retry(meta),
        (meta.get("annotations") or {}).get(INPUT_RESPONSE),
        bool(_restored(meta, gate)),
    )
    version = str(meta.get("resourceVersion", ""))
    return Fingerprint(
        int(meta.get("generation", 1)),
        hash(core),
        (obj.get("status") or {}).get("state") in FINAL_STATES,
        wiped(obj),
        int(version) if version.isdecimal() else 0,
    )


def created_at(obj: JsonObject) -> datetime | None:
    return _time(obj["metadata"].get("creationTimestamp"))


def rejection_text(obj: JsonObject) -> str:
    """Each problem by field, value and what is wanted; never the text of a prompt."""
    problems = [str(problem) for problem in problems_of(obj, stored=True)] or ["spec: cannot be read"]
    more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
    return "; ".join(problems[:5]) + more + ". Delete this object and create a corrected one"


def _restored(meta: JsonObject, gate: Gate) -> tuple[Reason, str] | None:
    """Held, so that a restore does not run old jobs again; an edit of the spec (a new generation) or taking
    the label away lets it go."""
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
