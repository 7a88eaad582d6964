"""What this worker holds: running executors, and acks that the queue has not answered yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from agentjobs.agents.verdict.outcome import AgentEvent
from agentjobs.queue.records import Ack, ClaimedJob, Progress
from agentjobs.telemetry.signals import EVENTS_CARRIED
from agentjobs.telemetry.spans import Span
from agentjobs.telemetry.traceparent import TraceParent
from agentjobs.values.usage import Usage
from agentjobs.worker.process.ended import Ended
from agentjobs.worker.process.handle import ExecutorHandle
from agentjobs.worker.process.stopping import Why, heavier

Key = tuple[int, int]
"""(job id, token)."""


@dataclass(slots=True)
class Traced:
    """What the spans of a run need."""

    trace_id: str
    parent: TraceParent | None
    """Of the job, as its object named it."""
    begun_ns: int = field(default_factory=time.time_ns)
    open: dict[str, Span] = field(default_factory=dict)
    """Spans of the executor that have not ended, by their ids."""


@dataclass(slots=True)
class Run:
    """One claimed job, from the claim to the answer to its ack."""

    job: ClaimedJob
    worker: UUID
    """The uuid that claimed it: with the token the fence of the run. The worker may have another one by now."""
    executor: ExecutorHandle | None = None
    """None: not started yet."""
    stop_asked: Why | None = None
    stop_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    events: list[AgentEvent] = field(default_factory=list)
    step: str = ""
    """Author or tool of the last event."""
    told: tuple[str, int, Usage] = ("", 0, Usage())
    """What the queue knows of the progress."""
    claimed_at: float = field(default_factory=time.monotonic)
    traced: Traced | None = None
    """None: it is not."""
    ended: Ended | None = None
    ack: Ack | None = None

    @property
    def key(self) -> Key:
        return self.job.id, self.job.token

    def stop(self, why: Why) -> None:
        """Ends the run by the ladder of ``why``; one that has not started does not start any more."""
        if heavier(self.stop_asked, why):
            self.stop_asked = why
            self.stop_wanted.set()
        if self.executor is not None:
            self.executor.stop(why)

    def kill(self, why: Why) -> None:
        """The last rung at once."""
        self.stop(why)
        if self.executor is not None:
            self.executor.kill()

    @property
    def event_count(self) -> int:
        return self.executor.event_count if self.executor is not None else 0

    @property
    def usage(self) -> Usage:
        return self.executor.usage if self.executor is not None else Usage()

    def saw(self, event: AgentEvent) -> None:
        self.step = event.tool or event.author
        if len(self.events) < EVENTS_CARRIED:
            self.events.append(event)

    def names(self) -> dict[str, Any]:
        """What every log line and signal says of the run. Names only."""
        payload = self.job.payload
        return {
            "uid": str(self.job.uid),
            "namespace": payload.get("namespace"),
            "name": payload.get("name"),
            "queue": self.job.queue,
            "run": self.job.run,
            "attempt": self.job.attempt,
            "max_attempts": self.job.max_attempts,
        }


class Runs:
    """Never more running than there are slots. Ended ones keep no slot, but are held until their ack is answered."""

    def __init__(self, slots: Mapping[str, int]) -> None:
        self._slots = dict(slots)
        self.running: dict[Key, Run] = {}
        self.unacked: dict[Key, Run] = {}
        self.moved = asyncio.Event()
        """Set when a running run has made progress that the queue does not know of."""

    def add(self, run: Run) -> None:
        self.running[run.key] = run

    def end(self, run: Run, ack: Ack | None) -> None:
        """``ack`` None: nothing is to be said, and it is forgotten."""
        self.running.pop(run.key, None)
        run.ack = ack
        if ack is not None:
            self.unacked[run.key] = run

    def answered(self, key: Key) -> Run | None:
        return self.unacked.pop(key, None)

    def free(self) -> dict[str, int]:
        """Free slots by queue (H23). Empty while a suspected poison job runs: it must be alone (H14)."""
        if any(run.job.solo for run in self.running.values()):
            return {}
        used: dict[str, int] = {}
        for run in self.running.values():
            used[run.job.queue] = used.get(run.job.queue, 0) + 1
        free = {queue: slots - used.get(queue, 0) for queue, slots in self._slots.items()}
        return {queue: n for queue, n in free.items() if n > 0}

    def in_hand(self, worker: UUID) -> list[Key]:
        """What a heartbeat of ``worker`` names (H8)."""
        both = (self.running, self.unacked)
        return [key for runs in both for key, run in runs.items() if run.worker == worker]

    def acks_of(self, worker: UUID, most: int) -> list[Ack]:
        """Unanswered acks, oldest first, at most one per job: an answer names the job only."""
        found: dict[int, Ack] = {}
        for run in self.unacked.values():
            if run.worker == worker and run.ack is not None and len(found) < most:
                found.setdefault(run.job.id, run.ack)
        return list(found.values())

    def workers(self) -> set[UUID]:
        """The uuids with unanswered acks; more than one only after an expiry."""
        return {run.worker for run in self.unacked.values()}

    def progress(self, worker: UUID) -> list[Progress]:
        """What changed since it was told last."""
        return [
            Progress(run.job.id, run.job.token, run.step, run.event_count, run.usage)
            for run in self.running.values()
            if run.worker == worker and run.told != (run.step, run.event_count, run.usage)
        ]

    def told(self, rows: list[Progress]) -> None:
        for row in rows:
            run = self.running.get((row.id, row.token))
            if run is not None:
                run.told = (row.step, row.event_count, row.usage)
