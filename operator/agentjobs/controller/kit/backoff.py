"""Back-off of writes: of all (the API server is away or busy), or of one job (its write was refused)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

SLOWEST_PAUSE_SECONDS = 5.0
"""An API server that is back is noticed within this time."""
SLOWEST_DELAY_SECONDS = 60.0


@dataclass(slots=True)
class Delay:
    until: float
    failures: int


@dataclass(slots=True)
class Backoff:
    """Times are monotonic, passed in."""

    _pause_until: float = 0.0
    _pauses: int = 0
    _delays: dict[int, Delay] = field(default_factory=dict)

    def pause(self, now: float, asked_seconds: float | None = None) -> float | None:
        """Pauses all writes; the seconds, or None where all wait already."""
        if now < self._pause_until:
            return None
        self._pauses += 1
        seconds = asked_seconds or min(0.1 * 2 ** min(self._pauses, 10), SLOWEST_PAUSE_SECONDS) * _jitter()
        self._pause_until = now + seconds
        return seconds

    def paused_seconds(self, now: float) -> float:
        """What is left of the pause; 0: none."""
        return max(0.0, self._pause_until - now)

    def answered(self) -> None:
        """Notes that the API server answers again: the next pause is a short one."""
        self._pauses = 0

    def delay(self, job: int, now: float) -> int:
        """Delays one job; returns how often it has failed in a row."""
        failures = self._delays[job].failures + 1 if job in self._delays else 1
        seconds = min(0.25 * 2 ** min(failures, 10), SLOWEST_DELAY_SECONDS) * _jitter()
        self._delays[job] = Delay(now + seconds, failures)
        return failures

    def clear(self, job: int) -> None:
        self._delays.pop(job, None)

    def delayed(self, now: float) -> Iterator[int]:
        return (job for job, delay in self._delays.items() if delay.until > now)

    def soonest_seconds(self, now: float, default: float) -> float:
        """Until the first delayed job may be written again, at most ``default``."""
        return min((d.until - now for d in self._delays.values() if d.until > now), default=default)


def _jitter() -> float:
    return random.uniform(0.8, 1.2)
