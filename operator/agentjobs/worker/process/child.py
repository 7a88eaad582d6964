"""The executor: the process of one run, which the template forks and which then calls `main`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, NoReturn

from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.verdict.outcome import MODELS_REPORTED, AgentEvent, Outcome
from agentjobs.telemetry import relay
from agentjobs.values.bounds import ERROR_BYTES
from agentjobs.values.saved_file import SavedFile
from agentjobs.values.text import clean, cut
from agentjobs.values.usage import Usage
from agentjobs.worker.process import linux
from agentjobs.worker.process.lease import LeaseTerms
from agentjobs.worker.process.wire import (
    MAX_RESULT_BYTES,
    Lines,
    Message,
    Op,
    decode,
    encode_line,
)

_OOM_SCORE = 800
"""Out of memory, the kernel kills an executor before the supervisor or the template."""
_LEASE_LOOK_SECONDS = 30.0
"""The longest pause between two looks at the lease: asyncio's clock stands still in a suspended machine."""


def become(template: int, log_pipe: int, data_limit_bytes: int | None) -> None:
    """Makes a forked process an executor: own session, death with the template, limits, own output."""
    os.setsid()
    linux.set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != template:  # the template died before the line above
        os._exit(70)
    linux.become_subreaper()
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(_OOM_SCORE))
    os.dup2(log_pipe, 1)
    os.dup2(log_pipe, 2)
    os.close(log_pipe)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    # Where memory runs out inside Rust, such as pydantic's, to print a backtrace would fail too, and hang the process.
    os.environ["RUST_BACKTRACE"] = "0"
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if data_limit_bytes is not None:
        # Not RLIMIT_AS, which counts the stacks and arenas that threads only reserve.
        limit = linux.data_bytes() + data_limit_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    gc.enable()


def main(job_socket: int, settings: AgentSettings, lease: LeaseTerms, *, touch: bool) -> None:
    """Waits for the job, runs it, sends the result and exits.

    :param touch: this executor is a standby, and first makes a run in memory (``_touch``).
    """
    link = _Link(socket.socket(fileno=job_socket))
    if touch:
        _touch(settings)
        link.send({"op": Op.IDLE})
    spec = AttemptSpec.from_json(link.receive(Op.JOB)["spec"])
    try:
        # The runner is never closed. Closing it would cancel the run's task, so that a tool's sys.exit()
        # would look like a cancel; and it would wait for tools' threads, which may never end.
        asyncio.Runner().run(_run(link, spec, settings, lease))
    except SystemExit as error:
        _finish(link, {"op": Op.RESULT, "crash": f"sys.exit({error.code!r}) was called inside the run"})
    except MemoryError:  # outside of the agent's code, or too little was left to judge the error there
        _finish(link, {"op": Op.RESULT, "crash": "MemoryError", "out_of_memory": True})
    except KeyboardInterrupt:
        _finish(link, {"op": Op.RESULT, "crash": "KeyboardInterrupt was raised inside the run"})
    except (
        BaseException
    ) as error:  # such as pyo3's PanicException, where an extension in Rust ran out of memory
        _finish(link, {"op": Op.RESULT, "crash": f"{type(error).__name__} was raised inside the run"})


async def _run(link: _Link, spec: AttemptSpec, settings: AgentSettings, lease: LeaseTerms) -> NoReturn:
    from agentjobs.agents.lease_gate import leased
    from agentjobs.agents.run.attempt import run_attempt

    abort = asyncio.Event()
    asked_to_cancel = lease_over = False

    def report(event: AgentEvent) -> None:
        link.send({"op": Op.EVENT, "event": event.as_json()})

    def report_usage(usage: Usage) -> None:
        link.send({"op": Op.USAGE, "usage": usage.as_json()})

    def report_file(file: SavedFile) -> None:
        link.send({"op": Op.FILE, "file": file.as_json()})

    def report_warning(warning: str) -> None:
        print(f"warning: {warning}", file=sys.stderr)  # noqa: T201, to the worker's log and the attempt's tail

    if spec.traceparent:
        relay.begin(spec.traceparent, lambda span: link.send({"op": Op.SPAN, "span": span}))
    run: Coroutine[Any, Any, Outcome] = run_attempt(
        spec,
        settings,
        on_event=report,
        on_usage=report_usage,
        on_warning=report_warning,
        on_file=report_file,
        abort=abort,
    )
    with leased(lease.reader.seconds_left):
        task = asyncio.ensure_future(run)

    async def cancel_after_the_lease() -> None:
        nonlocal lease_over
        while (left := lease.seconds_until_cancel()) > 0:  # noqa: ASYNC110, a page of memory has no event
            await asyncio.sleep(lease.look_after_seconds(left, _LEASE_LOOK_SECONDS))
        lease_over = True
        task.cancel("the worker's lease was not renewed")

    def hear() -> None:
        nonlocal asked_to_cancel
        for message in link.receive_ready():
            if message["op"] == Op.ABORT:
                abort.set()
            elif message["op"] == Op.CANCEL:
                asked_to_cancel = True
                task.cancel("asked by the supervisor")

    asyncio.get_running_loop().add_reader(link.fileno(), hear)
    hear()  # messages that came together with the job
    watch = asyncio.ensure_future(cancel_after_the_lease())
    try:
        outcome = await task
    except asyncio.CancelledError:
        if asked_to_cancel:
            _finish(link, {"op": Op.RESULT, "cancelled": True})
        if lease_over:
            _finish(link, {"op": Op.RESULT, "lease_over": True})
        _finish(link, {"op": Op.RESULT, "crash": "the run's task was cancelled from inside"})
    finally:
        watch.cancel()
    if outcome.frames and not settings.tracebacks:
        lines = "".join(f"\n  {frame}" for frame in outcome.frames)
        print(f"{outcome.reason} came through:{lines}", file=sys.stderr)  # noqa: T201, as a warning
    _finish(link, {"op": Op.RESULT, "outcome": _cut(outcome).as_json()})


def _cut(outcome: Outcome) -> Outcome:
    """The outcome with result and message cut to what one line to the supervisor may carry (wire.py)."""
    result = None if outcome.result is None else cut(clean(outcome.result), MAX_RESULT_BYTES)[0]
    return replace(
        outcome,
        result=result,
        message=cut(clean(outcome.message), ERROR_BYTES)[0],
        answered=outcome.answered[:MODELS_REPORTED],
    )


def _finish(link: _Link, result: Message) -> NoReturn:
    """Sends the result and exits, in this order.

    Flushes and closes stdout and stderr first. The supervisor reads end of file there as "nothing more is
    printed", and need not wait until the kernel has taken this process apart.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    with contextlib.suppress(OSError):
        # Not merely closed: a socket that an exporter opens now must not get number 1 or 2.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = {
        "cpu_seconds": sum(u.ru_utime + u.ru_stime for u in (own, others)),
        "max_resident_bytes": max(own.ru_maxrss, others.ru_maxrss) * 1024,
    }
    link.send({**result, **spent})
    _flush_telemetry()
    os._exit(0)


_PROVIDERS = {
    "opentelemetry.trace": "get_tracer_provider",
    "opentelemetry.metrics": "get_meter_provider",
    "opentelemetry._logs": "get_logger_provider",
}


def _flush_telemetry() -> None:
    """Flushes the agent's own OpenTelemetry exporters: their threads do not survive os._exit.

    The slot is free by now. The supervisor kills a process that takes too long here.
    """
    for name, getter in _PROVIDERS.items():
        if (module := sys.modules.get(name)) is not None:
            with contextlib.suppress(Exception):
                provider = getattr(module, getter)()
                if hasattr(provider, "force_flush"):
                    provider.force_flush()


def _touch(settings: AgentSettings) -> None:
    """Makes an echo run in memory: a standby copies pages and fills caches before its real run."""
    from agentjobs.agents.prefork.standby import prepare_standby

    try:
        asyncio.run(prepare_standby(settings))
    except Exception as error:  # if something is wrong, the real run fails of it too and says so
        print(f"the warm-up run of an executor failed: {error!r}", file=sys.stderr)  # noqa: T201


class _Link:
    """The executor's end of the job socket. Ends the process when the supervisor's end is closed."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lines = Lines()
        self._received: list[Message] = []
        self._sending = threading.Lock()

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, message: Message) -> None:
        """Sends one message. Blocks while the supervisor is behind, which bounds a flood of events."""
        try:
            with self._sending:
                self._sock.sendall(encode_line(message))
        except (BrokenPipeError, ConnectionResetError):
            os._exit(70)

    def receive(self, op: Op) -> Message:
        """Waits for the first message with this ``op``; ``receive_ready`` returns those before it."""
        while True:
            for index, message in enumerate(self._received):
                if message["op"] == op:
                    return self._received.pop(index)
            self._read(0)

    def receive_ready(self) -> list[Message]:
        """All messages that have arrived, without waiting."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._read(socket.MSG_DONTWAIT)
        received, self._received = self._received, []
        return received

    def _read(self, flags: int) -> None:
        try:
            data = self._sock.recv(65536, flags)
        except ConnectionResetError:
            data = b""
        if not data:
            os._exit(70)
        self._received.extend(decode(line) for line in self._lines.feed(data))
