"""One cached schedule."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from agentjobs.controller.kit.status_digest import shown_revision, status_digest
from agentjobs.controller.scheduledagentjob.parsed_schedule import ParsedSchedule
from agentjobs.queue.schedules import ScheduleRow, Tick
from agentjobs.schedule.decide import State
from agentjobs.values.json import JsonObject


@dataclass(slots=True)
class CachedSchedule:
    """A schedule's object, its row, and what the scheduler is doing with it."""

    parsed: ParsedSchedule
    observed: bytes
    """Digest of the status that the object shows."""
    row: ScheduleRow | None = None
    """None: the row is not read yet."""
    row_asked_at: float = 0.0
    """Monotonic time at which the row was asked for; claims in it hold from then on at least."""
    written: bytes = b""
    """Digest of the status that this process wrote last: an older CRD keeps less of it."""
    kept: bytes = b""
    """Digest of what the object has shown first since then."""
    decided_generation: int | None = None
    """Generation of the object that the last decision was about; ``next_tick`` and ``finished`` are that
    decision's."""
    next_tick: datetime | None = None
    finished: bool = False
    """A one shot that has come to its end, and nothing of that decision is left to be stored."""
    reported_held_tick: datetime | None = None
    """Last tick for which JobAlreadyActive was posted, so it is posted once."""
    busy: bool = False
    """Whether a request for one of its children is under way: no decision meanwhile."""
    confirmed_absent: str | None = None
    """Name of a claimed child of which a GET has said that it is not there."""
    retry_at: float = 0.0
    """Monotonic: no creation before it."""
    reported: tuple[str, ...] = ()
    """Children (or generations) of which a failure was posted, so it is posted once."""

    @classmethod
    def of(cls, parsed: ParsedSchedule, obj: JsonObject) -> CachedSchedule:
        return cls(parsed, observed_digest(obj.get("status") or {}))

    @property
    def current(self) -> bool:
        """Whether row and object are of one generation; else one of them is on its way."""
        return self.row is not None and self.row.generation == self.parsed.generation

    @property
    def decided(self) -> bool:
        """Whether the last decision was about the present object: it waits while a child is being created."""
        return self.decided_generation == self.parsed.generation

    @property
    def pending(self) -> Tick | None:
        """The decided tick whose child is not there."""
        ticks = self.row.ticks if self.row else ()
        return next((tick for tick in ticks if tick.uid is None and not tick.manual), None)

    @property
    def uncreated(self) -> list[Tick]:
        """Ticks without a child, requested runs included."""
        return [tick for tick in self.row.ticks if tick.uid is None] if self.row else []

    def tick(self, child: str) -> Tick | None:
        return next((tick for tick in self.row.ticks if tick.child == child), None) if self.row else None

    def claimed_seconds(self, tick: Tick, claimant: UUID) -> float:
        """For how long only this process may create the tick's child; 0: it may not."""
        if tick.claimant != claimant:
            return 0.0
        return max(0.0, self.row_asked_at + tick.claimed_for_seconds - time.monotonic())

    def store_row(self, row: ScheduleRow, asked_at: float) -> None:
        """Stores a newer row; ignores an older one that comes late."""
        if self.row is None or row.version >= self.row.version:
            self.row, self.row_asked_at = row, asked_at

    def state(self, active: tuple[str, ...]) -> State:
        assert self.row is not None
        row, pending = self.row, self.pending
        return State(
            created=row.created_at,
            changed=row.changed_at,
            unsuspended=row.unsuspended_at,
            last_tick=row.last_tick,
            pending=pending.tick if pending else None,
            active=active,
            run_requested=self.parsed.run_requested,
            run_handled=row.run_handled,
        )


def observed_digest(status: JsonObject) -> bytes:
    """The digest of a status that an object shows; of one with an impossible revision, as if there were none."""
    return status_digest(status if shown_revision(status) else {})
