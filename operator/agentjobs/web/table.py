"""Tables: what ``kubectl get`` prints of an object or a list. The columns are those of the AgentJob, and some more.

https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from agentjobs.api.meta import parse_time
from agentjobs.values.durations import duration_text
from agentjobs.values.json import JsonObject
from agentjobs.web.objects.acts import RunAudit
from agentjobs.web.objects.meta import KubeObject, Metadata
from agentjobs.web.objects.runs import AgentRun
from agentjobs.web.objects.schedules import ScheduleStat
from agentjobs.web.objects.stats import Model, QueueStat, Worker

Cell = str | int | None
T = TypeVar("T", bound=KubeObject)
META = "meta.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column. Only ``-o wide`` shows the wide ones."""

    name: str
    cell: Callable[[T, datetime], Cell]
    type: str = "string"
    wide: bool = False
    format: str = ""

    def as_json(self) -> JsonObject:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": "",
            "priority": 1 if self.wide else 0,
        }


def ago(moment: str | None, now: datetime) -> str:
    """The time since then, as kubectl writes ages."""
    return "<unknown>" if moment is None else duration_text((now - parse_time(moment)).total_seconds())


def took(start: str | None, end: str | None, now: datetime) -> str:
    """How long it took, or takes by now; empty: it has not begun."""
    if start is None:
        return ""
    return ago(start, parse_time(end) if end is not None else now)


def _age(item: AgentRun | RunAudit, now: datetime) -> Cell:
    return ago(item.metadata.creation_timestamp, now)


NAME: Column[AgentRun] = Column("Name", lambda run, _: run.metadata.name, format="name")
RUNS: tuple[Column[AgentRun], ...] = (
    NAME,
    Column("Queue", lambda run, _: run.spec.queue),
    Column("Agent", lambda run, _: run.spec.agent or ""),
    Column("Status", lambda run, _: run.status.state),
    Column("Reason", lambda run, _: run.status.reason or ""),
    Column("Attempts", lambda run, _: run.status.attempts, "integer"),
    Column("Duration", lambda run, now: took(run.status.start_time, run.status.finish_time, now)),
    Column("Age", _age),
    Column("Priority", lambda run, _: run.spec.priority, "integer", wide=True),
    Column("Max", lambda run, _: run.spec.max_attempts, "integer", wide=True),
    Column("Worker", lambda run, _: run.status.worker or "", wide=True),
    Column("Session", lambda run, _: run.spec.session or "", wide=True),
    Column("Tokens", lambda run, _: run.status.usage.total_tokens, "integer", wide=True),
    Column("Next", lambda run, _: run.status.next_attempt_time or "", wide=True),
    Column("Model", lambda run, _: run.spec.model or "", wide=True),
)
QUEUES: tuple[Column[QueueStat], ...] = (
    Column("Name", lambda queue, _: queue.metadata.name, format="name"),
    Column("Waiting", lambda queue, _: queue.status.waiting, "integer"),
    Column("Running", lambda queue, _: queue.status.running, "integer"),
    Column("Slots", lambda queue, _: queue.status.slots, "integer"),
    Column(
        "Limit", lambda queue, _: "" if queue.status.max_running is None else str(queue.status.max_running)
    ),
    Column("Paused", lambda queue, _: "yes" if queue.status.paused else ""),
    Column("Oldest", lambda queue, _: duration_text(queue.status.oldest_wait_seconds)),
    Column("Why", lambda queue, _: queue.status.paused_reason or "", wide=True),
    Column("By", lambda queue, _: queue.status.paused_by or "", wide=True),
)
WORKERS: tuple[Column[Worker], ...] = (
    Column("Name", lambda worker, _: worker.metadata.name, format="name"),
    Column("Pool", lambda worker, _: worker.status.pool),
    Column(
        "Queues",
        lambda worker, _: ",".join(f"{queue}={n}" for queue, n in sorted(worker.status.queues.items())),
    ),
    Column("Accepting", lambda worker, _: "yes" if worker.status.accepting else "no"),
    Column("Version", lambda worker, _: worker.status.version or ""),
)
MODELS: tuple[Column[Model], ...] = (
    Column("Name", lambda model, _: model.metadata.name, format="name"),
    Column("Pool", lambda model, _: model.status.pool),
    Column("Model", lambda model, _: model.status.model),
    Column("Open", lambda model, _: "yes" if model.status.open else "no"),
    Column("Reason", lambda model, _: model.status.reason or model.status.last_failure or ""),
    Column("Blocked", lambda model, _: "" if model.status.blocked is None else str(model.status.blocked)),
    Column("Probe", lambda model, _: model.status.probe_time or ""),
    Column("Since", lambda model, now: ago(model.status.since, now)),
)
SCHEDULES: tuple[Column[ScheduleStat], ...] = (
    Column("Name", lambda one, _: one.metadata.name, format="name"),
    Column("Schedule", lambda one, _: one.spec.schedule or one.spec.scheduled_time or ""),
    Column("Zone", lambda one, _: one.spec.time_zone),
    Column("Suspend", lambda one, _: "yes" if one.spec.suspend else ""),
    Column("Next", lambda one, _: next(iter(one.status.next_times), "")),
    Column("Last", lambda one, _: one.status.last[-1].state if one.status.last else ""),
    Column("Active", lambda one, _: one.status.active, "integer"),
    Column("Missed", lambda one, _: one.status.missed, "integer"),
    Column("Problem", lambda one, _: one.status.problem or "", wide=True),
)
AUDITS: tuple[Column[RunAudit], ...] = (
    Column("Name", lambda row, _: row.metadata.name, format="name"),
    Column("Actor", lambda row, _: row.actor or ""),
    Column("Verb", lambda row, _: row.verb),
    Column("Target", lambda row, _: row.target or ""),
    Column("Reason", lambda row, _: row.reason or ""),
    Column("Age", _age),
    Column("Source", lambda row, _: row.source or "", wide=True),
)


def table(
    items: Sequence[T],
    columns: Sequence[Column[T]],
    list_metadata: JsonObject,
    *,
    include: str = "Metadata",
    definitions: bool = True,
    now: datetime | None = None,
) -> JsonObject:
    """The items as a Table.

    :param include: query parameter includeObject: None, Metadata or Object.
    :param definitions: False: without the columns' definitions, as in later events of a watch.
    """
    moment = now or datetime.now(UTC)
    return {
        "kind": "Table",
        "apiVersion": META,
        "metadata": list_metadata,
        "columnDefinitions": [column.as_json() for column in columns] if definitions else None,
        "rows": [
            {
                "cells": [column.cell(item, moment) for column in columns],
                **({} if include == "None" else {"object": _object(item, whole=include == "Object")}),
            }
            for item in items
        ],
    }


def _object(item: KubeObject, *, whole: bool) -> JsonObject:
    if whole:
        return item.as_json()
    metadata = getattr(item, "metadata", None)
    shown = metadata.as_json() if isinstance(metadata, Metadata) else {}
    return {"kind": "PartialObjectMetadata", "apiVersion": META, "metadata": shown}
