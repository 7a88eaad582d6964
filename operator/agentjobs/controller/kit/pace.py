"""The pace of a loop that takes what has gathered: a lone thing at once, many together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Pace:
    """How soon a loop may take its next turn.

    A turn costs ``gap_seconds``, or more where it took long. Pauses save up for ``burst`` turns that follow each other at
    once: what comes in a few parts, such as a new job and its end, waits for no gap.

    It is a leaky bucket, kept as the time at which the next turn is due:
    https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
    """

    gap_seconds: float
    """Between two turns, where one follows the other all the time."""
    share: float = 1.0
    """Of the time, turns take at most."""
    burst: int = 4
    _next_at: float = 0.0

    def seconds(self, now: float) -> float:
        """Until the next turn may begin; 0: now."""
        return max(0.0, self._next_at - now)

    def began(self, now: float) -> None:
        """Notes that a turn begins."""
        self._next_at = max(self._next_at, now - self.burst * self.gap_seconds) + self.gap_seconds

    def took(self, seconds: float) -> None:
        """Notes how long the turn took that began last."""
        self._next_at += max(0.0, seconds / self.share - self.gap_seconds)
