"""Due times: a heap with one valid time per object."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

LEAST_TIDIED = 64
"""Entries of a heap that is left as it is, however few of them are valid."""


@dataclass(slots=True)
class DueTimes:
    """Entries of the heap that no longer agree with ``_at`` are skipped when they come up, and removed all at once when
    they are more than half of it: a time a year ahead, of an object that is gone, takes no room for a year."""

    _at: dict[UUID, datetime] = field(default_factory=dict)
    _heap: list[tuple[datetime, UUID]] = field(default_factory=list)

    def __contains__(self, uid: object) -> bool:
        return uid in self._at

    def put(self, uid: UUID, at: datetime | None) -> None:
        """The object is due at this time, and at no other; None: never."""
        if at is None:
            self._at.pop(uid, None)
        elif self._at.get(uid) != at:
            self._at[uid] = at
            heapq.heappush(self._heap, (at, uid))
        self._tidy()

    def due(self, now: datetime) -> list[UUID]:
        """Objects whose time has come, in the order of their times; each is returned once."""
        found: list[UUID] = []
        while self._heap and self._heap[0][0] <= now:
            at, uid = heapq.heappop(self._heap)
            if self._at.get(uid) == at:
                del self._at[uid]
                found.append(uid)
        self._tidy()
        return found

    def next(self) -> datetime | None:
        """The next time at which something is due."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _tidy(self) -> None:
        """Rebuilds the heap if most of it is no longer valid: constant time per change, on average."""
        if len(self._heap) > max(LEAST_TIDIED, 2 * len(self._at)):
            self._heap = [(at, uid) for uid, at in self._at.items()]
            heapq.heapify(self._heap)
