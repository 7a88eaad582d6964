"""``ttlSecondsAfterFinished``: finished AgentJobs are deleted once their time is over.

The watch shows every object, its spec and when it finished, so the due times live in memory and are built
anew at each start. The record in the database stays until retention.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from agentjobs.api.meta import parse_time
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import Call
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.apiserver.writes import Deletion, delete_if_unchanged
from agentjobs.controller.kit.backoff import WHO, Backoff, worth_a_line
from agentjobs.controller.kit.due_times import DueTimes
from agentjobs.controller.kit.owners import schedule_of
from agentjobs.controller.kit.periodic import wait_for
from agentjobs.controller.metrics.counters import TASK_FAILURES
from agentjobs.queue.errors import QueueError
from agentjobs.queue.records import FINAL_STATES
from agentjobs.values.json import JsonObject

log = logging.getLogger(__name__)

AGAIN = timedelta(seconds=10)
"""After a delete that has to wait for its schedule, or for the database."""
LONGEST_SLEEP_SECONDS = 60.0
"""Bounds how late a delete is after this machine's clock was set."""


def expires_at(obj: JsonObject, default_ttl_seconds: int | None) -> datetime | None:
    """When the object is to be deleted; None: not now known, or never."""
    status = obj.get("status") or {}
    if status.get("state") not in FINAL_STATES or obj["metadata"].get("deletionTimestamp"):
        return None
    ttl = (obj.get("spec") or {}).get("ttlSecondsAfterFinished", default_ttl_seconds)
    if ttl is None or not status.get("completionTime"):
        return None
    try:
        return parse_time(status["completionTime"]) + timedelta(seconds=int(ttl))
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class Expiring:
    """An object that has a due time."""

    namespace: str
    name: str
    schedule: UUID | None
    """Of a schedule's child: the uid of its schedule."""


@dataclass(slots=True)
class TtlAfterFinished:
    """Deletes expired AgentJobs, some at a time, at the time that each is due."""

    api: ApiServer
    settled: Callable[[Iterable[tuple[UUID, str, UUID]]], Awaitable[frozenset[UUID]]]
    """Which of these (schedule, child's name, child's uid) no longer keep a tick from being created again
    (H29)."""
    default_ttl_seconds: int | None = None
    parallel: int = 16
    """Deletes under way at once, for each namespace: one that gives no answer holds up no other."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _due: DueTimes = field(default_factory=DueTimes)
    _entries: dict[UUID, Expiring] = field(default_factory=dict)
    """Each object in ``_due``, in ``_expired`` and of those that are being deleted."""
    _expired: dict[str, deque[UUID]] = field(default_factory=dict)
    """By namespace, in the order of their times."""
    _deleting: set[UUID] = field(default_factory=set)
    _backoff: Backoff[UUID] = field(init=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._backoff = Backoff(self.parallel)

    def enqueue(self, batch: Iterable[WatchEvent]) -> None:
        """Takes note of when each object is due; never waits."""
        for seen in batch:
            meta = seen.object["metadata"]
            uid = UUID(meta["uid"])
            due = None if seen.deleted else expires_at(seen.object, self.default_ttl_seconds)
            self._due.put(uid, due)
            if due is not None:
                self._entries[uid] = Expiring(meta["namespace"], meta["name"], schedule_of(meta))
                self._wake.set()
            elif (known := self._entries.pop(uid, None)) is not None:
                self._backoff.forget(known.namespace, uid)

    async def run(self) -> None:
        """Deletes until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                for uid in self._due.due(self.clock()):
                    if uid in self._entries:
                        self._expired.setdefault(self._entries[uid].namespace, deque()).append(uid)
                for namespace in list(self._expired):
                    self._start(group, namespace)
                self._wake.clear()
                await wait_for(self._wake, self._seconds_to_wait())

    def _start(self, group: asyncio.TaskGroup, namespace: str) -> None:
        """Begins as many deletes in this namespace as may be under way."""
        expired, now = self._expired[namespace], time.monotonic()
        while expired:
            uid = expired[0]
            if uid in self._entries and uid not in self._deleting:
                if not self._backoff.may_start(namespace, uid, now):
                    return
                self._backoff.start(namespace, uid, now)
                self._deleting.add(uid)
                group.create_task(self._delete(uid))
            expired.popleft()
        del self._expired[namespace]

    def _seconds_to_wait(self) -> float:
        """Until the next object is due or may be tried again; whatever else happens sets ``_wake``."""
        seconds, due = LONGEST_SLEEP_SECONDS, self._due.next()
        if due is not None:
            seconds = min(seconds, (due - self.clock()).total_seconds())
        now = time.monotonic()
        for namespace, expired in self._expired.items():
            if self._backoff.may_start(namespace, expired[0], now):
                return 0.01
            if wait := self._backoff.seconds(namespace, expired[0], now):
                seconds = min(seconds, wait)
        return max(seconds, 0.01)

    async def _delete(self, uid: UUID) -> None:
        entry = self._entries[uid]
        namespace = entry.namespace
        again: timedelta | None = AGAIN
        try:
            if await self._delete_if_expired(uid, entry):
                again = None
                self._backoff.taken(namespace, uid)
        except ApiUnavailable as error:
            decision = self._backoff.decide(Call.DELETE, error, namespace, uid, time.monotonic())
            again = timedelta(seconds=decision.seconds)
            if worth_a_line(self._backoff.refusals(namespace, uid)):
                log.warning(
                    "%s/%s is expired and cannot be deleted; %s waits %.1f s: %s",
                    namespace,
                    entry.name,
                    WHO[decision.concerns],
                    decision.seconds,
                    error,
                )
        except QueueError as error:
            log.warning("expired objects are deleted later: the database does not answer: %s", error)
        except Exception:
            log.exception("%s/%s could not be deleted", namespace, entry.name)
            self.api.meter.add(TASK_FAILURES, part="ttl")
        finally:
            self._backoff.ended(namespace, uid)
            self._deleting.discard(uid)
            if again is None and uid not in self._due:
                self._entries.pop(uid, None)
                self._backoff.forget(namespace, uid)
            elif again is not None and uid in self._entries and uid not in self._due:
                self._due.put(uid, self.clock() + again)
            self._wake.set()

    async def _delete_if_expired(self, uid: UUID, entry: Expiring) -> bool:
        """False: not now."""
        if entry.schedule is not None and not await self.settled([(entry.schedule, entry.name, uid)]):
            return False

        def expired(obj: JsonObject) -> bool:
            due = expires_at(obj, self.default_ttl_seconds)
            return due is not None and due <= self.clock()

        result = await delete_if_unchanged(self.api, entry.namespace, entry.name, str(uid), expired)
        if result.deletion is Deletion.GONE and result.reply.ok:
            log.info("deleted %s/%s: its ttlSecondsAfterFinished is over", entry.namespace, entry.name)
        return True
