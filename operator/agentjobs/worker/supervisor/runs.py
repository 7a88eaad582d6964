"""The runs that a worker has in hand: those that run, and those whose ack the queue has not answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from agentjobs.agents.verdict.outcome import AgentEvent
from agentjobs.queue.records import Ack, ClaimedJob, OutputTail, Progress
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
    """The trace of a run."""

    trace_id: str
    parent: TraceParent | None
    """The parent that the job's object named."""
    begun_ns: int = field(default_factory=time.time_ns)
    ended_ns: int = 0
    """When the run had ended, by the clock of ``begun_ns`` as it went then: setting it does not change a run's length."""
    open: dict[str, Span] = field(default_factory=dict)
    """The executor's spans that have begun and not ended, by id."""


@dataclass(slots=True)
class Run:
    """One claimed job, from the claim to the answer to its ack."""

    job: ClaimedJob
    worker: UUID
    """The uuid that claimed the job. The worker may have another one by now."""
    executor: ExecutorHandle | None = None
    """None: the run has not been handed to one yet."""
    stop_asked: Why | None = None
    """The heaviest reason to stop so far."""
    stop_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    events: list[AgentEvent] = field(default_factory=list)
    step: str = ""
    """The author or tool of the last event; of an error that ended a tool's call, the tool."""
    _calling: bool = False
    """The last event called a tool."""
    _in_tool: bool = False
    """``step`` is a tool that has not answered."""
    stored: tuple[str, int, Usage] = ("", 0, Usage())
    """The progress that is stored in the queue: step, event count, usage."""
    output_stored: int = -1
    """Bytes of output whose end is stored in the queue, for a reader; -1: nothing is."""
    claimed_at: float = field(default_factory=time.monotonic)
    traced: Traced | None = None
    """None: the run is not traced."""
    ended: Ended | None = None
    ack: Ack | None = None

    @property
    def key(self) -> Key:
        return self.job.id, self.job.token

    def stop(self, why: Why) -> None:
        """Stops the run by the steps of ``why``. A run without an executor does not start any more."""
        if heavier(self.stop_asked, why):
            self.stop_asked = why
            self.stop_wanted.set()
        if self.executor is not None:
            self.executor.stop(why)

    def kill(self, why: Why) -> None:
        """Stops the run for ``why`` and sends SIGKILL at once."""
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
        # ADK tells a tool's end by an error that names the agent alone
        of_tool = event.kind == "error" and self._calling
        if not of_tool:
            self.step = event.tool or event.author
        self._calling = event.kind == "tool_call"
        self._in_tool = self._calling or of_tool
        if len(self.events) < EVENTS_CARRIED:
            self.events.append(event)

    @property
    def where(self) -> str:
        """Where the run is by its last event, such as ``in tool search``. Empty: it has told of none."""
        if not self.step:
            return ""
        return f"in tool {self.step}" if self._in_tool else f"at {self.step}"

    def names(self) -> dict[str, Any]:
        """The names in every log line and signal of the run."""
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


@dataclass(frozen=True, slots=True)
class Printed:
    """The end of a run's output, for a reader."""

    run: Run
    so_far: int
    """The bytes that the run has printed up to this end."""
    tail: OutputTail


class Runs:
    """The runs in hand. An ended run frees its slot, and stays in hand until its ack is answered."""

    def __init__(self, slots: Mapping[str, int]) -> None:
        self._slots = dict(slots)
        self.running: dict[Key, Run] = {}
        self.unacked: dict[Key, Run] = {}
        self.progressed = asyncio.Event()
        """Set when a run has made progress that the queue has not stored, or its output is wanted."""
        self.wanted: frozenset[Key] = frozenset()
        """The runs whose output somebody reads, as the last beat said."""

    def add(self, run: Run) -> None:
        self.running[run.key] = run

    def end(self, run: Run, ack: Ack | None) -> None:
        """Frees the run's slot. With an ack the run stays in hand; None: it is forgotten."""
        self.running.pop(run.key, None)
        run.ack = ack
        if ack is not None:
            self.unacked[run.key] = run

    def answered(self, key: Key) -> Run | None:
        return self.unacked.pop(key, None)

    def forget(self, worker: UUID, job_id: int) -> None:
        """Gives up the acks of a job's runs that ``worker`` claimed."""
        for key in [key for key, run in self.unacked.items() if run.worker == worker and key[0] == job_id]:
            del self.unacked[key]

    def free(self) -> dict[str, int]:
        """Free slots by queue (H23). Empty while a quarantined job runs: it must be alone (H14)."""
        if any(run.job.solo for run in self.running.values()):
            return {}
        used: dict[str, int] = {}
        for run in self.running.values():
            used[run.job.queue] = used.get(run.job.queue, 0) + 1
        free = {queue: slots - used.get(queue, 0) for queue, slots in self._slots.items()}
        return {queue: n for queue, n in free.items() if n > 0}

    def in_hand(self, worker: UUID) -> list[Key]:
        """The runs that a heartbeat of ``worker`` names (H8)."""
        both = (self.running, self.unacked)
        return [key for runs in both for key, run in runs.items() if run.worker == worker]

    def acks_of(self, worker: UUID, most: int) -> list[Ack]:
        """Unanswered acks, oldest first, at most one per job, since the queue's answer names only the job."""
        found: dict[int, Ack] = {}
        for run in self.unacked.values():
            if run.worker == worker and run.ack is not None and len(found) < most:
                found.setdefault(run.job.id, run.ack)
        return list(found.values())

    def workers(self) -> set[UUID]:
        """The uuids whose runs have unanswered acks; more than one only after an expiry."""
        return {run.worker for run in self.unacked.values()}

    def progress(self, worker: UUID) -> list[Progress]:
        """The progress of those runs that changed since it was stored last."""
        return [
            Progress(run.job.id, run.job.token, run.step, run.event_count, run.usage)
            for run in self.running.values()
            if run.worker == worker and run.stored != (run.step, run.event_count, run.usage)
        ]

    def want_output(self, stored: Mapping[Key, bool]) -> None:
        """Notes whose output somebody reads from now on, and whether some is stored."""
        self.wanted = frozenset(stored)
        for key in self.wanted & self.running.keys():
            if not stored[key]:
                self.running[key].output_stored = -1  # what was stored for an earlier reader is gone
        if self.wanted:
            self.progressed.set()

    def outputs(self, worker: UUID) -> list[Printed]:
        """Wanted runs that have printed since their output was stored last, or have none stored."""
        found: list[Printed] = []
        for key in self.wanted & self.running.keys():
            run = self.running[key]
            if run.worker == worker and run.executor is not None:
                output = run.executor.output
                if output.printed != run.output_stored:
                    end = output.tail()
                    found.append(Printed(run, output.printed, OutputTail(*key, end.text, end.skipped)))
        return found

    def progress_stored(self, rows: list[Progress]) -> None:
        """Notes that the queue has stored these rows."""
        for row in rows:
            run = self.running.get((row.id, row.token))
            if run is not None:
                run.stored = (row.step, row.event_count, row.usage)
