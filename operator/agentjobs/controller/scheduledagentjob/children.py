"""A schedule's children: the AgentJob that a tick creates, and the AgentJobs that exist."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import orjson

from agentjobs.api.meta import (
    RUN_REQUESTED_AT,
    SCHEDULE_LABEL,
    SCHEDULED_TIME,
    format_time,
    parse_time,
)
from agentjobs.controller.apiserver.resources import AGENT_JOBS, SCHEDULED_AGENT_JOBS
from agentjobs.controller.scheduledagentjob.parsed_schedule import ParsedSchedule
from agentjobs.queue.records import FINAL_STATES, State
from agentjobs.queue.schedules import Tick
from agentjobs.schedule.cron import zone_of
from agentjobs.schedule.expand import expand
from agentjobs.schedule.history import Child
from agentjobs.values.json import JsonObject

DELETED_REMEMBERED = 10_000


def child_of(parsed: ParsedSchedule, tick: Tick, last_successful: datetime | None) -> JsonObject:
    """The AgentJob of a tick. Its labels and annotations are the template's and ours; a schedule's own are
    not inherited, as with CronJob: tools that track objects by label would take the children for theirs."""
    template: JsonObject = orjson.loads(parsed.template)
    spec: JsonObject = dict(template.get("spec") or {})
    if "message" in spec:
        spec["message"] = expand(str(spec["message"]), zone_of(parsed.time_zone), tick.tick, last_successful)
    given: JsonObject = template.get("metadata") or {}
    annotations = {**(given.get("annotations") or {}), SCHEDULED_TIME: format_time(tick.tick)}
    if tick.manual:
        annotations[RUN_REQUESTED_AT] = parsed.run_requested or ""
    return {
        "apiVersion": AGENT_JOBS.api_version,
        "kind": AGENT_JOBS.kind,
        "metadata": {
            "name": tick.child,
            "namespace": parsed.ref.namespace,
            "labels": {**(given.get("labels") or {}), SCHEDULE_LABEL: parsed.ref.name},
            "annotations": annotations,
            "ownerReferences": [
                {
                    "apiVersion": SCHEDULED_AGENT_JOBS.api_version,
                    "kind": SCHEDULED_AGENT_JOBS.kind,
                    "name": parsed.ref.name,
                    "uid": str(parsed.uid),
                    "controller": True,
                }
            ],
        },
        "spec": spec,
    }


def child_seen(obj: JsonObject) -> Child:
    """An AgentJob as the history limits see it."""
    meta = obj["metadata"]
    annotations = meta.get("annotations") or {}
    state = (obj.get("status") or {}).get("state")
    try:
        tick = parse_time(annotations.get(SCHEDULED_TIME, ""))
    except ValueError:
        tick = None
    return Child(
        name=meta["name"],
        uid=meta["uid"],
        tick=tick,
        succeeded=state == State.COMPLETE if state in FINAL_STATES else None,
        manual=RUN_REQUESTED_AT in annotations,
    )


@dataclass(slots=True)
class Children:
    """All children that the watch has shown or that were created here, by schedule.

    What was deleted is remembered for a while: the answer to its creation may come later than its end.
    """

    _by_schedule: dict[UUID, dict[str, Child]] = field(default_factory=dict)
    _deleted: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def of(self, schedule: UUID) -> list[Child]:
        """Oldest first."""
        found = self._by_schedule.get(schedule, {}).values()
        return sorted(found, key=lambda child: (child.tick.timestamp() if child.tick else 0.0, child.name))

    def active(self, schedule: UUID) -> list[Child]:
        """The unfinished ones, oldest first."""
        return [child for child in self.of(schedule) if child.succeeded is None]

    def saw(self, schedule: UUID, child: Child) -> bool:
        """Takes a child that the watch has shown; False where nothing is new."""
        known = self._by_schedule.setdefault(schedule, {})
        if known.get(child.uid) == child or child.uid in self._deleted:
            return False
        known[child.uid] = child
        return True

    def created(self, schedule: UUID, child: Child) -> Child | None:
        """Takes a child that was created, unless the watch has shown more of it. None: it is deleted
        already."""
        if child.uid in self._deleted:
            return None
        return self._by_schedule.setdefault(schedule, {}).setdefault(child.uid, child)

    def deleted(self, schedule: UUID, uid: str) -> bool:
        """Takes note of a deleted child; False where it was not known."""
        self._deleted[uid] = None
        while len(self._deleted) > DELETED_REMEMBERED:
            self._deleted.popitem(last=False)
        known = self._by_schedule.get(schedule, {})
        was = known.pop(uid, None)
        if not known:
            self._by_schedule.pop(schedule, None)
        return was is not None

    def forget(self, schedule: UUID) -> None:
        """Forgets the children of a schedule that is gone; garbage collection does the rest."""
        self._by_schedule.pop(schedule, None)
