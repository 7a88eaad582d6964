"""The supervisor's handle of one executor: hears its events, stops it by steps, tells its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.verdict.outcome import AgentEvent, Outcome
from agentjobs.telemetry.spans import Span
from agentjobs.values.bounds import MOST_EVENTS, count, seconds
from agentjobs.values.saved_file import MOST_TOLD, SavedFile
from agentjobs.values.text import shortened
from agentjobs.values.usage import Usage
from agentjobs.worker.process.ended import Ended
from agentjobs.worker.process.output import Output
from agentjobs.worker.process.stopping import Step, Why, heavier, ladder
from agentjobs.worker.process.wire import Lines, Message, Op, decode, encode_line

log = logging.getLogger(__name__)

_DRAIN_SECONDS = 2.0
"""After the exit: the longest wait for the end of file on both sockets. Only a descendant that survived
SIGKILL for so long can keep them open."""

_PRINTED_SECONDS = 0.25
"""After the result: the longest wait for the end of the output. Descendants may keep its pipe open."""
_SHOWN_CHARACTERS = 500
"""Longest quote of what a run has sent, or of why it ended."""
_EXIT_SECONDS = 2.0
"""After its result, an executor that has not exited for so long is killed."""

OnEvent = Callable[[AgentEvent], None]
OnSpan = Callable[[Span], None]
OnUsage = Callable[[], None]


class ExecutorHandle(asyncio.Protocol):
    """One executor, made by ``ExecutorPool``. It is a standby until ``give`` hands it its only run."""

    def __init__(self, number: int, output: Output, *, grace_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.pid: int | None = None
        self.idle = loop.create_future()
        """Done when the standby has made its warm-up run and waits."""
        self._pidfd: int | None = None
        self._output = output
        self._grace_seconds = grace_seconds
        self._transport: asyncio.WriteTransport | None = None
        self._lines = Lines()
        self._socket_closed = loop.create_future()
        self._ended: asyncio.Future[Ended] = loop.create_future()
        self._on_event: OnEvent = lambda _: None
        self._on_span: OnSpan = lambda _: None
        self._on_usage: OnUsage = lambda: None
        self._timers: list[asyncio.TimerHandle] = []
        self._why: Why | None = None
        self._killed = False
        self._broken = False
        """Whether the run has sent something that is no message: nothing more is read of it."""
        self._began = time.monotonic()
        self._outcome: Outcome | None = None
        self._cancelled = False
        self._crash = ""
        self._settling: asyncio.Task[None] | None = None
        self._files: dict[str, SavedFile] = {}
        self.event_count = 0
        self.usage = Usage()

    # what the supervisor asks of the executor

    def give(
        self,
        spec: AttemptSpec,
        on_event: OnEvent,
        on_span: OnSpan | None = None,
        on_usage: OnUsage | None = None,
    ) -> None:
        """Hands the run to the executor and starts its attempt timeout. The process need not exist yet.

        :param on_usage: called whenever ``usage`` has changed.
        """
        self._on_event = on_event
        self._on_span = on_span or self._on_span
        self._on_usage = on_usage or self._on_usage
        self._began = time.monotonic()
        self._output.fields = {
            "uid": spec.uid,
            "namespace": spec.namespace,
            "name": spec.name,
            "run": spec.run,
            "attempt": spec.attempt,
        }
        if self.done:
            return
        self._send({"op": Op.JOB, "spec": spec.as_json()})
        self._later(spec.attempt_timeout_seconds, partial(self.stop, Why.TIMEOUT))

    def stop(self, why: Why) -> None:
        """Begins the steps of ``why`` (``stopping.ladder``).

        For example, a cancel during a drain replaces the drain as the reason, but the steps under way go on.
        Only a reason that kills at once takes effect at once. A lighter reason changes nothing.
        """
        if self._ended.done() or not heavier(self._why, why):
            return
        first = self._why is None
        self._why = why
        steps = ladder(why, self._grace_seconds)
        if first:
            for after, step in steps:
                self._later(after, partial(self._take, step))
        elif steps[0][1] == Step.KILL:
            self._take(Step.KILL)

    def kill(self) -> None:
        """Sends SIGKILL now, through the pidfd: a process that was given the same pid later cannot be hit."""
        self._killed = True
        self._signal(signal.SIGKILL)

    async def ended(self) -> Ended:
        """Waits for the end of the run."""
        return await asyncio.shield(self._ended)

    @property
    def done(self) -> bool:
        return self._ended.done()

    @property
    def output(self) -> Output:
        """What it has printed so far."""
        return self._output

    # what the template reports

    def spawned(self, pid: int, pidfd: int) -> None:
        self.pid, self._pidfd = pid, pidfd
        if self._killed:
            self._signal(signal.SIGKILL)

    async def exited(
        self,
        status: int | None,
        *,
        never_ran: str = "",
        lease_over: bool = False,
        cpu_seconds: float = 0.0,
        max_resident_bytes: int = 0,
    ) -> None:
        """Settles a run whose process the template has reaped, after reading the rest of both sockets."""
        self._cancel_timers()
        if lease_over:
            self._because(Why.LEASE)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await asyncio.gather(asyncio.shield(self._socket_closed), asyncio.shield(self._output.closed))
        self._settle(
            exit_status=status,
            never_ran=never_ran,
            cpu_seconds=cpu_seconds,
            max_resident_bytes=max_resident_bytes,
        )
        self._let_go()

    async def _answered(self, cpu_seconds: float, max_resident_bytes: int) -> None:
        """Settles the run by its result, without waiting until the kernel has taken the process apart."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PRINTED_SECONDS):
                await asyncio.shield(self._output.closed)
        self._settle(cpu_seconds=cpu_seconds, max_resident_bytes=max_resident_bytes)
        self._later(_EXIT_SECONDS, self.kill)

    def _settle(self, **known: Any) -> None:
        if not self._ended.done():
            printed = self._output.tail()
            ended = Ended(
                outcome=self._outcome,
                cancelled=self._cancelled,
                crash=self._crash,
                why=self._why,
                event_count=self.event_count,
                usage=self.usage,
                files=tuple(self._files.values()),
                log_tail=printed.text,
                log_skipped=printed.skipped,
                duration_seconds=time.monotonic() - self._began,
                **known,
            )
            self._ended.set_result(ended)

    # asyncio.Protocol: the job socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is no instance of it

    def data_received(self, data: bytes) -> None:
        if self._broken:
            return
        try:
            for line in self._lines.feed(data):
                self._hear(decode(line))
        except Exception as error:  # whatever a run sends, its end is the run's alone
            self._broken = True
            why = f"{type(error).__name__}: {error}"[:_SHOWN_CHARACTERS]
            log.error("executor %s is killed: it sent something that is no message (%s)", self.pid, why)
            self._crash = f"the executor sent something that is no message ({why})"
            self.kill()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._socket_closed.done():
            self._socket_closed.set_result(None)
        if not self.done and self._settling is None:
            self._later(_EXIT_SECONDS, self._abandon)

    def _abandon(self) -> None:
        """Kills an executor whose job socket a tool has closed: it can send no result and hears nothing."""
        self._crash = "something inside the run closed its connection to the worker"
        self.kill()

    def _because(self, why: Why) -> None:
        """Notes a reason that the executor or the template found by itself; no step is taken."""
        if heavier(self._why, why):
            self._why = why

    def _hear(self, message: Message) -> None:
        match message["op"]:
            case Op.EVENT:
                event = AgentEvent.from_json(message["event"])
                self.event_count = min(self.event_count + 1, MOST_EVENTS)
                self._on_event(event)
            case Op.SPAN:
                self._on_span(Span.from_json(message["span"]))
            case Op.USAGE:
                self.usage = Usage.from_json(message["usage"])
                self._on_usage()
            case Op.FILE:
                file = SavedFile.from_json(message["file"])
                if file.name in self._files or len(self._files) < MOST_TOLD:
                    self._files[file.name] = file
            case Op.IDLE:
                if not self.idle.done():
                    self.idle.set_result(None)
            case Op.RESULT if self._settling is None:
                self._cancelled = bool(message.get("cancelled"))
                self._crash = shortened(str(message.get("crash", "")), _SHOWN_CHARACTERS)
                if message.get("lease_over"):
                    self._because(Why.LEASE)
                if message.get("out_of_memory"):
                    self._because(Why.MEMORY)
                if "outcome" in message:
                    self._outcome = Outcome.from_json(message["outcome"])
                self._settling = asyncio.ensure_future(
                    self._answered(
                        seconds(message.get("cpu_seconds", 0.0)), count(message.get("max_resident_bytes", 0))
                    )
                )

    # the steps of stopping

    def _take(self, step: Step) -> None:
        match step:
            case Step.ABORT:
                self._send({"op": Op.ABORT})
            case Step.CANCEL:
                self._send({"op": Op.CANCEL})
            case Step.TERMINATE:
                self._signal(signal.SIGTERM)
            case Step.KILL:
                self.kill()

    def _send(self, message: Message) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode_line(message))

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        if seconds <= 0:
            action()
        else:
            self._timers.append(asyncio.get_running_loop().call_later(seconds, action))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _let_go(self) -> None:
        self._cancel_timers()
        if self._transport is not None:
            self._transport.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        self.idle.cancel()
