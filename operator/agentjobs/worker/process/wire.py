"""The messages between supervisor, template and executors.

* Control socket (supervisor and template, SOCK_SEQPACKET): one JSON message a packet, with file descriptors.
* Job socket (supervisor and one executor, SOCK_STREAM): one JSON message a line, both ways.

The JSON is the standard library's, with ASCII escapes. It carries lone surrogates and NUL, which a model may
produce; the queue cleans texts when it stores them.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

from agentjobs.values.bounds import RESULT_BYTES

Message = dict[str, Any]

MAX_LINE_BYTES = 16 * 1024 * 1024
"""An executor that sends a longer line is broken, and is killed."""
MAX_RESULT_BYTES = RESULT_BYTES + 4
"""The executor cuts its answer to this in UTF-8, so that its escapes always fit into a line. It is longer than what
the queue stores, which cuts it to 1 MiB and flags it (H7)."""
_MAX_PACKET_BYTES = 256 * 1024
_MAX_DESCRIPTORS = 4


class Op(StrEnum):
    """The ``op`` of a message; each docstring lists the other fields."""

    # supervisor → template
    INIT = "init"
    """settings, path (entries for sys.path), skip (modules that the template must not import),
    lease_grace_seconds and stop_grace_seconds (``LeaseTerms``); descriptor: the lease's page."""
    SPAWN = "spawn"
    """n, touch, data_limit_bytes; descriptors: job socket, log pipe."""
    # template → supervisor
    LOADING = "loading"
    """module: its import begins. If the template dies or hangs next, this module is the cause."""
    READY = "ready"
    """threads, warnings, seconds."""
    UNFIT = "unfit"
    """module, why: its import failed or started a thread; the next template must leave it out."""
    SPAWNED = "spawned"
    """n, pid; descriptor: pidfd."""
    EXIT = "exit"
    """n, status (negative: signal; None: never started), error, lease_over (true: killed, since the lease was
    not renewed), cpu_seconds, max_resident_bytes."""
    # supervisor → executor
    JOB = "job"
    """spec (AttemptSpec)."""
    ABORT = "abort"
    CANCEL = "cancel"
    # executor → supervisor
    IDLE = "idle"
    """The standby has made its warm-up run and waits."""
    EVENT = "event"
    """event (AgentEvent)."""
    SPAN = "span"
    """span (``telemetry.spans.Span``), when it begins and when it ends."""
    USAGE = "usage"
    """usage (Usage) of the run so far, with agents inside of tools and the call that has just begun."""
    FILE = "file"
    """file (SavedFile), whenever the agent has saved or deleted one."""
    RESULT = "result"
    """outcome (Outcome), or cancelled: true, or lease_over: true, or crash: why (and
    out_of_memory: true); and cpu_seconds, max_resident_bytes."""


def encode(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def encode_line(message: Message) -> bytes:
    return encode(message) + b"\n"


def decode(data: bytes | bytearray) -> Message:
    """The message in these bytes. Raises ValueError where they are none."""
    try:
        message = json.loads(data)
    except RecursionError as error:
        raise ValueError("a message nested too deeply") from error
    if not isinstance(message, dict) or "op" not in message:
        raise ValueError(f"not a message, but {type(message).__name__}")
    return message


class Lines:
    """The lines of a byte stream, put together from pieces."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> Iterator[bytearray]:
        """Yields the lines that ``data`` completes. Raises ValueError at MAX_LINE_BYTES without an end."""
        self._rest += data
        while (end := self._rest.find(b"\n", self._searched)) >= 0:
            line = self._rest[:end]
            del self._rest[: end + 1]
            self._searched = 0
            yield line
        self._searched = len(self._rest)
        if len(self._rest) > MAX_LINE_BYTES:
            raise ValueError(f"a message of more than {MAX_LINE_BYTES} bytes")


def send_packet(sock: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Sends a message. Raises BlockingIOError (socket full), BrokenPipeError (nobody reads)."""
    if descriptors:
        socket.send_fds(sock, [encode(message)], list(descriptors))
    else:
        sock.sendall(encode(message))


def receive_packet(sock: socket.socket) -> tuple[Message, list[int]] | None:
    """One message and its descriptors; None: the other side is gone.

    Raises BlockingIOError on a non-blocking socket without a packet.
    """
    try:
        data, descriptors, _, _ = socket.recv_fds(sock, _MAX_PACKET_BYTES, _MAX_DESCRIPTORS)
    except ConnectionError:
        return None
    return (decode(data), descriptors) if data else None
