"""Waiting for an event with a time limit."""

from __future__ import annotations

import asyncio


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
