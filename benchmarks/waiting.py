"""Waiting for a condition: a bench that waits for what never comes ends with an error, not with a figure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

LIMIT_SECONDS = 60.0


class NeverReached(RuntimeError):
    """What was waited for did not come in time."""


async def until(
    reached: Callable[[], Awaitable[bool]], what: str, *, within: float = LIMIT_SECONDS, every: float = 0.02
) -> float:
    """The ``perf_counter`` at which ``reached`` said yes; seconds throughout. Raises NeverReached, which names ``what``."""
    deadline = time.monotonic() + within
    while not await reached():
        if time.monotonic() > deadline:
            raise NeverReached(f"not within {within:.0f} s: {what}")
        await asyncio.sleep(every)
    return time.perf_counter()
