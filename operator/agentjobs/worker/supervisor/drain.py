"""The drain: the worker claims nothing more, lets its runs end, and gives back those that take too long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from agentjobs.telemetry.log import tell
from agentjobs.worker.process.stopping import Why
from agentjobs.worker.supervisor.identity import Identity
from agentjobs.worker.supervisor.runs import Runs

log = logging.getLogger(__name__)

_REPLY_SECONDS = 10.0
"""The longest wait for the reply to a claim: its jobs would have to be rescued."""
_FLUSH_SECONDS = 10.0
"""The longest wait for the answers to the last acks. Runs without one are rescued (H14)."""


class Drain:
    """The drain of one worker. A first request begins it, a second stops the runs, a third kills them."""

    def __init__(self, identity: Identity, runs: Runs, *, seconds: float) -> None:
        self._identity = identity
        self._runs = runs
        self._seconds = seconds
        self._asked = 0
        self._steps = [asyncio.Event() for _ in range(3)]
        self.changed = asyncio.Event()
        """Set whenever a run has ended, an ack was answered or a step of the dispatcher is over."""

    def ask(self, why: str) -> None:
        """Makes the next of the three requests. ``why`` is for the log."""
        if self._asked == len(self._steps):
            return
        self._steps[self._asked].set()
        self._asked += 1
        self._identity.draining = True
        self._identity.beat_wanted.set()  # gives its seats to others
        how = ("drain", "hurry", "kill")[self._asked - 1]
        tell(log, f"worker.{how}", why=why, running=len(self._runs.running))

    async def run(self) -> None:
        """Waits for the first request; returns when no run is left and every ack is answered or given up."""
        asked, hurried, killed = self._steps
        await asked.wait()
        await self._until(lambda: not self._identity.in_flight, _REPLY_SECONDS, [killed])
        await self._until_idle(self._seconds, [hurried])
        for run in list(self._runs.running.values()):
            run.stop(Why.DRAIN)
        await self._until_idle(None, [killed])
        for run in list(self._runs.running.values()):
            run.kill(Why.DRAIN)
        await self._until_idle(None, [])
        if not await self._until(lambda: not self._runs.unacked, _FLUSH_SECONDS, []):
            tell(log, "worker.unacked", level=logging.ERROR, acks=len(self._runs.unacked))
        tell(log, "worker.drained")

    async def _until_idle(self, seconds: float | None, sooner: Iterable[asyncio.Event]) -> None:
        await self._until(lambda: not self._runs.running, seconds, list(sooner))

    async def _until(
        self, reached: Callable[[], bool], seconds: float | None, sooner: list[asyncio.Event]
    ) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while not reached() and not any(event.is_set() for event in sooner):
                    waits = [asyncio.ensure_future(event.wait()) for event in (self.changed, *sooner)]
                    try:
                        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for wait in waits:
                            wait.cancel()
                    self.changed.clear()
        except TimeoutError:
            pass
        return reached()
