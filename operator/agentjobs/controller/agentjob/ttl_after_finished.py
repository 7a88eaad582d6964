"""``ttlSecondsAfterFinished``: finished objects are deleted when their time is over.

The watch shows every object, its spec and when it finished, so the due times live in memory and are built
anew at each start. The record in the database stays until retention.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from agentjobs.api.meta import parse_time
from agentjobs.controller.apiserver.client import ApiServer, JsonObject
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.apiserver.writes import delete_object, get_object
from agentjobs.controller.kit.periodic import wait_for
from agentjobs.controller.scheduledagentjob.children import schedule_of
from agentjobs.queue.errors import QueueError
from agentjobs.queue.records import FINAL_STATES
from agentjobs.values.json import JsonObject

log = logging.getLogger(__name__)

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
    except ValueError:
        return None


@dataclass(slots=True)
class TtlAfterFinished:
    """Deletes what has expired. Entries of the heap that no longer agree with ``_due`` are skipped."""

    api: ApiServer
    settled: Callable[[Iterable[tuple[UUID, str, UUID]]], Awaitable[frozenset[UUID]]]
    """Which of these (schedule, child's name, child's uid) no longer keep a tick from being created again (H29)."""
    default_ttl_seconds: int | None = None
    _due: dict[str, tuple[datetime, str, str]] = field(default_factory=dict)
    _heap: list[tuple[datetime, str]] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, batch: Iterable[WatchEvent]) -> None:
        for seen in batch:
            meta = seen.object["metadata"]
            due = None if seen.deleted else expires_at(seen.object, self.default_ttl_seconds)
            if due is None:
                self._due.pop(meta["uid"], None)
            elif self._due.get(meta["uid"], (None,))[0] != due:
                self._due[meta["uid"]] = (due, meta["namespace"], meta["name"])
                heapq.heappush(self._heap, (due, meta["uid"]))
                self._wake.set()

    async def run(self) -> None:
        while True:
            delay = LONGEST_SLEEP_SECONDS
            try:
                await self._delete_due(datetime.now(UTC))
                if self._heap:
                    delay = min(delay, (self._heap[0][0] - datetime.now(UTC)).total_seconds())
            except (ApiUnavailable, QueueError) as error:
                log.warning("expired objects are deleted later: %s", error)
                delay = random.uniform(1, 3)
            await wait_for(self._wake, max(delay, 0.01))
            self._wake.clear()

    async def _delete_due(self, now: datetime) -> None:
        while self._heap and self._heap[0][0] <= now:
            due, uid = self._heap[0]
            entry = self._due.get(uid)
            if entry is None or entry[0] != due:
                heapq.heappop(self._heap)  # it has another time, or none, since
                continue
            done = await self._delete(uid, entry[1], entry[2], now)
            heapq.heappop(self._heap) if self._heap[0] == (due, uid) else self._heap.remove((due, uid))
            if self._due.get(uid) != entry:
                continue
            if done:
                del self._due[uid]
            else:
                # busy, or not allowed: later again
                later = now + timedelta(seconds=10)
                self._due[uid] = (later, entry[1], entry[2])
                heapq.heappush(self._heap, (later, uid))

    async def _delete(self, uid: str, namespace: str, name: str, now: datetime) -> bool:
        """Looks once more, then deletes exactly what it saw: a retry may have begun since. False: try again."""
        found = await get_object(self.api, namespace, name)
        if found.object_missing or (found.ok and found.body["metadata"]["uid"] != uid):
            return True
        if not found.ok:
            return False
        due = expires_at(found.body, self.default_ttl_seconds)
        if due is None or due > now:
            return True  # it lives again, or longer: its event is on the way
        schedule = schedule_of(found.body["metadata"])
        if schedule is not None and not await self.settled([(schedule, name, UUID(uid))]):
            return False
        reply = await delete_object(self.api, namespace, name, uid, found.body["metadata"]["resourceVersion"])
        if reply.ok:
            log.info("deleted %s/%s: its ttlSecondsAfterFinished is over", namespace, name)
        return reply.ok or reply.status in (404, 409)
