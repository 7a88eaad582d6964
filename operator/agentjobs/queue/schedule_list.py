"""Schedules as people see them, with their last children; a part of Queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from agentjobs.queue import numbers
from agentjobs.queue.connection import Database
from agentjobs.queue.records import State
from agentjobs.values.text import clean

_PAGE = (
    "select uid, namespace, name, times, created_at, accepted, suspended, missed, active, runs"
    " from agentjobs.schedule_page(%s, %s, %s, %s, %s, %s)"
)


@dataclass(frozen=True, slots=True)
class ScheduleRun:
    """One child of a tick."""

    name: str
    uid: UUID
    created_at: datetime
    state: State
    reason: str
    seconds: float | None
    """How long its last run took; None: it has not ended, or never began."""


@dataclass(frozen=True, slots=True)
class ListedSchedule:
    """One schedule."""

    uid: UUID
    namespace: str
    name: str
    times: str
    """As the operator writes them: ``<schedule> in <zone>``, or ``at <time>``."""
    created_at: datetime
    accepted: bool
    suspended: bool
    missed: int
    active: int
    """Children that have not ended."""
    runs: Sequence[ScheduleRun]
    """Its last children, the newest first."""


class ScheduleLists:
    """Lists schedules."""

    _db: Database

    async def listed_schedules(
        self,
        namespace: str | None = None,
        after: tuple[str, str] | None = None,
        limit: int = 50,
        *,
        accepted: bool | None = None,
    ) -> Sequence[ListedSchedule]:
        """A page of schedules, by namespace and name.

        :param namespace: None: all.
        :param after: namespace and name of the last one of the page before.
        :param accepted: only those that the operator has accepted, or has not. None: all.
        """
        place = (None, None) if after is None else (clean(after[0]), clean(after[1]))
        rows = await self._db.fetch(
            _PAGE,
            (None if namespace is None else clean(namespace), *place, limit, numbers.SCHEDULE_RUNS, accepted),
        )
        return [_listed(*row) for row in rows]


def _run(name: str, uid: str, created: str, state: str, reason: str, seconds: float | None) -> ScheduleRun:
    took = None if seconds is None else max(float(seconds), 0.0)
    return ScheduleRun(name, UUID(uid), datetime.fromisoformat(created), State(state), reason, took)


def _listed(
    uid: UUID,
    namespace: str,
    name: str,
    times: str,
    created: datetime,
    accepted: bool,
    suspended: bool,
    missed: int,
    active: int,
    runs: Sequence[Sequence[Any]] | None,
) -> ListedSchedule:
    last = [_run(*run) for run in runs or ()]
    return ListedSchedule(uid, namespace, name, times, created, accepted, suspended, missed, active, last)
