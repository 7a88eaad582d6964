"""The window of a follower: which events it has told, so that it tells each once. Pure.

Events are ordered by their time. Our own session store gives each event of a session a time after that of the one
before, in the order of the commits, so a follower that knows the last time would do. ADK's own service stores the time
at which an event was made: of two machines, or of two parallel agents, an event with an earlier time may come into the
table after a later one. So a follower looks back a while, at what came since, and knows by their ids what it has told.
"""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta

LOOK_BACK = timedelta(minutes=5)
"""How much earlier than the latest told event a new one may be, by its time."""
MOST_EVENTS = 256
"""Events that a follower looks back at; more only where they have the same time."""


class Window:
    """What a follower has told: all that it has seen up to a time, the *floor*, and these events after that.

    Events up to the floor are not read any more. So an event is told at most once, whatever comes into the table; and
    each event is told that comes before the follower has told 256 later ones, and within five minutes of their times.
    """

    def __init__(self, floor: datetime | None = None) -> None:
        self.floor = floor
        """None: from the session's start."""
        self._told: dict[datetime, set[str]] = {}
        self._times: list[datetime] = []
        """The keys of ``_told``, as a heap."""
        self._count = 0
        self._latest: datetime | None = None

    def known(self) -> list[str]:
        """The ids of the told events after the floor."""
        return [id for ids in self._told.values() for id in ids]

    def tell(self, at: datetime, id: str) -> bool:
        """Notes that an event is told. False: it was before."""
        if (self.floor is not None and at <= self.floor) or id in self._told.get(at, ()):
            return False
        if at not in self._told:
            heapq.heappush(self._times, at)
        self._told.setdefault(at, set()).add(id)
        self._count += 1
        self._latest = at if self._latest is None else max(self._latest, at)
        while len(self._times) > 1 and (
            self._count > MOST_EVENTS or self._latest - self._times[0] > LOOK_BACK
        ):
            self.floor = heapq.heappop(self._times)
            self._count -= len(self._told.pop(self.floor))
        return True
