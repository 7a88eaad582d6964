"""The process: a listener for each door that it has, and probes on a plain port of their own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from starlette.requests import Request

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
from agentjobs.web.authorise import Authoriser, everything
from agentjobs.web.cluster import read_front_proxy, reviewed
from agentjobs.web.front_proxy import FrontProxy, FrontProxyUnknown
from agentjobs.web.identity import Identity
from agentjobs.web.ingress import IngressDoor
from agentjobs.web.listener import OPEN_FILES, Listeners
from agentjobs.web.runs import Runs
from agentjobs.web.tls import PEER, ServingTls
from agentjobs.web.ui.pages import DASHBOARD

log = logging.getLogger(__name__)
REREAD_SECONDS = 30.0
"""How often the front proxy's ConfigMap and the serving certificate are read again."""
RETRY_SECONDS = 5.0
LINGER_SECONDS = 10.0
"""How long the aggregated door goes on after SIGTERM: the API server learns later that the endpoint is gone."""


@dataclass(frozen=True, slots=True)
class IngressConfig:
    """The ingress door, without TLS: the proxy before it has that."""

    door: IngressDoor
    port: int
    reviewed: bool = True
    """Whether RBAC says what a person may read. False: there is no cluster, and each reads everything."""


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What the process is started with."""

    dsn: Dsn
    direct_dsn: Dsn | None = None
    tls_folder: Path | None = None
    """With ``tls.crt`` and ``tls.key``: the aggregated door. None: it is shut."""
    port: int = 10250
    """Of the aggregated door; where no other door is named, of the administrator's, at 127.0.0.1."""
    ingress: IngressConfig | None = None
    """None: the ingress door is shut."""
    kubeconfig: str | None = None
    health_port: int | None = None
    linger_seconds: float = LINGER_SECONDS
    """See ``Listeners``. The administrator's door does not linger."""
    trace_url: str = ""
    """Of the tracing system, with ``{trace_id}`` in it. Empty: traces are not linked."""
    session_dsn: Dsn | None = None
    """Where conversations are kept. None: nowhere, so there are no transcripts."""
    erase_sessions: EraseSessions | None = None
    """Erases conversations. None: there are none to erase."""


@dataclass(slots=True)
class Web:
    """One process."""

    config: WebConfig
    meter: Counters = field(default_factory=Counters)
    listeners: Listeners = field(init=False)
    link: str = ""
    """The administrator's link, once it serves."""
    health_port: int | None = None

    def __post_init__(self) -> None:
        doors = (self.config.tls_folder is not None) + (self.config.ingress is not None)
        self.listeners = Listeners(max(doors, 1), self.config.linger_seconds if doors else 0.0)

    @property
    def serving(self) -> asyncio.Event:
        """Set while all doors are open."""
        return self.listeners.serving

    def stop(self) -> None:
        self.listeners.stopping.set()

    async def run(self) -> int:
        """Serves until ``stop``; 0: ended in good order."""
        async with (
            await Queue.open(
                self.config.dsn,
                beats=False,
                direct_dsn=self.config.direct_dsn,
                application_name="agentjobs-web",
            ) as queue,
            await Transcripts.open(self.config.session_dsn) as transcripts,
            health_server(
                "0.0.0.0", self.config.health_port, alive=dict, ready=self._ready, metrics=self._metrics
            ) as port,
        ):
            self.health_port = port
            runs = Runs(queue, transcripts, self.config.erase_sessions)
            async with (
                ApiServer(self.config.kubeconfig, self.meter) as api,
                asyncio.TaskGroup() as doors,
            ):
                if self.config.tls_folder is not None:
                    doors.create_task(self._aggregated(api, runs, self.config.tls_folder))
                if self.config.ingress is not None:
                    doors.create_task(self._ingress(api, runs, self.config.ingress))
                if self.config.tls_folder is None and self.config.ingress is None:
                    doors.create_task(self._administrator(runs))
        return 0

    def _ready(self) -> dict[str, str]:
        # the listener only: without the database, discovery is answered still, on which namespaces' deletion waits
        return {} if self.serving.is_set() else {"listener": self.listeners.problem}

    async def _metrics(self) -> str:
        return page(self.meter.families())

    def _app(self, identify: Identify, runs: Runs, authoriser: Authoriser) -> App:
        return App(identify, runs, authoriser, DASHBOARD, self.listeners.ending, self.config.trace_url)

    async def _administrator(self, runs: Runs) -> None:
        door = AdministratorsDoor(self.config.port, start_path(dashboard=True))
        self.link = door.link
        app = self._app(door.identify, runs, Authoriser())
        await self.listeners.serve(door.around(app), "127.0.0.1", self.config.port)

    async def _ingress(self, api: ApiServer, runs: Runs, config: IngressConfig) -> None:
        authoriser = Authoriser(partial(reviewed, api) if config.reviewed else everything)
        app = self._app(config.door.identify, runs, authoriser)
        await self.listeners.serve(config.door.around(app), "0.0.0.0", config.port)

    async def _aggregated(self, api: ApiServer, runs: Runs, folder: Path) -> None:
        found = await self._front_proxy(api, folder)
        if found is None:
            return
        known, tls = found
        app = self._app(known.identify, runs, Authoriser(partial(reviewed, api)))
        following = asyncio.create_task(self._follow(api, known, tls))
        try:
            await self.listeners.serve(app, "0.0.0.0", self.config.port, tls.context)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _front_proxy(self, api: ApiServer, folder: Path) -> tuple[_Known, ServingTls] | None:
        """Waits until the cluster names its front proxy and the certificate is there; None: it is to end."""
        while not self.listeners.stopping.is_set():
            try:
                proxy = await read_front_proxy(api)
                return _Known(proxy), ServingTls(folder, proxy.ca)
            except (FrontProxyUnknown, ApiUnavailable, OSError, ssl.SSLError) as error:
                problem = f"the door stays shut: {error}"
                if problem != self.listeners.problem:
                    log.error(problem)
                self.listeners.problem = problem
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.listeners.stopping.wait(), RETRY_SECONDS)
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
    if config.tls_folder is None and config.ingress is None:
        telling = asyncio.create_task(_tell(web))
        try:
            return await web.run()
        finally:
            telling.cancel()
    return await web.run()


async def _tell(web: Web) -> None:
    await web.serving.wait()
    print(f"Open {web.link}", flush=True)  # noqa: T201  # the secret is for the terminal, never for the log
