"""A reverse proxy before the API server that answers some requests in its place: 429, 5xx, garbage, late, or
not at all."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientConnectionResetError, ClientSession, ClientTimeout, TCPConnector, web

from agentjobs.controller.apiserver.client import load_configuration, ssl_context_of
from clusters import Cluster

HOP_BY_HOP = {"connection", "host", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Fault:
    """What is answered in the API server's place; ``status`` None: nothing, the request only waits."""

    status: int | None
    retry_after: int | None = None
    seconds: float = 0.0
    message: str = "the test's proxy says no"
    details: Mapping[str, Any] | None = None
    garbage: bytes | None = None
    """The whole body, in place of a Status."""
    reset: bool = False
    """The connection is cut instead of an answer."""


@dataclass
class ApiProxy:
    """``fault`` decides by method and path; None: the API server answers. It may be set at any time.

    The method of a watch is WATCH.
    """

    kubeconfig: Path
    fault: Callable[[str, str], Fault | None] = lambda method, path: None
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Requests by method and path, those with a fault included."""

    def count(self, method: str, pattern: str) -> int:
        """Requests so far whose whole path matches the expression."""
        return sum(n for (m, path), n in self.asked.items() if m == method and re.fullmatch(pattern, path))


@asynccontextmanager
async def api_proxy(cluster: Cluster, folder: Path) -> AsyncIterator[ApiProxy]:
    """Serves plain HTTP on a free port of this host, as the user of the cluster's kubeconfig."""
    upstream = await load_configuration(str(cluster.kubeconfig))
    proxy = ApiProxy(folder / "proxy.kubeconfig")
    connector = TCPConnector(limit=0, ssl=ssl_context_of(upstream))
    async with ClientSession(
        connector=connector, timeout=ClientTimeout(total=None), auto_decompress=False
    ) as session:

        async def answer(request: web.Request) -> web.StreamResponse:
            method = "WATCH" if request.query.get("watch") else request.method
            proxy.asked[(method, request.path)] += 1
            fault = proxy.fault(method, request.path)
            if fault is not None:
                await asyncio.sleep(fault.seconds)
                if fault.reset and request.transport is not None:
                    request.transport.abort()
                if fault.status is not None or fault.reset:
                    return _refusal(fault)
            headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
            token = await upstream.get_api_key_with_prefix("BearerToken")
            if token:
                headers["Authorization"] = token
            url = f"{upstream.host}{request.raw_path}"
            body = await request.read()
            async with session.request(request.method, url, data=body or None, headers=headers) as found:
                response = web.StreamResponse(status=found.status)
                for key, value in found.headers.items():
                    if key.lower() not in HOP_BY_HOP:
                        response.headers[key] = value
                await response.prepare(request)
                with suppress(ClientConnectionResetError):  # a watch that its reader has left
                    async for chunk in found.content.iter_any():
                        await response.write(chunk)
                return response

        app = web.Application(client_max_size=8 << 20)
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            proxy.kubeconfig.write_text(json.dumps(_kubeconfig(runner.addresses[0][1])))
            yield proxy
        finally:
            await runner.cleanup()


def _refusal(fault: Fault) -> web.Response:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    if fault.garbage is not None:
        return web.Response(body=fault.garbage, status=fault.status or 500, headers=headers)
    body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    body |= {"message": fault.message, "code": fault.status}
    if fault.details is not None:
        body["details"] = dict(fault.details)
    return web.json_response(body, status=fault.status or 500, headers=headers)


def _kubeconfig(port: int) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "proxy",
        "clusters": [{"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}],
    }
