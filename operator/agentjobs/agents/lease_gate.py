"""The lease gate: a run passes it before each model call, tool call and write to its session (H13).

For example, a worker is cut off from the database. After 15 s its lease is over and other workers may take
its jobs; whatever its runs began later would be done twice. So each run waits at the gate until the
supervisor renews the lease, or until it is ended. Runs in the executor; ``worker/process/lease.py`` has the
lease itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LOOK_SECONDS = 0.1
"""Interval at which a waiting run looks whether its lease was renewed."""

SecondsLeft = Callable[[], float]

_seconds_left: ContextVar[SecondsLeft | None] = ContextVar("agentjobs_lease", default=None)


@contextmanager
def leased(seconds_left: SecondsLeft) -> Iterator[None]:
    """Binds this task, and the tasks that it starts, to a lease until the end of the block.

    :param seconds_left: tells the seconds until the lease is over; 0 or less: it is over.
    """
    token = _seconds_left.set(seconds_left)
    try:
        yield
    finally:
        _seconds_left.reset(token)


async def wait_for_lease() -> None:
    """Waits while the task's lease is over. Returns at once while the lease holds, or where there is none."""
    seconds_left = _seconds_left.get()
    while seconds_left is not None and seconds_left() <= 0:  # noqa: ASYNC110, a page of memory has no event
        await asyncio.sleep(_LOOK_SECONDS)
