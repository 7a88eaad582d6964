"""Due times: a heap with one valid time per object."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(slots=True)
class DueTimes:
    """Entries of the heap that no longer agree with ``_at`` are skipped when they come up."""

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

    def due(self, now: datetime) -> list[UUID]:
        """Objects whose time has come, in the order of their times; each is returned once."""
        found: list[UUID] = []
        while self._heap and self._heap[0][0] <= now:
            at, uid = heapq.heappop(self._heap)
            if self._at.get(uid) == at:
                del self._at[uid]
                found.append(uid)
        return found

    def next(self) -> datetime | None:
        """The next time at which something is due."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
