"""The sweep of ScheduledAgentJobs: one that is gone must not go on firing, one that was missed must begin
to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from agentjobs.controller.apiserver.listing import Listed
from agentjobs.controller.kit.sweep import Suspects, vanished_rows
from agentjobs.controller.scheduledagentjob.scheduler import Scheduler
from agentjobs.queue.records import Confirmed
from agentjobs.queue.schedules import KnownSchedule

log = logging.getLogger(__name__)

ROWS_IN_A_PAGE = 2000


@dataclass(slots=True)
class ScheduleSweep:
    """``SweepAdapter`` of ScheduledAgentJobs: objects are compared with the scheduler's memory, too."""

    scheduler: Scheduler
    namespaces: frozenset[str] = frozenset()
    is_elsewhere: Callable[[str], bool] = lambda uid: False
    """Whether an object, by its uid, belongs to another installation."""

    async def rows(self) -> list[KnownSchedule]:
        scheduler, rows, after = self.scheduler, list[KnownSchedule](), UUID(int=0)
        while page := await scheduler.queue.known_schedules(scheduler.cluster_id, after, ROWS_IN_A_PAGE):
            rows += page
            after = page[-1].uid
        return rows

    def suspects(
        self, rows: list[KnownSchedule], listed: Mapping[UUID, Listed], list_started_at: datetime
    ) -> Suspects[KnownSchedule]:
        vanished = vanished_rows(
            rows,
            listed,
            known_since=lambda row: row.saved_at,
            list_started_at=list_started_at,
            namespaces=self.namespaces,
        )
        ahead = tuple(
            (found, Confirmed(list_started_at, row.generation))
            for row in rows
            if (found := listed.get(row.uid)) is not None and found.generation < row.generation
        )
        unknown = (found for found in listed.values() if not found.deleting)
        return Suspects(
            vanished,
            tuple(found for found in unknown if not self.has(str(found.uid), found.generation)),
            contradicted=tuple(pair for pair in ahead if not self.is_elsewhere(str(pair[0].uid))),
        )

    def has(self, uid: str, generation: int) -> bool:
        return self.is_elsewhere(uid) or self.scheduler.has(uid, generation)

    async def release(self, gone: list[KnownSchedule], rows: list[KnownSchedule]) -> list[KnownSchedule]:
        for row in gone:
            log.info("schedule %s/%s is gone; its delete was missed", row.namespace, row.name)
            self.scheduler.forget(row.uid)
        return gone
