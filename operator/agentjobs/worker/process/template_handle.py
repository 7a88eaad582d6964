"""The supervisor's handle of one template: starts it, exchanges messages with it, cleans up after its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from uuid import uuid4

from agentjobs.worker.process import linux
from agentjobs.worker.process.output import Output
from agentjobs.worker.process.wire import Message, Op, receive_packet, send_packet

_MARK = "AGENTJOBS_TEMPLATE"
"""Environment variable of the template and its descendants, to find orphans after its death."""
_BURIAL_SECONDS = 8.0
"""How long the template may take to kill its executors and their orphans; then it is killed itself."""
_SWEEP_SECONDS = 2.0

OnMessage = Callable[[Message, list[int]], None]
Descriptor = socket.socket | int


class TemplateHandle:
    """One template, from its start to its end."""

    def __init__(self, on_message: OnMessage) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the template has closed its end of the control socket: it has died, or is about to."""
        self._on_message = on_message
        self._mark = uuid4().hex
        self._unsent: deque[tuple[Message, Sequence[Descriptor]]] = deque()
        self._control: socket.socket
        self._process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self._process.pid

    async def start(
        self, init: Message, environment: Mapping[str, str], descriptors: Sequence[Descriptor] = ()
    ) -> None:
        """Starts the template and sends ``init``, with ``descriptors``, which are closed here.

        Must be called on the main thread: while the template warms, it dies with the thread that started it.
        """
        loop = asyncio.get_running_loop()
        output = Output(logging.getLogger("agentjobs.template"))
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        try:
            self._control = self._launch(write_end, environment)
        finally:
            os.close(write_end)
        await loop.connect_read_pipe(lambda: output, os.fdopen(read_end, "rb", buffering=0))
        self._control.setblocking(False)
        loop.add_reader(self._control.fileno(), self._hear)
        self.tell(init, descriptors)

    def _launch(self, output: int, environment: Mapping[str, str]) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "agentjobs.worker.process.template_main", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in a terminal goes to the supervisor alone
                env={"MALLOC_ARENA_MAX": "2", **environment, _MARK: self._mark},
            )
        return ours

    def kill(self) -> None:
        """Kills a template that hangs; its executors die with it."""
        self._process.kill()

    def tell(self, message: Message, descriptors: Sequence[Descriptor] = ()) -> None:
        """Queues a message; it is sent when the socket has room. Closes the descriptors, sent or not."""
        self._unsent.append((message, descriptors))
        self._send()

    def _send(self) -> None:
        loop = asyncio.get_running_loop()
        while self._unsent:
            message, descriptors = self._unsent[0]
            try:
                numbers = [d if isinstance(d, int) else d.fileno() for d in descriptors]
                send_packet(self._control, message, numbers)
            except BlockingIOError:
                loop.add_writer(self._control.fileno(), self._send)
                return
            except OSError:  # the template is gone; ``bury`` ends the runs that wait for its answer
                pass
            self._unsent.popleft()
            _close(descriptors)
        with contextlib.suppress(OSError, ValueError):
            loop.remove_writer(self._control.fileno())

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while (received := receive_packet(self._control)) is not None:
                message, descriptors = received
                self._on_message(message, descriptors)
                _close(descriptors)
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            if not self.ended.done():
                self.ended.set_result(None)

    async def bury(self, executors: Sequence[int]) -> int:
        """Closes the control socket, waits for the template's end, and kills what is left of these executors
        (pids) and their descendants. Returns the template's exit status."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._control.fileno())
        loop.remove_writer(self._control.fileno())
        self._control.close()
        for _, descriptors in self._unsent:
            _close(descriptors)
        self._unsent.clear()
        until = loop.time() + _BURIAL_SECONDS
        while self._process.poll() is None:
            if loop.time() > until:
                self._process.kill()
            await asyncio.sleep(0.005)
        await self._sweep(executors)
        return self._process.returncode

    async def _sweep(self, executors: Sequence[int]) -> None:
        """Kills the executors' process groups, and all processes that carry the dead template's mark.

        The kernel has given them another parent; which one depends on what runs as PID 1. The mark does not
        change.
        """
        for pid in executors:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        until = asyncio.get_running_loop().time() + _SWEEP_SECONDS
        while True:
            found = [pid for pid in linux.processes() if self._mark.encode() in linux.environment_of(pid)]
            for pid in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            for pid in {*executors, *found}:
                _reap(pid)
            if not found or asyncio.get_running_loop().time() > until:
                return
            await asyncio.sleep(0.01)


def _reap(pid: int) -> None:
    """Reaps a process if it is ours: as PID 1 the supervisor inherits the template's children."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _close(descriptors: Sequence[Descriptor]) -> None:
    for descriptor in descriptors:
        if isinstance(descriptor, int):
            os.close(descriptor)
        else:
            descriptor.close()


def init_message(
    settings: Message,
    path: Sequence[str],
    skip: Sequence[str],
    *,
    lease_grace_seconds: float,
    stop_grace_seconds: float,
) -> Message:
    """The first message to a template; ``skip``: modules that it must not import."""
    return {
        "op": Op.INIT,
        "settings": settings,
        "path": list(path),
        "skip": list(skip),
        "lease_grace_seconds": lease_grace_seconds,
        "stop_grace_seconds": stop_grace_seconds,
    }
