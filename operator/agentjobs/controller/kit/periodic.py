"""Periodic work, and waiting for an event with a time limit."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event came within that time.

    Not ``asyncio.wait_for``: until Python 3.12 it can swallow a cancellation that comes together with the
    event, and a part that goes on while everybody waits for its end stops the whole operator from ending.
    https://github.com/python/cpython/issues/86296
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def run_periodically(
    what: str,
    work: Callable[[], Awaitable[object]],
    failures: tuple[type[Exception], ...],
    soon: asyncio.Event,
    seconds: tuple[float, float, float],
) -> None:
    """Does ``work`` again and again until cancelled; logs ``failures`` of it, and tries it again before long.

    ``seconds``: until the first time, between two times (jittered), and until ``soon`` has settled: once
    that was set, and was not set again for so long (a listing takes its time), it is done at once.
    """
    first, interval, settle = seconds
    delay = first
    while True:
        again = await wait_for(soon, delay)
        while again:
            soon.clear()
            again = await wait_for(soon, min(settle, first))
        try:
            await work()
            delay = interval * random.uniform(0.9, 1.1)
        except failures as error:
            log.warning("%s is tried again: %s", what, error)
            delay = min(10.0, interval)
