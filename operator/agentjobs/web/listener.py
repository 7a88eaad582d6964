"""One listener of the process: a door's application at a port, from its start to its end in good order."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field

import uvicorn
from starlette.types import ASGIApp

from agentjobs.web.tls import PeerProtocol

HEADER_BYTES = 32 << 10
GRACE_SECONDS = 10
CONNECTIONS = 3000
"""Of one listener; far more than ``shares`` lets a few tenants hold: beyond it everybody is refused, discovery too."""
OPEN_FILES = 2 * CONNECTIONS + 100
"""Of the process, with two listeners. Shells and some container runtimes allow 1024."""


class _Server(uvicorn.Server):
    """uvicorn without its own signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(slots=True)
class Listeners:
    """All listeners of the process, which end together."""

    expected: int
    """How many doors there are."""
    linger_seconds: float = 0.0
    """How long they go on after ``stopping``: who sends requests learns later that the endpoint is gone."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once streams are to end."""
    serving: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while all of them take connections."""
    problem: str = "the listener has not begun"
    _started: int = 0

    async def serve(self, app: ASGIApp, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Serves until ``stopping``, and a while longer."""
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=PeerProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=HEADER_BYTES,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=GRACE_SECONDS,
            ssl_context_factory=None if tls is None else (lambda *_: tls),
        )
        server = _Server(config)
        running = asyncio.create_task(server.serve())
        stop = asyncio.create_task(self.stopping.wait())
        try:
            while not server.started and not running.done() and not stop.done():  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # uvicorn tells it by a flag alone
            if server.started:
                self._begun()
            await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
            self._ended()
            if server.started:
                await asyncio.wait({running}, timeout=self.linger_seconds)
        finally:
            self._ended()
            self.ending.set()
            server.should_exit = True
            stop.cancel()
            await running

    def _begun(self) -> None:
        self._started += 1
        if self._started == self.expected and not self.stopping.is_set():
            self.problem = ""
            self.serving.set()

    def _ended(self) -> None:
        self.serving.clear()
        self.problem = "the process ends"
