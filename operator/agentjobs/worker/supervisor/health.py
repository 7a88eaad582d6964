"""The HTTP server of ``/healthz``, ``/readyz`` and ``/metrics``, small enough to need no framework.

The kubelet and Prometheus send plain GETs. Each connection gets one answer, and is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from types import TracebackType

from agentjobs.telemetry.exposition import CONTENT_TYPE
from agentjobs.telemetry.log import tell

log = logging.getLogger(__name__)

_SECONDS = 5.0
_MAX_HEAD_BYTES = 8192
Answer = tuple[int, str]
_PHRASES = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class HealthServer:
    """The server of ``pages`` (path → status and text) while it is open. ``port`` None: it serves nothing."""

    def __init__(self, host: str, port: int | None, pages: Mapping[str, Callable[[], Answer]]) -> None:
        self._host, self._port, self._pages = host, port, pages
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int | None:
        """The port that the server listens on."""
        if self._server is None or not self._server.sockets:
            return None
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    async def __aenter__(self) -> HealthServer:
        if self._port is not None:
            self._server = await asyncio.start_server(
                self._serve, self._host, self._port, limit=_MAX_HEAD_BYTES
            )
            tell(log, "health.listening", host=self._host, port=self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                except asyncio.LimitOverrunError:
                    head = b""
                status, text = self._answer(head)
                body = text.encode("utf-8", "replace")
                writer.write(
                    f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Type: {CONTENT_TYPE}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # the client went away
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, head: bytes) -> Answer:
        words = head.split(b"\r\n", 1)[0].split()
        if len(words) != 3:
            return 400, "not an HTTP request\n"
        if words[0] != b"GET":
            return 405, "only GET\n"
        page = self._pages.get(words[1].split(b"?")[0].decode("ascii", "replace"))
        if page is None:
            return 404, f"there are: {', '.join(self._pages)}\n"
        try:
            return page()
        except Exception as error:
            log.exception("a page of the health server failed")
            return 500, f"{type(error).__name__}: see the worker's log\n"
