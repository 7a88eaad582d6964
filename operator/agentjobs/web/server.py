"""The process: a listener of the aggregated door or of the administrator's, and probes on a plain port of their own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.health import health_server
from agentjobs.controller.metrics.counters import Counters
from agentjobs.dsn import Dsn
from agentjobs.open_files import allow_open_files
from agentjobs.queue.queue import Queue
from agentjobs.telemetry.exposition import page
from agentjobs.transcript.transcripts import Transcripts
from agentjobs.web.acts import EraseSessions
from agentjobs.web.administrator import AdministratorsDoor, start_path
from agentjobs.web.app import App, Identify
from agentjobs.web.authorise import Authoriser
from agentjobs.web.cluster import read_front_proxy, reviewed
from agentjobs.web.front_proxy import FrontProxy, FrontProxyUnknown
from agentjobs.web.identity import Identity
from agentjobs.web.runs import Runs
from agentjobs.web.target import Target
from agentjobs.web.tls import PEER, PeerProtocol, ServingTls
from agentjobs.web.ui.pages import DASHBOARD

log = logging.getLogger(__name__)
HEADER_BYTES = 32 << 10
REREAD_SECONDS = 30.0
"""How often the front proxy's ConfigMap and the serving certificate are read again."""
RETRY_SECONDS = 5.0
GRACE_SECONDS = 10
LINGER_SECONDS = 10.0
"""How long the aggregated door goes on after SIGTERM: the API server learns later that the endpoint is gone."""
CONNECTIONS = 3000
"""Far more than ``shares`` lets a few tenants hold: beyond it everybody is refused, discovery too."""
OPEN_FILES = CONNECTIONS + 100
"""Shells and some container runtimes allow 1024."""


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What the process is started with."""

    dsn: Dsn
    direct_dsn: Dsn | None = None
    tls_folder: Path | None = None
    """With ``tls.crt`` and ``tls.key``: the aggregated door. None: the administrator's, at 127.0.0.1."""
    port: int = 10250
    kubeconfig: str | None = None
    health_port: int | None = None
    linger_seconds: float = LINGER_SECONDS
    trace_url: str = ""
    """Of the tracing system, with ``{trace_id}`` in it. Empty: traces are not linked."""
    session_dsn: Dsn | None = None
    """Where conversations are kept. None: nowhere, so there are no transcripts."""
    erase_sessions: EraseSessions | None = None
    """Erases conversations. None: there are none to erase."""


class _Server(uvicorn.Server):
    """uvicorn without its own signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(slots=True)
class Web:
    """One process."""

    config: WebConfig
    meter: Counters = field(default_factory=Counters)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once streams are to end."""
    serving: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the listener takes connections."""
    problem: str = "the listener has not begun"
    link: str = ""
    """The administrator's link, once it serves."""
    health_port: int | None = None

    def stop(self) -> None:
        self.stopping.set()

    async def run(self) -> int:
        """Serves until ``stop``; 0: ended in good order."""
        async with (
            await Queue.open(
                self.config.dsn, direct_dsn=self.config.direct_dsn, application_name="agentjobs-web"
            ) as queue,
            await Transcripts.open(self.config.session_dsn) as transcripts,
            health_server(
                "0.0.0.0", self.config.health_port, alive=dict, ready=self._ready, metrics=self._metrics
            ) as port,
        ):
            self.health_port = port
            runs = Runs(queue, transcripts, self.config.erase_sessions)
            if self.config.tls_folder is None:
                await self._administrator(runs)
            else:
                await self._aggregated(runs, self.config.tls_folder)
        return 0

    def _ready(self) -> dict[str, str]:
        # the listener only: without the database, discovery is answered still, on which namespaces' deletion waits
        return {} if self.serving.is_set() else {"listener": self.problem}

    async def _metrics(self) -> str:
        return page(self.meter.families())

    async def _administrator(self, runs: Runs) -> None:
        door = AdministratorsDoor(self.config.port, start_path(dashboard=True))
        app = App(door.identify, runs, Authoriser(), DASHBOARD, self.ending, self.config.trace_url)
        self.link = door.link
        await self._serve(door.around(app), "127.0.0.1", None)

    async def _aggregated(self, runs: Runs, folder: Path) -> None:
        async with ApiServer(self.config.kubeconfig, self.meter) as api:
            found = await self._front_proxy(api, folder)
            if found is None:
                return
            known, tls = found

            async def review(identity: Identity, wanted: Target) -> bool:
                return await reviewed(api, identity, wanted)

            app = App(known.identify, runs, Authoriser(review), DASHBOARD, self.ending, self.config.trace_url)
            following = asyncio.create_task(self._follow(api, known, tls))
            try:
                await self._serve(app, "0.0.0.0", tls.context)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def _front_proxy(self, api: ApiServer, folder: Path) -> tuple[_Known, ServingTls] | None:
        """Waits until the cluster names its front proxy and the certificate is there; None: it is to end."""
        while not self.stopping.is_set():
            try:
                proxy = await read_front_proxy(api)
                return _Known(proxy), ServingTls(folder, proxy.ca)
            except (FrontProxyUnknown, ApiUnavailable, OSError, ssl.SSLError) as error:
                self.problem = f"the door stays shut: {error}"
                log.error(self.problem)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), RETRY_SECONDS)
        return None

    async def _follow(self, api: ApiServer, known: _Known, tls: ServingTls) -> None:
        """Takes over a new front proxy and a new serving certificate, without a restart."""
        while True:
            await asyncio.sleep(REREAD_SECONDS)
            try:
                tls.reload()
                proxy = await read_front_proxy(api)
                tls.trust(proxy.ca)
                known.proxy = proxy
            except (FrontProxyUnknown, ApiUnavailable, ssl.SSLError) as error:
                log.warning("the front proxy cannot be read again, the last one stays: %s", error)
            except Exception:  # whatever stands in that ConfigMap, certificates are still to be renewed
                log.exception("the front proxy cannot be read again, the last one stays")

    async def _serve(self, app: ASGIApp, host: str, tls: ssl.SSLContext | None) -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=self.config.port,
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
                self.problem = ""
                self.serving.set()
            await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
            self.serving.clear()
            self.problem = "the process ends"
            if tls is not None and server.started:
                await asyncio.wait({running}, timeout=self.config.linger_seconds)
        finally:
            self.serving.clear()
            self.ending.set()
            server.should_exit = True
            stop.cancel()
            await running


@dataclass(slots=True)
class _Known:
    """The front proxy as it was last read."""

    proxy: FrontProxy

    @property
    def identify(self) -> Identify:
        def identity(request: Request) -> Identity:
            peer = request.scope.get("state", {}).get(PEER)
            return self.proxy.identity(peer, request.scope["headers"], time.time())

        return identity


async def run_web(config: WebConfig) -> int:
    """Serves until SIGTERM or SIGINT."""
    allow_open_files(OPEN_FILES)
    web = Web(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, web.stop)
    if config.tls_folder is None:
        telling = asyncio.create_task(_tell(web))
        telling.add_done_callback(lambda _: None)
    return await web.run()


async def _tell(web: Web) -> None:
    await web.serving.wait()
    print(f"Open {web.link}", flush=True)  # noqa: T201  # the secret is for the terminal, never for the log
