"""The worker's ticks of the queue, its part in retention, and the listener that wakes its loops by notifications."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Collection
from contextlib import aclosing

from agentjobs.queue import numbers
from agentjobs.queue.listen import DEAF, WORKER_CHANNELS, Note
from agentjobs.queue.queue import Queue
from agentjobs.worker.supervisor.identity import Identity, wait_for
from agentjobs.worker.supervisor.outage import Outage
from agentjobs.worker.supervisor.runs import Runs

log = logging.getLogger(__name__)

_REST = 20
"""How many times as long a worker waits at least for its next tick that is not one of the two that tick each second."""
_JOBS_A_CALL = 4
"""Of so many jobs one lookout is called. It may take more, and passes on what is left."""
_LOOKS_SECONDS = (0.005, 0.015, 0.04, 0.1)
"""When the lookouts behind those that were called look whether a job is left: one that was called may have died, or have no room."""
_LAST_LOOK_SECONDS = 0.15
"""When all others look: what each knows of the others is as old as its last beat, so it may be that none of those had room."""
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


def rest(ticks: bool, workers: int) -> int:
    """How many times as long as a tick's interval a worker waits for its next one. Pure.

    :param ticks: it is one of the two that tick each second. The others' ticks are for the case that those two beat and yet do not
        tick: all together they make about one an interval, and with more than 100 workers a few.
    :param workers: how many there are, as far as a beat has told; it counts to 100.
    """
    return 1 if ticks else max(_REST, workers)


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
            rests = rest(self._identity.ticks, self._identity.workers)
            seconds = rests * self._seconds * random.uniform(0.9, 1.2)
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
        seconds = self._rest()
        while True:
            await asyncio.sleep(seconds)
            seconds = self._rest()
            try:
                await self._queue.prune()
                self.outage.over()
            except Exception as error:
                # soon: until it has succeeded, the worker says that it is not ready
                seconds = self.outage.failed(error)

    def _rest(self) -> float:
        return self._seconds * random.uniform(0.5, 1.5)


def look_after(place: int, count: int, jobs: int, number: int) -> float:
    """After how many seconds a lookout looks for the jobs of a call; 0.0: it is called itself. Pure.

    :param place: its place among the lookouts with room.
    :param count: how many there are.
    :param number: from which place on lookouts are called: another one with each call.
    """
    count = max(1, count)
    behind = (place - number) % count - min(count, -(-jobs // _JOBS_A_CALL))
    if behind < 0:
        return 0.0
    return _LOOKS_SECONDS[behind] if behind < len(_LOOKS_SECONDS) else _LAST_LOOK_SECONDS


class Listener:
    """The loop that hears notifications and wakes the other loops, while the worker looks out for a queue. They also poll, or hear of
    work with their beats, so it may miss some."""

    def __init__(
        self, queue: Queue, identity: Identity, runs: Runs, queues: Collection[str], *, seconds: float
    ) -> None:
        self._queue = queue
        self._identity = identity
        self._runs = runs
        self._queues = frozenset(queues)
        self._seconds = seconds
        self._looks: dict[str, asyncio.TimerHandle] = {}
        """By queue: the next look. It is after all calls that were heard, so one is enough."""
        self._looking: set[asyncio.Task[None]] = set()
        self.outage = Outage("listen", log)

    async def run(self) -> None:
        while True:
            await self._identity.listening_wanted.wait()
            try:
                async with aclosing(
                    self._queue.listen(WORKER_CHANNELS, deaf_seconds=numbers.POLL_SECONDS)
                ) as notes:
                    async for note in notes:
                        self.outage.over()
                        self._hear(note)
                        if not self._identity.listening_wanted.is_set():
                            break
            except Exception as error:
                await asyncio.sleep(self.outage.failed(error))

    def _hear(self, note: Note) -> None:
        identity = self._identity
        match note.kind:
            case "call":
                self._called(note.payload)
            case "control":
                if note.payload in ("", str(identity.uuid)):
                    identity.beat_wanted.set()
            case "admit":
                if self._is_first():
                    identity.tick_wanted.set()
            case "due":
                if self._is_first():
                    self._due(note.payload)
            case "poll" if note.payload == DEAF:
                if not identity.deaf:
                    identity.deaf = True
                    identity.beat_wanted.set()
            case "poll":
                identity.deaf = False
                identity.work_wanted.set()
            case _:
                pass

    def _called(self, payload: str) -> None:
        queue, _, told = payload.partition(" ")
        if queue not in self._queues or queue not in self._runs.free():
            return
        place, count = (self._identity.seats or {}).get(queue, (0, 1))
        try:
            jobs, number = (int(part) for part in told.split(" "))
        except ValueError:
            jobs, number = 1, place
        after = look_after(place, count, jobs, number)
        if after == 0:
            self._claim()
        else:
            self._look_after(after, queue)

    def _claim(self) -> None:
        self._identity.called = True
        self._identity.work_wanted.set()

    def _look_after(self, seconds: float, queue: str) -> None:
        loop = asyncio.get_running_loop()
        planned = self._looks.get(queue)
        if planned is not None:
            if planned.when() <= loop.time() + seconds:
                return
            planned.cancel()
        self._looks[queue] = loop.call_later(seconds, self._look, queue)

    def _look(self, queue: str) -> None:
        del self._looks[queue]
        if queue in self._runs.free():
            task = asyncio.ensure_future(self._look_for(queue))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

    async def _look_for(self, queue: str) -> None:
        try:
            if await self._queue.anything_for([queue]):
                self._claim()
        except Exception as error:
            log.debug("a look for jobs failed: %s", error)  # beats and polls find them

    def _is_first(self) -> bool:
        """Whether this worker is one of the two that hear of due times and sessions for all."""
        seats = self._identity.seats
        return seats is None or any(place < 2 for place, _ in seats.values())

    def _due(self, payload: str) -> None:
        """Asks for a tick at the notified due time, unless the regular tick comes before it."""
        try:
            seconds = float(payload) - time.time()
        except ValueError:
            seconds = 0.0
        if seconds < self._seconds * rest(self._identity.ticks, self._identity.workers):
            asyncio.get_running_loop().call_later(max(0.0, seconds), self._identity.tick_wanted.set)
