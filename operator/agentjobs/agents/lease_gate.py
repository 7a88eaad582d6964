"""The gate before all that a run begins: a model call, a tool, a write to its session (H13).

A worker that nobody hears of any more loses its jobs to others when its lease is over. Whatever it began later would be
done twice, so its runs wait here until the lease is renewed, or until they are ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LOOK_SECONDS = 0.1
"""Between two looks at a lease that is over."""

SecondsLeft = Callable[[], float]

_seconds_left: ContextVar[SecondsLeft | None] = ContextVar("agentjobs_lease", default=None)


@contextmanager
def leased(seconds_left: SecondsLeft) -> Iterator[None]:
    """Inside, this task and what it starts run under that lease.

    :param seconds_left: until the lease is over; negative: it is.
    """
    token = _seconds_left.set(seconds_left)
    try:
        yield
    finally:
        _seconds_left.reset(token)


async def wait_for_lease() -> None:
    """Returns at once while the lease holds, and where there is none; else when it has been renewed."""
    seconds_left = _seconds_left.get()
    while seconds_left is not None and seconds_left() <= 0:  # noqa: ASYNC110, a page of memory has no event
        await asyncio.sleep(_LOOK_SECONDS)
