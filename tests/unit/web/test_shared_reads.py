"""Reads for streams: once for all who want the same, and few at once, so that requests find a connection."""

from __future__ import annotations

import asyncio

import pytest

from agentjobs.web.watching import Shared


async def test_what_many_want_is_read_once_and_of_different_wants_few_at_once() -> None:
    shared, at_once, most, reads = Shared(at_once=2), 0, 0, 0

    async def read() -> int:
        nonlocal at_once, most, reads
        at_once, reads = at_once + 1, reads + 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return reads

    await asyncio.gather(*(shared.read(key % 10, read) for key in range(1000)))
    assert (reads, most) == (10, 2)


async def test_a_reader_that_goes_takes_nobodys_answer_along_and_an_error_is_not_kept() -> None:
    shared, go = Shared(), asyncio.Event()

    async def fails() -> int:
        await go.wait()
        raise RuntimeError("away")

    async def works() -> int:
        return 1

    first, second = (asyncio.create_task(shared.read("a", fails)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    go.set()
    with pytest.raises(RuntimeError):
        await second
    assert await shared.read("a", works) == 1
