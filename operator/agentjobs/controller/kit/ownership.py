"""Ownership: an object belongs to one installation (one database), which marks it before it takes it in.

In the manner of ``managedBy`` of batch/v1, with the annotation ``agentjobs.dev/managed-by:
<installation>/<uid>``. It survives `kubectl apply` and a wiped status; on a copy of the object, which has another uid,
it says nothing. A schedule's child belongs to whom its schedule belongs to. Of two installations that see a new
object the API server lets one mark it. The other neither takes, cancels, deletes nor writes it, and says so by an Event
and a metric.
https://kubernetes.io/docs/concepts/workloads/controllers/job/#delegation-of-managing-a-job-object-to-external-controller
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from agentjobs.api.meta import INSTALLATION_LABEL, MANAGED_BY
from agentjobs.api.names import installation_of, mark_of
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import Act, Answer, Call
from agentjobs.controller.apiserver.resources import AGENT_JOBS, SCHEDULED_AGENT_JOBS, Resource
from agentjobs.controller.apiserver.watch_event import WatchEvent, without_managed_fields
from agentjobs.controller.apiserver.writes import annotate, get_object
from agentjobs.controller.kit.backoff import WHO, Backoff, worth_a_line
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.kit.owners import schedule_of
from agentjobs.controller.kit.periodic import wait_for
from agentjobs.controller.metrics.counters import MANAGED_ELSEWHERE, TASK_FAILURES
from agentjobs.queue.errors import QueueError
from agentjobs.queue.records import FINAL_STATES, ObjectRef
from agentjobs.values.json import JsonObject

log = logging.getLogger(__name__)

SCHEDULE_SECONDS = 0.2
"""Until a child is looked at again whose schedule has no mark yet."""
LONGEST_SLEEP_SECONDS = 30.0


class OwnershipEventReason(StrEnum):
    """Every reason of an Event about whose an object is."""

    MANAGED_ELSEWHERE = "ManagedElsewhere"
    """Warning: two installations watch this object, and it belongs to the other one."""

    @property
    def normal(self) -> bool:
        return False


@dataclass(slots=True)
class Ownership:
    """Stands before all parts that take watch events: ``mine`` lets through what belongs to this installation,
    and marks what belongs to nobody, which then comes to ``sink``."""

    api: ApiServer
    installation: UUID
    cluster_id: str
    sink: Callable[[list[WatchEvent]], None]
    on_elsewhere: Callable[[WatchEvent], None] = lambda event: None
    """Called once for each object of another installation: whatever is known of it is to be forgotten."""
    record: Callable[[ObjectEvent], None] = lambda event: None
    release: Callable[[Sequence[UUID]], Awaitable[int]] | None = None
    """Lets go of the jobs of AgentJobs that this database may know from before they were handed over."""
    _elsewhere: set[str] = field(default_factory=set)
    _unmarked: dict[str, WatchEvent] = field(default_factory=dict)
    """The newest event of each object that is to be marked."""
    _schedules: dict[str, UUID] = field(default_factory=dict)
    """The installations of schedules by uid, for their children."""
    _to_mark: dict[str, deque[str]] = field(default_factory=dict)
    """Uids by kind and namespace, in the order in which they came: what is refused to one holds up no other."""
    _backoff: Backoff[str] = field(default_factory=Backoff)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _released: list[UUID] = field(default_factory=list)
    _release: asyncio.Event = field(default_factory=asyncio.Event)

    def mine(self, batch: Iterable[WatchEvent]) -> list[WatchEvent]:
        """The events of this installation's objects; never waits."""
        mine = []
        for event in batch:
            meta = event.object["metadata"]
            uid, owner = meta["uid"], self._installation_of(event)
            if owner == self.installation or (owner is None and _ends(event)):
                # where nobody has marked what is deleted, it is everybody's to forget
                self._mark_no_more(event)
                self._elsewhere.discard(uid)
                mine.append(event)
            elif owner is None:
                if uid not in self._unmarked:
                    self._want(_scope(event), uid)
                elif event.read_at is not None:
                    continue  # the watch has brought it already, perhaps in a newer version
                self._unmarked[uid] = event
            else:
                self._mark_no_more(event)
                self._found_elsewhere(event, owner)
        return mine

    def _installation_of(self, event: WatchEvent) -> UUID | None:
        meta = event.object["metadata"]
        owner = installation_of(meta)
        if event.kind == SCHEDULED_AGENT_JOBS:
            if owner is not None and not event.deleted:
                self._schedules[meta["uid"]] = owner
            elif event.deleted:
                self._schedules.pop(meta["uid"], None)
        elif owner is None and (schedule := schedule_of(meta)) is not None:
            return self._schedules.get(str(schedule))
        return owner

    def waiting(self) -> int:
        """How many objects are to be marked, without those of a kind and namespace that is refused."""
        closed = set(self._backoff.closed(time.monotonic()))
        return sum(len(uids) for scope, uids in self._to_mark.items() if scope not in closed)

    def has(self, uid: str) -> bool:
        """Whether an object is to be marked, and then taken in."""
        return uid in self._unmarked

    def is_elsewhere(self, uid: str) -> bool:
        """Whether an object is known to belong to another installation."""
        return uid in self._elsewhere

    async def run(self) -> None:
        """Marks objects until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._release_on())
            while True:
                for scope in list(self._to_mark):
                    self._start(group, scope)
                self._wake.clear()
                seconds = self._backoff.next_seconds(time.monotonic(), LONGEST_SLEEP_SECONDS)
                await wait_for(self._wake, max(seconds, 0.01))

    # objects of nobody ---------------------------------------------------------------------------------

    def _want(self, scope: str, uid: str) -> None:
        self._to_mark.setdefault(scope, deque()).append(uid)
        self._wake.set()

    def _mark_no_more(self, event: WatchEvent) -> None:
        uid = event.object["metadata"]["uid"]
        if self._unmarked.pop(uid, None) is not None:
            self._backoff.forget(_scope(event), uid)

    def _start(self, group: asyncio.TaskGroup, scope: str) -> None:
        """Begins as many marks of this kind in this namespace as may be under way."""
        waiting, now = self._to_mark[scope], time.monotonic()
        while waiting:
            uid = waiting[0]
            if uid in self._unmarked and not self._backoff.is_under_way(scope, uid):
                if not self._backoff.may_start(scope, uid, now):
                    return
                self._backoff.start(scope, uid, now)
                group.create_task(self._claim(scope, uid, self._unmarked[uid]))
            waiting.popleft()
        del self._to_mark[scope]

    async def _claim(self, scope: str, uid: str, event: WatchEvent) -> None:
        again: float | None = None
        try:
            again = await self._mark(uid, event)
        except ApiUnavailable as error:
            again = self._refused(error, event)
        except Exception:
            meta = event.object["metadata"]
            log.exception("%s/%s could not be marked", meta["namespace"], meta["name"])
            self.api.meter.add(TASK_FAILURES, part="ownership")
            self._backoff.postpone(scope, uid, time.monotonic())
            again = self._backoff.seconds(scope, uid, time.monotonic())
        finally:
            self._backoff.ended(scope, uid)
            if again is not None:
                asyncio.get_running_loop().call_later(again, self._want, scope, uid)
            self._wake.set()

    async def _mark(self, uid: str, event: WatchEvent) -> float | None:
        """Seconds until it is tried again; None: it is marked, or its watch event is on the way."""
        if not await self._schedule_is_gone(event):
            newest = self._unmarked.get(uid)
            if newest is None:
                return None  # it is gone, or its owner has come
            if self._installation_of(newest) is None:
                return SCHEDULE_SECONDS
            self.sink(self.mine([newest]))
            return None
        mark = {MANAGED_BY: mark_of(self.installation, uid)}
        reply = await annotate(self.api, event.object, mark, event.kind)
        again = self._refused(reply, event)
        if again is not None:
            return again
        newest = self._unmarked.get(uid)
        if newest is not None and newest is not event:
            return 0.0  # it has changed meanwhile
        self._mark_no_more(event)
        if reply.ok and newest is not None:
            # nothing else of it has changed: the mark is of exactly this version
            marked = without_managed_fields({**event.object, "metadata": reply.body["metadata"]}, event.kind)
            self.sink(self.mine([replace(event, object=marked, listed=False, read_at=None)]))
        return None

    def _refused(self, answer: Answer, event: WatchEvent) -> float | None:
        """Seconds until the object is tried again; None: there is nothing to be tried."""
        meta = event.object["metadata"]
        scope, uid, now = _scope(event), meta["uid"], time.monotonic()
        decision = self._backoff.decide(Call.MARK, answer, scope, uid, now)
        if decision.act is not Act.RETRY:
            return None
        if worth_a_line(self._backoff.refusals(scope, uid)):
            log.warning(
                "%s/%s cannot be taken in yet: its annotation %s is refused; %s waits %.1f s: %s",
                meta["namespace"],
                meta["name"],
                MANAGED_BY,
                WHO[decision.concerns],
                decision.seconds,
                answer if isinstance(answer, ApiUnavailable) else answer.words,
            )
        return self._backoff.seconds(scope, uid, now)

    async def _schedule_is_gone(self, event: WatchEvent) -> bool:
        """False: it is a child whose schedule is there, and tells whose it is, or will. Raises ApiUnavailable."""
        meta = event.object["metadata"]
        schedule = schedule_of(meta) if event.kind == AGENT_JOBS else None
        if schedule is None:
            return True
        name = next(owner["name"] for owner in meta["ownerReferences"] if owner.get("uid") == str(schedule))
        reply = await get_object(
            self.api, meta["namespace"], name, metadata_only=True, resource=SCHEDULED_AGENT_JOBS
        )
        if not reply.ok or reply.body["metadata"]["uid"] != str(schedule):
            return True
        if owner := installation_of(reply.body["metadata"]):
            self._schedules[str(schedule)] = owner
        return False

    # objects of others -----------------------------------------------------------------------------------

    def _found_elsewhere(self, event: WatchEvent, owner: UUID) -> None:
        meta = event.object["metadata"]
        uid = meta["uid"]
        if event.deleted:
            self._elsewhere.discard(uid)
            return
        if uid in self._elsewhere:
            return
        self._elsewhere.add(uid)
        self.api.meter.add(MANAGED_ELSEWHERE, kind=event.kind.kind)
        self.on_elsewhere(event)
        if event.kind == AGENT_JOBS:
            self._released.append(UUID(uid))
            self._release.set()
        if (event.object.get("status") or {}).get("state") not in FINAL_STATES:
            self.record(self._event(meta, event.kind, owner))

    def _event(self, meta: JsonObject, kind: Resource, owner: UUID) -> ObjectEvent:
        now = datetime.now(UTC)
        return ObjectEvent(
            UUID(meta["uid"]),
            ObjectRef(self.cluster_id, meta["namespace"], meta["name"]),
            str(self.installation)[:8],
            OwnershipEventReason.MANAGED_ELSEWHERE,
            f"Two installations of agentjobs watch this namespace. This object belongs to {owner}; "
            f"{self.installation} leaves it alone. Which releases they are: kubectl get lease -A -L {INSTALLATION_LABEL}. "
            "Give each installation namespaces of its own (watchNamespaces).",
            now,
            now,
            resource=kind,
        )

    async def _release_on(self) -> None:
        while True:
            await self._release.wait()
            self._release.clear()
            released, self._released = self._released, []
            if self.release is None or not released:
                continue
            try:
                if known := await self.release(released):
                    log.warning(
                        "%d jobs are cancelled here: their objects belong to another installation", known
                    )
            except QueueError as error:
                log.warning("objects of another installation are let go later: %s", error)
                self._released += released
                await asyncio.sleep(1)
                self._release.set()


def _scope(event: WatchEvent) -> str:
    """The objects that wait together where the API server refuses one: those of its kind in its namespace, since a
    webhook, a policy or a role concerns one kind."""
    return f"{event.kind.plural} in {event.object['metadata']['namespace']}"


def _ends(event: WatchEvent) -> bool:
    return event.deleted or bool(event.object["metadata"].get("deletionTimestamp"))
