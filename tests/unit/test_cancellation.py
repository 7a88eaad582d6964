"""A cancellation is never lost on the way through a library."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from agentjobs.cancellation import cancellation_kept


async def swallows(begun: asyncio.Event) -> str:
    """As asyncio.wait_for does now and then until Python 3.12."""
    begun.set()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    return "an answer"


async def cancelled(work: asyncio.Task[str], begun: asyncio.Event) -> None:
    await begun.wait()
    work.cancel()
    await asyncio.wait([work])


async def test_a_swallowed_cancellation_is_raised_after_all() -> None:
    begun = asyncio.Event()

    async def ask() -> str:
        with cancellation_kept():
            return await swallows(begun)

    work = asyncio.create_task(ask())
    await cancelled(work, begun)
    assert work.cancelled()


async def test_work_after_a_cancellation_goes_on() -> None:
    """What a part does at its end, in a task that is being cancelled."""
    begun = asyncio.Event()

    async def ask() -> str:
        try:
            await swallows(begun)
        finally:
            with cancellation_kept():
                await asyncio.sleep(0)
        return "confirmed"

    work = asyncio.create_task(ask())
    await cancelled(work, begun)
    assert work.result() == "confirmed"


async def test_a_time_limit_stays_a_time_limit() -> None:
    async def ask() -> str:
        async with asyncio.timeout(0.01):
            with cancellation_kept():
                return await swallows(asyncio.Event())

    with pytest.raises(TimeoutError):
        await ask()
