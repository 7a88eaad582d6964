"""What stands behind the APIService of the runs API in tests: a small server, its Service, and a firewall before it."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.controller.apiserver.resources import (
    API_SERVICES,
    ENDPOINT_SLICES,
    EVENTS,
    NAMESPACES,
    SECRETS,
    SERVICES,
    Resource,
)
from agentjobs.controller.runs_api.objects import NAME
from agentjobs.values.json import JsonObject
from agentjobs.web.names import GROUP, ROOT, VERSION
from operators import eventually

SERVICE = "agentjobs-web"
SECRET = "agentjobs-web-tls"
MERGE_PATCH = "application/merge-patch+json"


@dataclass
class Place:
    """The Service and its neighbours in one namespace, over a connection of the test's own."""

    api: ApiServer
    namespace: str
    port: int

    async def ask(
        self, verb: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> Reply:
        return await self.api.request(
            verb, path, resource="test", body=body, content_type=content_type, wants_object=False
        )

    async def make(self) -> None:
        """A Service by which the API server reaches a port of this machine, with no endpoint ready."""
        meta = {"name": SERVICE, "namespace": self.namespace}
        spec = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": self.port}]}
        made = await self.ask("POST", SERVICES.collection(self.namespace), {"metadata": meta, "spec": spec})
        assert made.ok, made
        body = {
            "metadata": {"name": SERVICE, "labels": {"kubernetes.io/service-name": SERVICE}},
            "addressType": "IPv4",
            "endpoints": self._endpoints(False),
            "ports": [{"port": 10250}],
        }
        made = await self.ask("POST", ENDPOINT_SLICES.collection(self.namespace), body)
        assert made.ok, made

    @staticmethod
    def _endpoints(ready: bool) -> list[JsonObject]:
        return [{"addresses": ["10.1.2.3"], "conditions": {"ready": ready}}]

    async def ready(self, ready: bool = True) -> None:
        path = ENDPOINT_SLICES.object(self.namespace, SERVICE)
        done = await self.ask("PATCH", path, {"endpoints": self._endpoints(ready)}, MERGE_PATCH)
        assert done.ok, done

    async def api_service(self) -> JsonObject | None:
        found = await self.ask("GET", API_SERVICES.object(None, NAME))
        return found.body if found.ok else None

    async def served(self) -> bool:
        """Whether the discovery document comes through the API server."""
        return (await self.ask("GET", ROOT)).ok

    async def secret(self) -> dict[str, bytes]:
        found = await self.ask("GET", SECRETS.object(self.namespace, SECRET))
        data = found.body.get("data") or {} if found.ok else {}
        return {key: base64.b64decode(value) for key, value in data.items()}

    async def events(self, reason: str) -> list[str]:
        found = await self.ask("GET", EVENTS.collection(self.namespace))
        return [item["message"] for item in found.body["items"] if item["reason"] == reason]

    async def until(self, there: bool, within: float) -> float:
        """Waits until the APIService is there, or is not; for how many seconds."""
        began = time.monotonic()

        async def look() -> bool:
            return (await self.api_service() is not None) is there

        await eventually(look, within=within)
        return time.monotonic() - began

    async def namespace_deleted(self, within: float) -> float:
        """Makes a namespace and deletes it; how many seconds until it was gone."""
        name = f"other-{time.monotonic_ns()}"
        await self.ask("POST", NAMESPACES.collection(), {"metadata": {"name": name}})
        await self.delete(NAMESPACES, None, name)
        return await self.gone(NAMESPACES, name, within)

    async def delete(self, resource: Resource, namespace: str | None, name: str) -> None:
        await self.ask("DELETE", resource.object(namespace, name))

    async def gone(self, resource: Resource, name: str, within: float) -> float:
        """Waits until a cluster-scoped object is gone; for how many seconds."""
        began = time.monotonic()

        async def look() -> bool:
            return not (await self.ask("GET", resource.object(None, name))).ok

        await eventually(look, within=within)
        return time.monotonic() - began


@dataclass
class SmallServer:
    """An extension API server without resources, with the certificate that the Secret has."""

    place: Place
    folder: Path
    requests: int = 0
    _context: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    _shown: bytes = b""

    async def take_certificate(self) -> bool:
        """Takes what is in the Secret now, as the kubelet and the server do after a while."""
        data = await self.place.secret()
        if not data.get("tls.crt") or data["tls.crt"] == self._shown:
            return bool(self._shown)
        for key in ("tls.crt", "tls.key"):
            (self.folder / key).write_bytes(data[key])
        with suppress(ssl.SSLError):  # damaged: the server goes on with what it has
            self._context.load_cert_chain(self.folder / "tls.crt", self.folder / "tls.key")
            self._shown = data["tls.crt"]
        return bool(self._shown)

    @asynccontextmanager
    async def serving(self, *, kubelet_seconds: float = 0.5) -> AsyncIterator[None]:
        """Serves once there is a certificate; looks for another one every few moments. Cuts all connections at the end."""
        await eventually(self.take_certificate)
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "localhost", self.place.port, ssl_context=self._context).start()

        async def kubelet() -> None:
            while True:
                await asyncio.sleep(kubelet_seconds)
                await self.take_certificate()

        task = asyncio.create_task(kubelet())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        version = {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}
        bodies: dict[str, JsonObject] = {
            ROOT: {
                "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}", "resources": [],
            },
            f"/apis/{GROUP}": {
                "kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version], "preferredVersion": version,
            },
        }  # fmt: skip
        body = bodies.get(request.path)
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": "NotFound",
            "code": 404,
        }
        text = json.dumps(body if body is not None else status)
        # a connection of its own for each request: the next one sees the certificate of now
        headers = {"Connection": "close"}
        return web.Response(
            text=text,
            status=200 if body is not None else 404,
            content_type="application/json",
            headers=headers,
        )


@contextmanager
def firewall(port: int) -> Iterator[None]:
    """Connections to the port get no answer, not even a refusal."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        fillers = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(4)]
        for filler in fillers:  # whoever comes after them is not taken into the line
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(("127.0.0.1", port))
        try:
            yield
        finally:
            for filler in fillers:
                filler.close()
