"""Waiting for an event, but not for ever."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event came within that time.

    Not ``asyncio.wait_for``: until Python 3.12 it can swallow a cancellation that comes together with the event,
    and a part that goes on while everybody waits for its end stops the whole operator from ending.
    https://github.com/python/cpython/issues/86296
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def now_and_then(
    work: Callable[[], Awaitable[bool]],
    soon: asyncio.Event,
    *,
    first_seconds: float,
    interval_seconds: float,
    settle_seconds: float,
) -> None:
    """Does ``work`` every ``interval_seconds``, jittered, until cancelled; sooner where it answers False.

    Where ``soon`` is set, once it has not been set again for ``settle_seconds``: a listing takes its time.
    """
    delay, settle = first_seconds, min(settle_seconds, first_seconds)
    while True:
        again = await wait_for(soon, delay)
        while again:
            soon.clear()
            again = await wait_for(soon, settle)
        done = await work()
        delay = interval_seconds * random.uniform(0.9, 1.1) if done else min(10.0, interval_seconds)
