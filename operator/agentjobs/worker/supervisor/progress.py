"""The progress of running jobs (step, event count, tokens), stored in the queue soon after it changed."""

from __future__ import annotations

import asyncio
import logging

from agentjobs.queue.queue import Queue
from agentjobs.worker.supervisor.identity import Identity
from agentjobs.worker.supervisor.outage import Outage
from agentjobs.worker.supervisor.runs import Runs

log = logging.getLogger(__name__)

_SECONDS = 1.0
"""The pause between a change and its statement, which takes later changes along. A run that has ended by then
is left out: its ack says more."""


class ProgressReport:
    """The loop that stores progress: at most one statement a second for all runs, none while nothing changes.

    It is not part of the heartbeat, which commits alone and waits for nothing (H12).
    """

    def __init__(self, queue: Queue, identity: Identity, runs: Runs) -> None:
        self._queue = queue
        self._identity = identity
        self._runs = runs
        self._again = False
        self.outage = Outage("progress", log)

    async def run(self) -> None:
        while True:
            await self._runs.progressed.wait()
            await asyncio.sleep(_SECONDS)
            self._runs.progressed.clear()
            try:
                await self._once()
                self.outage.over()
            except Exception as error:
                self._runs.progressed.set()
                await asyncio.sleep(self.outage.failed(error))

    async def _once(self) -> None:
        worker = self._identity.uuid
        rows = self._runs.progress(worker)
        if rows:
            changed = await self._queue.progress(worker, rows)
            # Fewer rows changed than we sent: some were locked and skipped (H12), or an earlier reply was
            # lost and they were already stored. Send once more, then take them as stored.
            self._again = changed < len(rows) and not self._again
            if self._again:
                self._runs.progressed.set()
            else:
                self._runs.progress_stored(rows)
