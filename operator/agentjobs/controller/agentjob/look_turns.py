"""The turns in which the jobs of one namespace look again for what they miss; pure, but for the clock that it is given.

Example: 50,000 jobs of team-a name a ConfigMap each that nobody creates. Each wants to look every minute; they take
turns, and a look that asked for one thing in vain keeps the next one waiting for a quarter of a second. A look that
finds everything keeps nobody waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

GETS_A_SECOND = 4.0
"""In each namespace, for what was missing before and is missing still."""


def rest_seconds(asked: int, *, found: bool) -> float:
    """For how long nobody else of the namespace looks, after a look with so many GETs."""
    return 0.0 if found else asked / GETS_A_SECOND


@dataclass(slots=True, weakref_slot=True)
class LookTurns:
    """The queue of one namespace's jobs for a look. A job is named by the event that wakes it; one that leaves, because its
    object is gone, makes the queue shorter for the others."""

    later: Callable[[float, Callable[[], None]], object] = field(
        default=lambda seconds, then: asyncio.get_running_loop().call_later(seconds, then)
    )
    _holder: asyncio.Event | None = None
    _resting: bool = False
    _waiting: dict[asyncio.Event, None] = field(default_factory=dict)

    def ask(self, wake: asyncio.Event) -> None:
        """Sets the event once it is its turn."""
        self._waiting[wake] = None
        self._next()

    def leave(self, wake: asyncio.Event, rest: float = 0.0) -> None:
        """Waits no more, or has had its turn; the next one comes after ``rest`` seconds."""
        self._waiting.pop(wake, None)
        if self._holder is wake:
            self._holder = None
            self._resting = rest > 0
            if rest > 0:
                self.later(rest, self._rested)
            else:
                self._next()

    def _rested(self) -> None:
        self._resting = False
        self._next()

    def _next(self) -> None:
        if self._waiting and self._holder is None and not self._resting:
            self._holder = next(iter(self._waiting))
            del self._waiting[self._holder]
            self._holder.set()
