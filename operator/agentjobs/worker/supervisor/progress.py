"""The progress of running jobs (step, event count, tokens), stored in the queue soon after it changed; and what they have printed,
while somebody reads it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from agentjobs.queue.bisection import each_alone
from agentjobs.queue.queue import Queue
from agentjobs.worker.supervisor.identity import Identity
from agentjobs.worker.supervisor.outage import Outage
from agentjobs.worker.supervisor.runs import Printed, Runs

log = logging.getLogger(__name__)

_OUTPUTS = 32
"""Runs whose output one statement stores, each 64 KiB at most."""
_SECONDS = 1.0
"""The pause between a change and its statement, which takes later changes along. A run that has ended by then
is left out: its ack says more."""


class ProgressReport:
    """The loop that stores progress: at most one statement a second for all runs, none while nothing changes. One more while
    somebody reads a run's output.

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
                await self._output()
                self.outage.over()
            except Exception as error:
                self._runs.progressed.set()
                await asyncio.sleep(self.outage.failed(error))

    async def _output(self) -> None:
        """Stores what wanted runs have printed. What was not stored, since somebody had its row, is sent with the next pass."""
        if not self._runs.wanted:
            return
        self._runs.progressed.set()
        worker = self._identity.uuid
        found = self._runs.outputs(worker)

        async def store(some: Sequence[Printed]) -> None:
            if await self._queue.store_output(worker, [one.tail for one in some]) == len(some):
                for one in some:
                    one.run.output_stored = one.so_far

        async def leave_out(one: Printed, error: Exception) -> None:
            log.error("the output of run %s cannot be stored", one.tail.id, exc_info=error)
            one.run.output_stored = one.so_far

        for start in range(0, len(found), _OUTPUTS):
            await each_alone(found[start : start + _OUTPUTS], store, leave_out)

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
