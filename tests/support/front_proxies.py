"""The aggregated door of ``agentjobs web``, asked as kube-apiserver's front proxy asks it: no API server stands between.

What the door asks the API server itself (its front proxy's ConfigMap, reviews of rights) is answered here, so that a test can
change both while streams are open.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web as http

from agentjobs.local.certificates import Authority, Pair
from agentjobs.local.process import free_port
from agentjobs.web.cluster import REVIEWS
from agentjobs.web.front_proxy import CONFIG_MAP
from agentjobs.web.names import ROOT
from agentjobs.web.server import Web, WebConfig

FRONT_PROXY = "front-proxy-client"


@dataclass
class FrontProxy:
    """The door, and the certificate by which it is asked."""

    folder: Path
    serving: Authority
    authority: Authority
    """The request-header CA."""
    port: int = field(default_factory=free_port)
    away: bool = False
    """The API server answers nothing."""
    told: str = ""
    """What the ConfigMap has as the request-header CA. Empty: the authority's."""
    allows: Callable[[dict[str, Any]], bool] = lambda _: True
    reviews: list[dict[str, Any]] = field(default_factory=list)
    web: Web | None = None
    running: asyncio.Task[int] | None = None

    @property
    def base(self) -> str:
        return f"https://localhost:{self.port}{ROOT}/"

    def context(self, pair: Pair | None = None) -> ssl.SSLContext:
        """TLS as the front proxy; ``pair``: with another certificate."""
        pair = pair or self.authority.client("asks", FRONT_PROXY)
        context = ssl.create_default_context(cafile=str(self.serving.certificate))
        context.load_cert_chain(pair.certificate, pair.key)
        return context

    def client(self, user: str = "alice", *groups: str, pair: Pair | None = None) -> aiohttp.ClientSession:
        """A client whose requests are this user's, on as many connections as it has requests."""
        headers = [("X-Remote-User", user), *(("X-Remote-Group", group) for group in groups)]
        connector = aiohttp.TCPConnector(ssl=self.context(pair), limit=0)
        return aiohttp.ClientSession(self.base, headers=headers, connector=connector)

    def new_certificate(self) -> None:
        """Another serving certificate of the same authority."""
        pair = self.serving.server("web")
        (self.folder / "tls.crt").write_bytes(pair.certificate.read_bytes())
        (self.folder / "tls.key").write_bytes(pair.key.read_bytes())

    async def served_certificate(self) -> bytes:
        """The certificate that a new connection is shown."""
        _, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.context(), server_hostname="localhost"
        )
        shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return shown

    async def answer(self, request: http.Request) -> http.StreamResponse:
        """The API server's answer to the door."""
        if self.away:
            assert request.transport is not None
            request.transport.abort()
        if request.path == CONFIG_MAP:
            data = {
                "requestheader-client-ca-file": self.told or self.authority.certificate.read_text(),
                "requestheader-allowed-names": json.dumps([FRONT_PROXY]),
                "requestheader-username-headers": '["X-Remote-User"]',
                "requestheader-group-headers": '["X-Remote-Group"]',
                "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
            }
            return http.json_response({"kind": "ConfigMap", "metadata": {}, "data": data})
        assert request.path == REVIEWS, request.path
        asked = (await request.json())["spec"]
        self.reviews.append(asked)
        return http.json_response({"metadata": {}, "status": {"allowed": self.allows(asked)}}, status=201)


@asynccontextmanager
async def front_proxy(dsn: str, folder: Path, **config: Any) -> AsyncIterator[FrontProxy]:
    """The door, open until the block ends."""
    found = FrontProxy(folder, Authority(folder / "serving"), Authority(folder / "front"))
    found.new_certificate()
    app = http.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    runner = http.AppRunner(app, access_log=None)
    await runner.setup()
    api = free_port()
    await http.TCPSite(runner, "127.0.0.1", api).start()
    kubeconfig = folder / "kubeconfig"
    cluster = {"name": "a", "cluster": {"server": f"http://127.0.0.1:{api}"}}
    context = {"name": "a", "context": {"cluster": "a", "user": "a"}}
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context],
                "users": [{"name": "a", "user": {"token": "t"}}], "current-context": "a",
            }
        )
    )  # fmt: skip
    settings = {"linger_seconds": 0.0, "health_port": 0} | config
    found.web = Web(
        WebConfig(dsn, tls_folder=folder, port=found.port, kubeconfig=str(kubeconfig), **settings)
    )
    found.running = asyncio.create_task(found.web.run())
    try:
        await asyncio.wait_for(found.web.serving.wait(), 60)
        yield found
    finally:
        found.web.stop()
        await asyncio.wait_for(found.running, 60)
        await runner.cleanup()
