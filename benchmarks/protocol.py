"""The client's side of ``clients``: ready, go, counts, end. Standard library only: the peers' own environments run it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable

_FLUSH_SECONDS = 0.005


class Counter:
    """Tells the harness how many more jobs are done, at most every few milliseconds."""

    def __init__(self) -> None:
        self._n = 0

    def add(self, n: int) -> None:
        if not self._n and n:
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._flush)
        self._n += n

    def _flush(self) -> None:
        sys.stdout.write(f"n {self._n}\n")
        sys.stdout.flush()
        self._n = 0


async def serve(work: Callable[[], Awaitable[None]]) -> None:
    """``work`` from the line ``go`` to the end of standard input, a pipe; raises what it raises."""
    # read by the loop, not by a thread: that one would keep a process whose work failed alive until standard input ends
    lines = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(lines)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    print("ready", flush=True)
    await lines.readline()
    working, end = asyncio.ensure_future(work()), asyncio.ensure_future(lines.read())
    await asyncio.wait((working, end), return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        await working
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
