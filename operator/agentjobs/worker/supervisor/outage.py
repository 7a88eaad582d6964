"""The pauses and log lines of a worker's loop while the database is away."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass

from agentjobs.queue.errors import QueueError
from agentjobs.telemetry.log import tell

_FIRST_SECONDS = 0.2
_MOST_SECONDS = 5.0


@dataclass(slots=True)
class Outage:
    """The outage of one loop: jittered pauses, and two log lines instead of one per try."""

    loop: str
    log: logging.Logger
    failures: int = 0

    @property
    def on(self) -> bool:
        return self.failures > 0

    def failed(self, error: Exception) -> float:
        """Notes a failed try; returns the seconds until the next."""
        self.failures += 1
        if self.failures == 1:
            tell(self.log, "database.away", level=logging.WARNING, loop=self.loop, error=str(error))
            if not isinstance(error, QueueError):
                self.log.error(
                    "the loop %s failed with an unexpected error; it tries again", self.loop, exc_info=error
                )
        longest = min(_MOST_SECONDS, _FIRST_SECONDS * 2.0 ** min(self.failures - 1, 10))
        return random.uniform(longest / 2, longest)

    def over(self) -> None:
        """Notes a try that succeeded."""
        if self.failures:
            tell(self.log, "database.back", loop=self.loop, failures=self.failures)
        self.failures = 0
