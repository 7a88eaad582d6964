"""The session store for tools: from whatever event loop ADK calls them on, statements run on that of the run.

ADK may call asynchronous tools in threads, each on an event loop of its own, while the process's connection belongs to the loop on
which the run began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from agentjobs.agents.lease_gate import wait_for_lease
from agentjobs.database.connection import Connection

T = TypeVar("T")


class Store(Protocol):
    """The session store."""

    async def in_store(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """The result of ``work`` with the process's connection."""
        ...


class Home:
    """The event loop of one run. To be made on it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, which runs on that loop."""
        if asyncio.get_running_loop() is self._loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


class HomeStore(Home):
    """The store for one run. To be made on the run's event loop."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    async def read(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """The result of ``work``."""
        return await self.call(self._store.in_store(work))

    async def write(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """The result of ``work``, which begins only while the run's lease holds (H13)."""

        async def leased() -> T:
            await wait_for_lease()
            return await self._store.in_store(work)

        return await self.call(leased())
