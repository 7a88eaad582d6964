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
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.apiserver.writes import Deletion, delete_if_unchanged
from agentjobs.controller.kit.backoff import Backoff
from agentjobs.controller.kit.due_times import DueTimes
from agentjobs.controller.kit.owners import schedule_of
from agentjobs.controller.kit.periodic import wait_for
from agentjobs.controller.metrics.counters import TASK_FAILURES
from agentjobs.queue.errors import QueueError
from agentjobs.queue.records import FINAL_STATES
from agentjobs.values.json import JsonObject

log = logging.getLogger(__name__)

AGAIN = timedelta(seconds=10)
"""After a delete that was refused, or that has to wait for its schedule."""
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
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _due: DueTimes = field(default_factory=DueTimes)
    _entries: dict[UUID, Expiring] = field(default_factory=dict)
    """Each object in ``_due``, in ``_expired`` and of those that are being deleted."""
    _expired: deque[UUID] = field(default_factory=deque)
    _deleting: set[UUID] = field(default_factory=set)
    _backoff: Backoff = field(default_factory=Backoff)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

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
            else:
                self._forget(uid)

    async def run(self) -> None:
        """Deletes until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._expired.extend(self._due.due(self.clock()))
                paused = self._backoff.paused_seconds(time.monotonic())
                while self._expired and len(self._deleting) < self.parallel and not paused:
                    uid = self._expired.popleft()
                    if uid in self._entries and uid not in self._deleting:
                        self._deleting.add(uid)
                        group.create_task(self._delete(uid))
                self._wake.clear()
                await wait_for(self._wake, self._seconds_to_wait(paused))

    def _seconds_to_wait(self, paused: float) -> float:
        """Until the next object is due or the pause is over; whatever else happens sets ``_wake``."""
        seconds, due = LONGEST_SLEEP_SECONDS, self._due.next()
        if due is not None:
            seconds = min(seconds, (due - self.clock()).total_seconds())
        if self._expired and paused:
            seconds = min(seconds, paused)
        return max(seconds, 0.01)

    async def _delete(self, uid: UUID) -> None:
        entry = self._entries[uid]
        done = False
        try:
            done = await self._delete_if_expired(uid, entry)
            self._backoff.answered()
        except ApiUnavailable as error:
            if error.concerns_everybody:
                self._pause(error, error.retry_after_seconds)
        except QueueError as error:
            self._pause(error)
        except Exception:
            log.exception("%s/%s could not be deleted", entry.namespace, entry.name)
            self.api.meter.add(TASK_FAILURES, part="ttl")
        finally:
            self._deleting.discard(uid)
            if not done and uid in self._entries and uid not in self._due:
                self._due.put(uid, self.clock() + AGAIN)
            elif done:
                self._forget(uid)
            self._wake.set()

    def _pause(self, error: Exception, asked_seconds: float | None = None) -> None:
        seconds = self._backoff.pause(time.monotonic(), asked_seconds)
        if seconds is not None:
            log.warning("expired objects are deleted later, in %.1f s: %s", seconds, error)

    def _forget(self, uid: UUID) -> None:
        """Drops the object, unless it is due at another time."""
        if uid not in self._due and uid not in self._deleting:
            self._entries.pop(uid, None)

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
        return result.deletion is not Deletion.REFUSED
