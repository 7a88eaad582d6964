"""Where the running jobs are: step, event count and tokens, told to the queue soon after they changed."""

from __future__ import annotations

import asyncio
import logging

from agentjobs.queue.queue import Queue
from agentjobs.worker.supervisor.identity import Identity
from agentjobs.worker.supervisor.outage import Outage
from agentjobs.worker.supervisor.runs import Runs

log = logging.getLogger(__name__)

_SECONDS = 1.0
"""From a change to its telling. What changes meanwhile goes along in the same statement, and a run that has ended by
then is not told about: its ack says more."""


class ProgressReport:
    """One statement at most every second, for all runs of the worker; none while nothing happens.

    A loop of its own: the heartbeat commits alone, and waits for nothing (H12).
    """

    def __init__(self, queue: Queue, identity: Identity, runs: Runs) -> None:
        self._queue = queue
        self._identity = identity
        self._runs = runs
        self._again = False
        self.outage = Outage("progress", log)

    async def run(self) -> None:
        while True:
            await self._runs.moved.wait()
            await asyncio.sleep(_SECONDS)
            self._runs.moved.clear()
            try:
                await self._once()
                self.outage.over()
            except Exception as error:
                self._runs.moved.set()
                await asyncio.sleep(self.outage.failed(error))

    async def _once(self) -> None:
        worker = self._identity.uuid
        rows = self._runs.progress(worker)
        if rows:
            changed = await self._queue.progress(worker, rows)
            # Rows that somebody holds are skipped (H12), and rows that an answer was lost for are unchanged: once more.
            self._again = changed < len(rows) and not self._again
            if self._again:
                self._runs.moved.set()
            else:
                self._runs.told(rows)
