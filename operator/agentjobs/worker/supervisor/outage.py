"""The pauses and log lines of a worker's loop while its work fails, mostly for want of the database."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, field

from agentjobs.queue.errors import LoginRefused, QueueError, QueueTimeout, QueueUnavailable
from agentjobs.telemetry.log import tell
from agentjobs.telemetry.loops import LoopHealth

_FIRST_SECONDS = 0.2
_MOST_SECONDS = 5.0


@dataclass(slots=True)
class Outage:
    """The outage of one loop: jittered pauses, and a log line where it begins, changes and ends, not one per try."""

    loop: str
    log: logging.Logger
    health: LoopHealth = field(init=False)
    failures: int = 0
    problem: str = ""
    """What is wrong, in one line; empty: nothing."""
    began_at: float = 0.0
    """Monotonic."""
    login_refused_at: float | None = None
    """Since when the database has refused the login each time; monotonic."""
    _event: str = ""

    def __post_init__(self) -> None:
        self.health = LoopHealth(self.loop)

    @property
    def on(self) -> bool:
        return self.failures > 0

    def lasted_seconds(self) -> float:
        return time.monotonic() - self.began_at if self.on else 0.0

    def login_refused_seconds(self) -> float:
        return 0.0 if self.login_refused_at is None else time.monotonic() - self.login_refused_at

    def failed(self, error: Exception) -> float:
        """Notes a failed try; returns the seconds until the next."""
        self.health.failed(error)
        self.failures += 1
        if self.failures == 1:
            self.began_at = time.monotonic()
        if not isinstance(error, LoginRefused):
            self.login_refused_at = None
        elif self.login_refused_at is None:
            self.login_refused_at = time.monotonic()
        event = event_of(error)
        self.problem = str(error) if isinstance(error, QueueError) else f"{type(error).__name__}: {error}"
        if event != self._event:
            self._event = event
            tell(self.log, event, level=logging.WARNING, loop=self.loop, error=str(error))
            if not isinstance(error, QueueError):
                self.log.error(
                    "the loop %s failed with an unexpected error; it tries again", self.loop, exc_info=error
                )
        longest = min(_MOST_SECONDS, _FIRST_SECONDS * 2.0 ** min(self.failures - 1, 10))
        return random.uniform(longest / 2, longest)

    def over(self) -> None:
        """Notes a try that succeeded."""
        if self.failures:
            back = "loop.recovered" if self._event == "loop.failed" else "database.back"
            tell(self.log, back, loop=self.loop, failures=self.failures)
        self.health.succeeded()
        self.failures, self.problem, self.login_refused_at, self._event = 0, "", None, ""


def event_of(error: Exception) -> str:
    """The name of the log line about an error.

    >>> event_of(QueueTimeout("canceling statement due to statement timeout"))
    'database.slow'
    """
    match error:
        case QueueTimeout():
            return "database.slow"
        case QueueUnavailable():
            return "database.away"
        case QueueError():
            return "database.refuses"
        case _:
            return "loop.failed"
