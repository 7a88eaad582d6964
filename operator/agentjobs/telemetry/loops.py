"""The supervised loops of a process: which of them has failed for so long that people must see it.

Each loop tries again after a failure, for ever, and keeps what it has. So a loop that always fails would look like one
that has nothing to do: ``/readyz`` of worker and operator shows it, with its last error.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

FAILING_SECONDS = 30.0
"""A loop that has failed for so long without one success is shown: a fail-over of the database takes less."""
_ERROR_CHARACTERS = 200


@dataclass(slots=True)
class LoopHealth:
    """Whether one loop succeeds. Times are monotonic, passed in where a test has its own."""

    name: str
    failures: int = 0
    """Failed tries since the last success."""
    error: str = ""
    """First line of the last failure."""
    since: float = 0.0
    """When the first of these tries failed, by the monotonic clock."""

    def failed(self, error: BaseException, now: float | None = None) -> None:
        """Notes a failed try."""
        if self.failures == 0:
            self.since = time.monotonic() if now is None else now
        self.failures += 1
        lines = str(error).splitlines()
        self.error = f"{type(error).__name__}: {lines[0] if lines else ''}"[:_ERROR_CHARACTERS]

    def succeeded(self) -> None:
        """Notes a try that succeeded."""
        self.failures, self.error = 0, ""

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """One try: an exception is noted and goes on."""
        try:
            yield
        except Exception as error:
            self.failed(error)
            raise
        self.succeeded()

    def failing_seconds(self, now: float | None = None) -> float:
        """For how long several tries have failed; 0: there is no problem."""
        seconds = (time.monotonic() if now is None else now) - self.since
        # a loop that rests for a minute has tried once
        return seconds if self.failures >= 2 and seconds >= FAILING_SECONDS else 0.0

    def problem(self, now: float | None = None) -> str:
        """What is wrong, once several tries have failed within FAILING_SECONDS and more. Empty: nothing."""
        seconds = self.failing_seconds(now)
        if not seconds:
            return ""
        return f"the loop {self.name} has failed for {seconds:.0f} s, {self.failures} times, the last: {self.error}"


def problems(loops: Iterable[LoopHealth], now: float | None = None) -> list[str]:
    """The problem of each loop that has one, the longest first; loops with the same error are told together."""
    failing = sorted((loop for loop in loops if loop.problem(now)), key=lambda loop: loop.since)
    alike: dict[str, list[LoopHealth]] = {}
    for loop in failing:
        alike.setdefault(loop.error, []).append(loop)
    return [
        first.problem(now) + (f"; so have {', '.join(loop.name for loop in others)}" if others else "")
        for first, *others in alike.values()
    ]
