"""The status writer of ScheduledAgentJobs: coalesces changes, and writes only statuses that say something
new."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from uuid import UUID

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import Call
from agentjobs.controller.kit.backoff import WHO, Backoff, worth_a_line
from agentjobs.controller.kit.status_digest import status_digest
from agentjobs.controller.metrics.counters import STATUS_SKIPPED, TASK_FAILURES, Counters
from agentjobs.controller.scheduledagentjob.cache import ScheduleCache
from agentjobs.controller.scheduledagentjob.cached_schedule import CachedSchedule
from agentjobs.controller.scheduledagentjob.cluster_objects import ClusterObjects
from agentjobs.controller.scheduledagentjob.status import schedule_status
from agentjobs.controller.scheduledagentjob.write_gate import WriteGate

log = logging.getLogger(__name__)

NO_STATUS = status_digest({})
PARALLEL = 8
"""Writes under way at once, for each namespace."""
BUSY_SECONDS = 0.25
"""Until a status is tried again while others of its namespace are under way."""


@dataclass(slots=True)
class ScheduleStatusWriter:
    """A schedule that changes is written ``coalesce_seconds`` after the first change that is not shown."""

    cache: ScheduleCache
    gate: WriteGate
    objects: ClusterObjects
    meter: Counters
    coalesce_seconds: float = 1.0
    _due: dict[UUID, float] = field(default_factory=dict)
    _held: set[UUID] = field(default_factory=set)
    """Schedules that were refused, or whose namespace is: a timer enqueues them again."""
    _backoff: Backoff[UUID] = field(default_factory=lambda: Backoff(PARALLEL))
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def enqueue(self, uid: UUID) -> None:
        if uid not in self._due and uid not in self._held:
            self._due[uid] = time.monotonic() + self.coalesce_seconds
            self._wake.set()

    def forget(self, namespace: str, uid: UUID) -> None:
        """Forgets a schedule whose object is gone."""
        self._backoff.forget(namespace, uid)

    async def run(self) -> None:
        """Until cancelled. The first in ``_due`` is the first to be written: all wait equally long."""
        async with asyncio.TaskGroup() as group:
            while True:
                if not self._due:
                    self._wake.clear()
                    await self._wake.wait()
                uid, due = next(iter(self._due.items()))
                await asyncio.sleep(due - time.monotonic())
                await self.gate.wait_until_calm()
                self._due.pop(uid, None)
                if (entry := self.cache.entries.get(uid)) is None:
                    continue
                try:
                    if (wanted := self._wanted(entry)) is not None:
                        self._start(group, entry, wanted)
                except Exception:
                    self._failed(entry.parsed.ref.namespace, uid)

    def _start(self, group: asyncio.TaskGroup, entry: CachedSchedule, wanted: dict[str, object]) -> None:
        uid, namespace, now = entry.parsed.uid, entry.parsed.ref.namespace, time.monotonic()
        if self._backoff.may_start(namespace, uid, now) and not self._backoff.is_under_way(namespace, uid):
            self._backoff.start(namespace, uid, now)
            group.create_task(self._write(entry, wanted))
        else:
            self._hold(uid, max(self._backoff.seconds(namespace, uid, now), BUSY_SECONDS))

    def _hold(self, uid: UUID, seconds: float) -> None:
        self._held.add(uid)
        asyncio.get_running_loop().call_later(seconds, self._let_go, uid)

    def _let_go(self, uid: UUID) -> None:
        self._held.discard(uid)
        self._due.setdefault(uid, time.monotonic())
        self._wake.set()

    def _wanted(self, entry: CachedSchedule) -> dict[str, object] | None:
        """The status to be written; None: the object shows it, or it is not known yet.

        An object that was edited is shown once it is decided: each decision puts its schedule into the queue here.
        """
        if entry.row is None or not entry.current or not entry.decided:
            return None
        active = self.cache.children.active(entry.parsed.uid)
        status = schedule_status(entry.parsed, entry.row, active, entry.next_tick, finished=entry.finished)
        says = status_digest(status)
        kept = entry.observed != NO_STATUS and entry.kept in (b"", entry.observed)
        if says == entry.observed or (says == entry.written and kept):
            self.meter.add(STATUS_SKIPPED, reason="unchanged")
            return None
        return status

    async def _write(self, entry: CachedSchedule, status: dict[str, object]) -> None:
        uid, ref = entry.parsed.uid, entry.parsed.ref
        try:
            if await self.objects.write_status(ref, uid, status, self._backoff.refusals(ref.namespace, uid)):
                entry.written = status_digest(status)
                entry.kept = entry.written if entry.observed == entry.written else b""
            else:
                self.cache.reload(uid)  # another process knows more
            self._backoff.taken(ref.namespace, uid)
        except ApiUnavailable as error:
            decision = self._backoff.decide(Call.STATUS, error, ref.namespace, uid, time.monotonic())
            if worth_a_line(self._backoff.refusals(ref.namespace, uid)):
                log.warning(
                    "the status of schedule %s/%s is refused; %s waits %.1f s: %s",
                    ref.namespace,
                    ref.name,
                    WHO[decision.concerns],
                    decision.seconds,
                    error,
                )
            self._hold(uid, decision.seconds)
        except Exception:
            self._failed(ref.namespace, uid)
        finally:
            self._backoff.ended(ref.namespace, uid)

    def _failed(self, namespace: str, uid: UUID) -> None:
        """A fault of ours with one schedule holds up no other."""
        log.exception("a schedule's status could not be written", extra={"schedule": str(uid)})
        self.meter.add(TASK_FAILURES, part="scheduler")
        self._backoff.postpone(namespace, uid, time.monotonic())
        self._hold(uid, self._backoff.seconds(namespace, uid, time.monotonic()))
