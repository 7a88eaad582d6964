"""``successfulJobsHistoryLimit`` and ``failedJobsHistoryLimit``: the oldest finished children beyond them
are deleted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import Call
from agentjobs.controller.kit.backoff import Backoff, worth_a_line
from agentjobs.controller.metrics.counters import TASK_FAILURES, Counters
from agentjobs.controller.scheduledagentjob.cache import ScheduleCache
from agentjobs.controller.scheduledagentjob.cached_schedule import CachedSchedule
from agentjobs.controller.scheduledagentjob.cluster_objects import ClusterObjects
from agentjobs.queue.errors import QueueError
from agentjobs.queue.schedules import Schedules
from agentjobs.schedule.history import Child, surplus

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.05
"""Children that end within it are looked at together."""
PARALLEL = 8
"""Schedules of one namespace whose children are deleted at once."""
BUSY_SECONDS = 0.5
"""Until a schedule is looked at again while others of its namespace, or its own deletes, are under way."""
AGAIN_SECONDS = 10.0
"""After a delete that could not be: a child that still keeps its tick from being created again, say."""


@dataclass(slots=True)
class HistoryLimits:
    """Deletes in the background, a few schedules of each namespace at a time."""

    cache: ScheduleCache
    queue: Schedules
    objects: ClusterObjects
    meter: Counters
    on_deleted: Callable[[UUID], None]
    """Called with each child that was deleted."""
    _schedules: set[UUID] = field(default_factory=set)
    _backoff: Backoff[UUID] = field(default_factory=lambda: Backoff(PARALLEL))
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def prune_history(self, schedule: UUID) -> None:
        """Has the schedule looked at: there may be more finished children than its limits allow."""
        self._schedules.add(schedule)
        self._wake.set()

    def forget(self, namespace: str, schedule: UUID) -> None:
        """Forgets a schedule whose object is gone."""
        self._backoff.forget(namespace, schedule)

    async def run(self) -> None:
        """Deletes until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                await asyncio.sleep(SETTLE_SECONDS)
                self._wake.clear()
                schedules, self._schedules = self._schedules, set()
                for schedule in schedules:
                    entry = self.cache.entries.get(schedule)
                    try:
                        if entry is not None and self._surplus(entry):
                            self._start(group, entry)
                    except Exception:
                        self._failed(schedule)

    def _start(self, group: asyncio.TaskGroup, entry: CachedSchedule) -> None:
        uid, namespace, now = entry.parsed.uid, entry.parsed.ref.namespace, time.monotonic()
        if self._backoff.may_start(namespace, uid, now) and not self._backoff.is_under_way(namespace, uid):
            self._backoff.start(namespace, uid, now)
            group.create_task(self._prune_or_report(namespace, uid))
        else:
            self._again(uid, max(self._backoff.seconds(namespace, uid, now), BUSY_SECONDS))

    def _again(self, schedule: UUID, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.prune_history, schedule)

    async def _prune_or_report(self, namespace: str, schedule: UUID) -> None:
        try:
            if not await self._prune(schedule):
                self._again(schedule, AGAIN_SECONDS)
            self._backoff.taken(namespace, schedule)
        except ApiUnavailable as error:
            decision = self._backoff.decide(Call.DELETE, error, namespace, schedule, time.monotonic())
            if worth_a_line(self._backoff.refusals(namespace, schedule)):
                log.warning(
                    "finished children are deleted later, in %.1f s: %s",
                    decision.seconds,
                    error,
                    extra={"schedule": str(schedule)},
                )
            self._again(schedule, decision.seconds)
        except QueueError as error:
            log.warning("finished children are deleted later: %s", error)
            self._again(schedule, AGAIN_SECONDS)
        except Exception:
            self._failed(schedule)
        finally:
            self._backoff.ended(namespace, schedule)

    def _failed(self, schedule: UUID) -> None:
        """A fault of ours with one schedule holds up no other."""
        log.exception("finished children could not be deleted", extra={"schedule": str(schedule)})
        self.meter.add(TASK_FAILURES, part="scheduler")
        self._again(schedule, AGAIN_SECONDS)

    async def _prune(self, schedule: UUID) -> bool:
        """Deletes what is beyond the limits. False: not all of it could go now."""
        entry = self.cache.entries.get(schedule)
        surplus_children = self._surplus(entry) if entry is not None else []
        if entry is None or not surplus_children:
            return True
        namespace = entry.parsed.ref.namespace
        settled = await self.queue.settled_children(
            (schedule, child.name, UUID(child.uid)) for child in surplus_children
        )
        done = True
        for child in surplus_children:
            if UUID(child.uid) in settled and await self.objects.delete(namespace, child.name, child.uid):
                log.info("deleted %s/%s: it is beyond its schedule's history limit", namespace, child.name)
                self.cache.children.deleted(schedule, child.uid)
                self.on_deleted(UUID(child.uid))
            else:
                done = False
        return done

    def _surplus(self, entry: CachedSchedule) -> list[Child]:
        if entry.row is None or entry.parsed.spec is None:
            return []
        requested = entry.parsed.run_requested
        return surplus(
            self.cache.children.of(entry.parsed.uid),
            successful_limit=entry.parsed.successful_limit,
            failed_limit=entry.parsed.failed_limit,
            last_tick=entry.row.last_tick,
            run_is_pending=bool(requested) and requested != entry.row.run_handled,
        )
