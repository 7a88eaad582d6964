"""The operator's heartbeat: makes it a live process of the queue, so that its ticks may rescue jobs (H11)."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from uuid import UUID, uuid4

from agentjobs.queue import numbers
from agentjobs.queue.errors import QueueError
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import WorkerInfo

log = logging.getLogger(__name__)


@dataclass(slots=True)
class OperatorHeartbeat:
    """The operator's row among the live processes; it serves no queue."""

    queue: Queue
    name: str
    beat_seconds: float = 5.0
    tick_seconds: float = 2.5
    id: UUID | None = None
    beaten_at: float | None = None
    """Monotonic; None: the database has not been reached yet."""
    problem: str = "the database has not been reached yet"
    _first: asyncio.Event = field(default_factory=asyncio.Event)

    async def reached(self) -> None:
        """Returns once the database has been reached."""
        await self._first.wait()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._tick())
            group.create_task(self._prune())

    async def leave(self) -> None:
        if self.id is not None:
            await self.queue.unregister(self.id)

    async def _beat(self) -> None:
        while True:
            try:
                if self.id is None:
                    await self._register()
                elif not (await self.queue.beat(self.id, (), ())).alive:
                    await self._register()  # ids are never used again (H10)
                self.beaten_at, self.problem = time.monotonic(), ""
                self._first.set()
            except QueueError as error:
                if not self.problem:
                    log.warning("the heartbeat is tried again: the database does not answer: %s", error)
                self.problem = str(error)
            await asyncio.sleep(self.beat_seconds if not self.problem else min(1.0, self.beat_seconds))

    async def _register(self) -> None:
        fresh = uuid4()
        await self.queue.register(WorkerInfo(fresh, self.name, {}, _version(), pool="operator"))
        self.id = fresh

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self.tick_seconds * random.uniform(0.8, 1.2))
            if self.id is None or self.problem:
                continue
            try:
                await self.queue.tick(self.id)
            except QueueError as error:
                log.warning("the queue's tick is tried again: the database does not answer: %s", error)

    async def _prune(self) -> None:
        while True:
            await asyncio.sleep(numbers.PRUNE_SECONDS * random.uniform(0.5, 1.5))
            try:
                await self.queue.prune()
            except QueueError as error:
                log.warning("retention is tried again: the database does not answer: %s", error)


def _version() -> str:
    try:
        return version("agentjobs")
    except PackageNotFoundError:
        return "0"
