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
from agentjobs.queue.errors import LoginRefused, QueueError
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import WorkerInfo
from agentjobs.telemetry.loops import LoopHealth

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
    """What is wrong with the heartbeat, in one line; empty: nothing."""
    tick_problem: str = ""
    """What is wrong with the queue's tick."""
    login_refused_at: float | None = None
    """Since when the database has refused the login each time; monotonic."""
    turned_at: float = field(default_factory=time.monotonic)
    """The monotonic time at which the heartbeat last tried."""
    beating: LoopHealth = field(default_factory=lambda: LoopHealth("heartbeat"))
    ticking: LoopHealth = field(default_factory=lambda: LoopHealth("tick"))
    pruning: LoopHealth = field(default_factory=lambda: LoopHealth("retention"))
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
            self.turned_at = time.monotonic()
            try:
                with self.beating.attempt():
                    if self.id is None:
                        await self._register()
                    elif not (await self.queue.beat(self.id, (), ())).alive:
                        await self._register()  # ids are never used again (H10)
                self.beaten_at, self.problem = time.monotonic(), _told("heartbeat", self.problem, None)
                self.login_refused_at = None
                self._first.set()
            except Exception as error:
                self.problem = _told("heartbeat", self.problem, error)
                if not isinstance(error, LoginRefused):
                    self.login_refused_at = None
                elif self.login_refused_at is None:
                    self.login_refused_at = time.monotonic()
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
                with self.ticking.attempt():
                    tick = await self.queue.tick(self.id)
                    if tick.failed:
                        raise QueueError("; ".join(tick.failed))
                self.tick_problem = _told("tick", self.tick_problem, None)
            except Exception as error:
                self.tick_problem = _told("tick", self.tick_problem, error)

    async def _prune(self) -> None:
        problem = ""
        while True:
            # soon after a failure: until it has succeeded, the operator says that it is not ready
            seconds = numbers.POLL_SECONDS if problem else numbers.PRUNE_SECONDS
            await asyncio.sleep(seconds * random.uniform(0.5, 1.5))
            try:
                with self.pruning.attempt():
                    await self.queue.prune()
                problem = _told("retention", problem, None)
            except Exception as error:
                problem = _told("retention", problem, error)


def _told(what: str, before: str, error: Exception | None) -> str:
    """The problem now, in one line; logs it where it is another than before."""
    if error is None:
        if before:
            log.info("the %s is well", what)
        return ""
    expected = isinstance(error, QueueError)
    problem = str(error) if expected else f"{type(error).__name__}: {error}"
    if problem != before:
        log.warning("the %s is tried again: %s", what, problem, exc_info=None if expected else error)
    return problem


def _version() -> str:
    try:
        return version("agentjobs")
    except PackageNotFoundError:
        return "0"
