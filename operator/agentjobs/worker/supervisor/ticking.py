"""The worker's ticks of the queue, its part in retention, and the listener that wakes its loops by notifications."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Collection

from agentjobs.queue import numbers
from agentjobs.queue.listen import Note
from agentjobs.queue.queue import Queue
from agentjobs.worker.supervisor.identity import Identity, wait_for
from agentjobs.worker.supervisor.outage import Outage

log = logging.getLogger(__name__)

_LEAST_SECONDS = 0.02
"""The shortest pause between two ticks, however dense the due times are."""
_SHARED_SECONDS = 0.1
"""The pause after a notified tick that found another process ticking: that tick may have begun too early."""


def pause(jittered_seconds: float, next_due_seconds: float | None, *, unheard: bool) -> float:
    """Seconds until the next tick: at the next due time, else about a second (H24, H26).

    :param unheard: a notification asked for the last tick, and another process was ticking.
    """
    wanted = [jittered_seconds]
    if next_due_seconds is not None:
        wanted.append(next_due_seconds)
    if unheard:
        wanted.append(_SHARED_SECONDS)
    return max(_LEAST_SECONDS, min(wanted))


class TickFailed(Exception):
    """Some stages of a tick failed, and were undone; the others did their work."""


class Ticker:
    """The loop that ticks the queue while the worker is registered."""

    def __init__(self, queue: Queue, identity: Identity, *, seconds: float) -> None:
        self._queue = queue
        self._identity = identity
        self._seconds = seconds
        self.outage = Outage("tick", log)

    async def run(self) -> None:
        notified = False
        while True:
            seconds = self._seconds * random.uniform(0.9, 1.2)
            try:
                if self._identity.registered:
                    tick = await self._queue.tick(self._identity.uuid)
                    if tick.promoted or tick.admitted:
                        self._identity.work_wanted.set()
                    if tick.failed:
                        raise TickFailed("; ".join(tick.failed))
                    self.outage.over()
                    seconds = pause(
                        seconds, tick.next_due_seconds, unheard=notified and tick.ticked_elsewhere
                    )
            except Exception as error:
                seconds = max(seconds, self.outage.failed(error))
            notified = await wait_for(self._identity.tick_wanted, seconds)
            if notified:
                await asyncio.sleep(_LEAST_SECONDS)


class Pruner:
    """The loop that removes finished jobs whose retention is over, apart from the ticks: it may take long."""

    def __init__(self, queue: Queue, *, seconds: float = numbers.PRUNE_SECONDS) -> None:
        self._queue = queue
        self._seconds = seconds
        self.outage = Outage("retention", log)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds * random.uniform(0.5, 1.5))
            try:
                await self._queue.prune()
                self.outage.over()
            except Exception as error:
                await asyncio.sleep(self.outage.failed(error))


class Listener:
    """The loop that hears notifications and wakes the other loops. They also poll, so it may miss some."""

    def __init__(self, queue: Queue, identity: Identity, queues: Collection[str], *, seconds: float) -> None:
        self._queue = queue
        self._identity = identity
        self._queues = frozenset(queues)
        self._seconds = seconds
        self.outage = Outage("listen", log)

    async def run(self) -> None:
        while True:
            try:
                async for note in self._queue.listen():
                    self.outage.over()
                    self._hear(note)
            except Exception as error:
                await asyncio.sleep(self.outage.failed(error))

    def _hear(self, note: Note) -> None:
        identity = self._identity
        match note.kind:
            case "ready":
                if note.payload in self._queues:
                    identity.work_wanted.set()
            case "control":
                if note.payload in ("", str(identity.uuid)):
                    identity.beat_wanted.set()
            case "admit":
                identity.tick_wanted.set()
            case "due":
                self._due(note.payload)
            case "poll":
                identity.work_wanted.set()
            case _:
                pass

    def _due(self, payload: str) -> None:
        """Asks for a tick at the notified due time, unless the regular tick comes before it."""
        try:
            seconds = float(payload) - time.time()
        except ValueError:
            seconds = 0.0
        if seconds < self._seconds:
            asyncio.get_running_loop().call_later(max(0.0, seconds), self._identity.tick_wanted.set)
