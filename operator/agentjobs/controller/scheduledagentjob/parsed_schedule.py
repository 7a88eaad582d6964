"""One ScheduledAgentJob, parsed from its object: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

import orjson
from pydantic import ValidationError

from agentjobs.api.meta import RUN_REQUESTED_AT, format_time, parse_time
from agentjobs.api.scheduledagentjob import ScheduledAgentJob, ScheduledAgentJobSpec
from agentjobs.api.validation import problems_of
from agentjobs.controller.apiserver.resources import SCHEDULED_AGENT_JOBS
from agentjobs.controller.kit.annotated_act import annotated_act
from agentjobs.controller.kit.queue_access import QueueAccess, refusal
from agentjobs.controller.kit.status_digest import shown_revision
from agentjobs.queue.records import AnnotatedAct, Confirmed, ObjectRef
from agentjobs.queue.schedules import SeenSchedule
from agentjobs.schedule.cron import Schedule, UnparseableSchedule, parse
from agentjobs.schedule.decide import ConcurrencyPolicy, MissedRunPolicy, Spec
from agentjobs.values.json import JsonObject
from agentjobs.values.reasons import Reason
from agentjobs.values.text import clean
from agentjobs.values.verbs import Verb

REQUEST_CHARACTERS = 256
"""Of the run-now annotation's value; only whether it differs matters."""
_DECIDING_FIELDS = frozenset({"f:schedule", "f:timeZone", "f:scheduledTime", "f:suspend"})


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the schedule is not accepted."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class ParsedSchedule:
    """One ScheduledAgentJob, as its object says now."""

    uid: UUID
    ref: ObjectRef
    generation: int
    spec: Spec | None
    """None: not accepted."""
    problem: Problem | None
    time_zone: str
    template: bytes
    """``spec.jobTemplate`` as JSON: thousands of schedules wait most of the time."""
    successful_limit: int
    failed_limit: int
    run_requested: str | None
    act: AnnotatedAct | None
    """Who asked for that run, where the annotation speaks of it."""
    remembered: SeenSchedule
    revision: int
    """Of the status that the object carries; 0: none."""


def parsed_schedule(
    obj: JsonObject,
    cluster_id: str,
    *,
    watched: bool = False,
    access: Mapping[str, QueueAccess] = MappingProxyType({}),
    confirmed: Confirmed | None = None,
) -> ParsedSchedule:
    """Parses an object. ``watched``: it has changed just now. ``access``: its template may ask for no more. ``confirmed``:
    a sweep read the row before the object.

    Raises KeyError or ValueError only for what no API server sends (no uid, no name)."""
    meta, status, raw = obj["metadata"], obj.get("status") or {}, obj.get("spec") or {}
    spec, problem, model = _spec(obj, meta["name"])
    if model is not None:
        job = model.job_template.spec
        path = "spec.jobTemplate.spec"
        if why := refusal(access, job.queue, job.priority, meta["namespace"], path):
            spec, problem = None, Problem(Reason.QUEUE_NOT_ALLOWED, why)
    uid = UUID(meta["uid"])
    ref = ObjectRef(cluster_id, meta["namespace"], meta["name"])
    generation = int(meta.get("generation", 1))
    revision = shown_revision(status)
    return ParsedSchedule(
        uid=uid,
        ref=ref,
        generation=generation,
        spec=spec,
        problem=problem,
        time_zone=model.time_zone if model else "UTC",
        template=orjson.dumps(raw.get("jobTemplate") or {}),
        successful_limit=model.successful_jobs_history_limit if model else 0,
        failed_limit=model.failed_jobs_history_limit if model else 0,
        run_requested=_request(meta),
        act=_act_of_the_request(meta),
        remembered=SeenSchedule(
            uid=uid,
            cluster_id=cluster_id,
            namespace=ref.namespace,
            name=ref.name,
            generation=generation,
            times=_times(raw),
            created_at=parse_time(meta["creationTimestamp"]),
            edited_at=None if watched else edited_at(meta),
            accepted=problem is None,
            suspended=bool(raw.get("suspend")),
            was_suspended=_condition(status, "Suspended") == "True",
            last_tick=_time(status.get("lastScheduleTime")),
            last_successful=_time(status.get("lastSuccessfulTime")),
            missed=int(status.get("missedRuns") or 0),
            revision=revision,
            row_generation=confirmed.row_generation if confirmed else None,
            act=annotated_act(meta.get("annotations") or {}),
        ),
        revision=revision,
    )


def edited_at(meta: JsonObject) -> datetime | None:
    """The latest time at which what decides (times, suspend) can have changed; None: the object does not
    tell.

    Of an edit that nobody watched, only the object knows: who owns a field changed it then at the latest.
    https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
    """
    times = [
        time
        for entry in meta.get("managedFields") or ()
        if not entry.get("subresource")
        and _DECIDING_FIELDS & (entry.get("fieldsV1") or {}).get("f:spec", {}).keys()
        and (time := _time(entry.get("time"))) is not None
    ]
    return max(times, default=None)


def _spec(obj: JsonObject, name: str) -> tuple[Spec | None, Problem | None, ScheduledAgentJobSpec | None]:
    own = {"apiVersion": SCHEDULED_AGENT_JOBS.api_version, "kind": SCHEDULED_AGENT_JOBS.kind}
    head = {"metadata": {"name": name, "namespace": obj["metadata"]["namespace"]}}
    try:
        model = ScheduledAgentJob.model_validate({**own, **head, "spec": obj.get("spec") or {}}).spec
        when = _when(model)
    except UnparseableSchedule as error:
        return None, Problem(Reason.UNPARSEABLE_SCHEDULE, f"spec.schedule: {error}"), None
    except ValidationError:
        found = problems_of({**obj, **own, **head}, stored=True)
        first = next(iter(found), None)
        text = "; ".join(map(str, found[:5])) or "spec: cannot be read"
        return None, Problem(first.reason if first else Reason.INVALID_SPEC, text), None
    return (
        Spec(
            name=name,
            when=when,
            suspend=model.suspend,
            concurrency=ConcurrencyPolicy(model.concurrency_policy),
            starting_deadline_seconds=model.starting_deadline_seconds,
            missed_runs=MissedRunPolicy(model.missed_run_policy),
        ),
        None,
        model,
    )


def _when(model: ScheduledAgentJobSpec) -> Schedule | datetime:
    if model.schedule is not None:
        return parse(model.schedule, model.time_zone)
    assert model.scheduled_time is not None
    return parse_time(model.scheduled_time)


def _times(spec: JsonObject) -> str:
    moment = _time(spec.get("scheduledTime"))
    if moment is not None:
        return f"at {format_time(moment)}"
    return f"{' '.join(str(spec.get('schedule')).split())} in {spec.get('timeZone', 'UTC')}"


def _request(meta: JsonObject) -> str | None:
    value = (meta.get("annotations") or {}).get(RUN_REQUESTED_AT)
    return clean(str(value))[:REQUEST_CHARACTERS] if value else None


def _act_of_the_request(meta: JsonObject) -> AnnotatedAct | None:
    """Who asked for the run that the other annotation asks for: it tells the same time, so that of an earlier run does
    not count."""
    annotations = meta.get("annotations") or {}
    said = annotated_act(annotations)
    if said is None or said.act is None or said.act.verb != Verb.RUN_NOW:
        return None
    return said if said.at and said.at == annotations.get(RUN_REQUESTED_AT) else None


def _condition(status: JsonObject, kind: str) -> str | None:
    found: Iterator[str] = (c.get("status") for c in status.get("conditions") or () if c.get("type") == kind)
    return next(found, None)


def _time(value: object) -> datetime | None:
    try:
        return parse_time(value) if isinstance(value, str) else None
    except ValueError:
        return None
