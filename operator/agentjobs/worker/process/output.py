"""The output of a process: printed lines go to the worker's log, the last 64 KiB with the ack."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentjobs.telemetry.log import tell

TAIL_BYTES = 64 * 1024
_LINE_BYTES = 8 * 1024
"""A longer printed line is logged in pieces."""
_BURST_BYTES = 256 * 1024
_BYTES_PER_SECOND = 32 * 1024
"""The rate at which one executor may fill the worker's log; the tail keeps the last bytes at any rate."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of what was printed."""

    text: str = ""
    skipped: int = 0
    """Lines before ``text``."""


class Output(asyncio.Protocol):
    """The supervisor's end of a process's log pipe. It always reads: no executor ever blocks on printing."""

    def __init__(self, log: logging.Logger) -> None:
        self.fields: Mapping[str, Any] = {}
        """Fields that name the run in every log line."""
        self.closed = asyncio.get_running_loop().create_future()
        self._log = log
        self.printed = 0
        """Bytes so far."""
        self._tail = bytearray()
        self._skipped = 0
        """Lines before ``_tail``."""
        self._line = bytearray()
        self._budget = float(_BURST_BYTES)
        self._paid_at = time.monotonic()
        self._left_out = 0

    def tail(self) -> Tail:
        """The last 64 KiB that were printed."""
        before = max(0, len(self._tail) - TAIL_BYTES)
        text = self._tail[before:].decode("utf-8", "replace")
        return Tail(text, self._skipped + self._tail.count(b"\n", 0, before))

    def data_received(self, data: bytes) -> None:
        self.printed += len(data)
        self._tail += data
        if len(self._tail) > 2 * TAIL_BYTES:
            before = len(self._tail) - TAIL_BYTES
            self._skipped += self._tail.count(b"\n", 0, before)
            del self._tail[:before]
        if not self._pay(len(data)):
            self._left_out += len(data) + len(self._line)
            self._line.clear()
            return
        if self._left_out:
            tell(self._log, "output.left_out", level=logging.WARNING, bytes=self._left_out, **self.fields)
            self._left_out = 0
        self._line += data
        *whole, rest = self._line.split(b"\n")
        for line in whole:
            self._write(line)
        self._line = rest
        if len(rest) > _LINE_BYTES:
            self._write(rest)
            self._line = bytearray()

    def connection_lost(self, error: Exception | None) -> None:
        if self._line:
            self._write(self._line)
        if self._left_out:
            tell(self._log, "output.left_out", level=logging.WARNING, bytes=self._left_out, **self.fields)
        if not self.closed.done():
            self.closed.set_result(None)

    def _pay(self, size: int) -> bool:
        now = time.monotonic()
        earned = (now - self._paid_at) * _BYTES_PER_SECOND
        self._budget = min(float(_BURST_BYTES), self._budget + earned)
        self._paid_at = now
        if size > self._budget:
            return False
        self._budget -= size
        return True

    def _write(self, line: bytearray) -> None:
        for start in range(0, len(line), _LINE_BYTES):
            text = line[start : start + _LINE_BYTES].decode("utf-8", "replace")
            tell(self._log, "output", line=text, **self.fields)
