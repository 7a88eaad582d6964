"""The claim hint: where the last claim of a worker ended, so that the next one begins there (H25).

A claim walks an index whose head is full of dead rows, claimed and deleted a moment ago. The hint, one place
per lane (queue × priority), lets it begin behind them. For example, a job is committed late, with a place
before the hint: a full rescan every few seconds finds it. Nothing in the database depends on the hint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

PRIORITIES = 10
RESCAN_SECONDS = (1.0, 5.0)
"""The shortest and the longest time from one full rescan to the next."""
RESCAN_SHARE = 20
"""The next rescan waits 20 times as long as the last one took: a twentieth of the time at most."""


class ClaimHint:
    """The claim hint of one worker. Not thread-safe."""

    def __init__(self) -> None:
        self._low: dict[tuple[str, int], int] = {}
        self._rescan_at = 0.0
        self._short = True

    @property
    def short(self) -> bool:
        """Whether the last claim returned fewer jobs than it asked for, or there was none."""
        return self._short

    def low(self, queues: Sequence[str], now: float) -> list[int] | None:
        """First places, by ``priority * len(queues) + index`` (SQL's ``p_low``); None: a full rescan is
        due."""
        if self._short or now >= self._rescan_at:
            return None
        return [self._low.get((queue, p), 0) for p in range(PRIORITIES) for queue in queues]

    def claimed(
        self, places: Iterable[tuple[str, int]], *, short: bool, rescan: bool, started: float, ended: float
    ) -> None:
        """Notes the reply to a claim.

        A rescan resets only the lanes from which it returned jobs. To reset all would make the next claim
        walk the dead rows of better lanes, which are used up, once more.

        :param places: (queue, pos) of each job.
        :param short: fewer jobs came than were asked for.
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
