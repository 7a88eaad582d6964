"""A hint that keeps claims flat over dead tuples (H25).

Each claim walks an index whose head is full of rows that were claimed and deleted a moment ago. The hint
says where the last claim of a lane (queue × priority) ended. It is only a hint: nothing in the database
depends on it, and a full rescan finds what committed late behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

PRIORITIES = 10
RESCAN_SECONDS = (1.0, 5.0)
RESCAN_SHARE = 20
"""A rescan may cost at most about a twentieth of the time, unless that took longer than the upper bound."""


class ClaimHint:
    """One worker's hint. Not thread-safe; belongs to one dispatcher."""

    def __init__(self) -> None:
        self._low: dict[tuple[str, int], int] = {}
        self._rescan_at = 0.0
        self._short = True

    def low(self, queues: Sequence[str], now: float) -> list[int] | None:
        """Places to start at, by ``priority * len(queues) + index`` (SQL's ``p_low``); None: a full rescan is due."""
        if self._short or now >= self._rescan_at:
            return None
        return [self._low.get((queue, p), 0) for p in range(PRIORITIES) for queue in queues]

    def claimed(
        self, places: Iterable[tuple[str, int]], *, short: bool, rescan: bool, started: float, ended: float
    ) -> None:
        """Takes note of a claim's reply: (queue, pos) of each job; ``short`` when fewer came than were asked for.

        A rescan resets only the lanes that it returned rows from: resetting all would make the next claim
        walk the dead rows of the exhausted better lanes again.
        """
        highest: dict[tuple[str, int], int] = {}
        for queue, pos in places:
            lane = (queue, pos >> 56)
            if pos > highest.get(lane, -1):
                highest[lane] = pos
        for lane, pos in highest.items():
            self._low[lane] = pos if rescan else max(pos, self._low.get(lane, 0))
        self._short = short
        if rescan:
            shortest, longest = RESCAN_SECONDS
            self._rescan_at = ended + min(longest, max(shortest, RESCAN_SHARE * (ended - started)))
