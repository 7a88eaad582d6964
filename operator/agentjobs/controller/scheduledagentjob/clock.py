"""The clock of schedules: the database's time, carried on by this machine's monotonic clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(slots=True)
class DatabaseClock:
    """Two operators whose machines disagree about the time decide alike, and a step of their clocks moves
    nothing."""

    _at: datetime | None = None
    _monotonic: float = 0.0

    def set(self, now: datetime, asked_at: float) -> None:
        """The database said ``now`` in answer to a question of the monotonic time ``asked_at``."""
        heard_at = time.monotonic()
        self._at, self._monotonic = now, (asked_at + heard_at) / 2

    def now(self) -> datetime:
        """This machine's own clock until the database has spoken."""
        if self._at is None:
            return datetime.now(UTC)
        return self._at + timedelta(seconds=time.monotonic() - self._monotonic)
