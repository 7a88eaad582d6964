"""The export of ended jobs: a loop asks the database which acked jobs have ended, and exports their spans."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from agentjobs.telemetry.job_spans import Timeline, job_name, spans_of
from agentjobs.telemetry.loops import LoopHealth
from agentjobs.telemetry.traceparent import TraceParent, trace_id_of
from agentjobs.telemetry.tracing import CLOSE_SECONDS, Tracing

log = logging.getLogger(__name__)

Timelines = Callable[[Sequence[UUID]], Awaitable[Sequence[Timeline]]]

_GATHER_SECONDS = 0.2
"""The pause before a statement, so that it asks about all jobs that end close together."""
_MOST = 500
"""The most jobs in one statement."""
_BACKLOG = 50_000
"""The most jobs that wait while the database is away; others get no spans."""
_RETRY_SECONDS = 2.0


@dataclass(slots=True)
class JobEnds:
    """The loop that exports the spans of ended jobs. Without tracing it does nothing."""

    tracing: Tracing | None
    timelines: Timelines
    """Reads the timelines of those jobs that have ended."""
    unavailable: type[Exception]
    """The error of ``timelines`` after which it is called again."""
    only: Callable[[Timeline], bool]
    """True for jobs whose spans this process exports."""
    health: LoopHealth = field(default_factory=lambda: LoopHealth("spans of ended jobs"))
    _uids: dict[UUID, None] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, uid: UUID) -> None:
        """Adds a job that may have ended."""
        if self.tracing is not None and len(self._uids) < _BACKLOG:
            self._uids[uid] = None
            self._wake.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            try:
                with self.health.attempt():
                    await self._tell()
            except self.unavailable as error:
                log.warning("the spans of ended jobs are exported later: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def flush(self, seconds: float = CLOSE_SECONDS) -> None:
        """Exports what is left, within this time."""
        with contextlib.suppress(TimeoutError, self.unavailable):
            async with asyncio.timeout(seconds):
                while self._uids:
                    await self._tell()

    async def _tell(self) -> None:
        assert self.tracing is not None
        self._wake.clear()
        asked = list(self._uids)[:_MOST]
        for uid in asked:
            del self._uids[uid]
        try:
            found = await self.timelines(asked)
        except (asyncio.CancelledError, self.unavailable):
            self._uids = dict.fromkeys(asked) | self._uids
            self._wake.set()
            raise
        except Exception:  # no defect of tracing may end a worker
            log.exception("the spans of %d ended jobs are not exported", len(asked))
            found = []
        for job in found:
            try:
                self._export(self.tracing, job)
            except Exception:
                log.exception("the spans of job %s are not exported", job.uid)
        if self._uids:
            self._wake.set()

    def _export(self, tracing: Tracing, job: Timeline) -> None:
        if not self.only(job):
            return
        parent = TraceParent.parse(job.traceparent)
        if tracing.samples(trace_id_of(job.uid, parent), job_name(job.queue), parent):
            for span in spans_of(job):
                tracing.export(span)
