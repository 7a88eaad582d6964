"""The runs API behind a real API server, as tests and their users reach it."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import yaml
from yarl import URL

from agentjobs.local.assets import Assets
from agentjobs.local.certificates import Authority, Pair
from agentjobs.local.process import free_port
from agentjobs.values.json import JsonObject
from agentjobs.web.names import GROUP, ROOT, VERSION
from agentjobs.web.rights import rules
from agentjobs.web.routes import Role
from agentjobs.web.server import Web, WebConfig
from clusters import Cluster, own_cluster
from queue_builders import until

ROLES = (Role.VIEW, Role.EDIT, Role.ADMIN)
"""Each is bound in the namespace ``team`` to the user of its name."""
EVERYWHERE = {Role.EVERYONE: ("Group", "system:authenticated"), Role.QUEUES: ("User", "queues")}
"""Bound in the whole cluster."""
RBAC = "rbac.authorization.k8s.io"


def _role(role: Role) -> list[JsonObject]:
    """The role as the chart has it, and its binding."""
    name = f"runs-{role}"
    everywhere = role in EVERYWHERE
    kind, who = EVERYWHERE.get(role, ("User", role.value))
    return [
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": rules(role),
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding" if everywhere else "RoleBinding",
            "metadata": {"name": name} | ({} if everywhere else {"namespace": "team"}),
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": RBAC, "kind": kind, "name": who}],
        },
    ]


@contextmanager
def with_roles(assets: Assets) -> Iterator[Cluster]:
    """A control plane with users by the names of the roles: view, edit and admin in the namespace ``team``, queues everywhere."""
    with own_cluster(assets, crds=False) as found:
        for name in ("team", "other"):
            found.kubectl("create", "namespace", name)
        for role in Role:
            found.apply(_role(role))
        yield found


@dataclass(frozen=True)
class Answered:
    """One answer."""

    code: int
    text: str
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Served:
    """The API as the tests reach it."""

    plane: Cluster
    web: Web
    port: int
    serving_ca: Path
    clients: dict[str, tuple[str, ssl.SSLContext]] = field(default_factory=dict)

    async def kubectl(self, user: str, *arguments: str) -> str:
        """kubectl's words, as this user; an empty name: the administrator."""
        kubeconfig = self.plane.kubeconfig
        if user:
            kubeconfig = self.plane.require_own().kubeconfig_for(user)
        who = Cluster(kubeconfig, self.plane.kubectl_path, "user")
        return await asyncio.to_thread(who.kubectl, *arguments, check=False)

    async def ask(
        self,
        user: str,
        path: str,
        body: object = None,
        *,
        accept: str = "application/json",
        method: str = "",
        **headers: str,
    ) -> Answered:
        """A request of this user below the API's root, through the API server; an empty name: the administrator."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Accept": accept} | ({} if data is None else {"Content-Type": "application/json"})
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        method = method or ("GET" if data is None else "POST")
        async with self._sent(user, path, method, data, sent) as answer:
            return Answered(answer.status, await answer.text(), answer.headers.copy())

    @asynccontextmanager
    async def stream(
        self, user: str, path: str, accept: str = "text/event-stream", **headers: str
    ) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of a stream, as they come."""
        sent = {"Accept": accept} | {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._sent(user, path, "GET", None, sent) as answer:
            assert answer.status == 200, await answer.text()

            async def lines() -> AsyncIterator[str]:
                async for line in answer.content:
                    yield line.decode().rstrip("\n")

            yield lines()

    @asynccontextmanager
    async def _sent(
        self, user: str, path: str, method: str, data: bytes | None, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if user not in self.clients:
            self.clients[user] = self._client(user)
        server, context = self.clients[user]
        url = URL(f"{server}{path if path.startswith('/') else f'{ROOT}/{path}'}", encoded=True)
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, data=data, ssl=context, headers=headers) as answer,
        ):
            yield answer

    def _client(self, user: str) -> tuple[str, ssl.SSLContext]:
        """The API server's address, and TLS as this user."""
        kubeconfig = self.plane.require_own().kubeconfig_for(user) if user else self.plane.kubeconfig
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, person = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        pair = self.serving_ca.parent / f"asks-{user or 'administrator'}.pem"
        parts = (base64.b64decode(person[f"client-{part}-data"]) for part in ("certificate", "key"))
        pair.write_bytes(b"\n".join(parts))
        context.load_cert_chain(pair)
        return cluster["server"], context

    async def direct(self, client: Pair | None, **headers: str) -> int:
        """The status of a call past the API server; 0: TLS ended it."""
        context = ssl.create_default_context(cafile=str(self.serving_ca))
        if client is not None:
            context.load_cert_chain(client.certificate, client.key)
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(
                    f"https://localhost:{self.port}{ROOT}/namespaces/team/agentruns",
                    ssl=context,
                    headers=headers,
                ) as answer,
            ):
                return answer.status
        except aiohttp.ClientError:
            return 0


@asynccontextmanager
async def served(plane: Cluster, dsn: str, folder: Path, **config: Any) -> AsyncIterator[Served]:
    """Our process with an APIService before it, until the block ends."""
    port = free_port()
    authority = Authority(folder / "pki")
    pair = authority.server("web")
    (folder / "tls.crt").write_bytes(pair.certificate.read_bytes())
    (folder / "tls.key").write_bytes(pair.key.read_bytes())
    web = Web(
        WebConfig(
            dsn,
            tls_folder=folder,
            port=port,
            kubeconfig=str(plane.kubeconfig),
            health_port=0,
            linger_seconds=0,
            **config,
        )
    )
    running = asyncio.create_task(web.run())
    name = f"web-{uuid4().hex[:6]}"
    objects: list[JsonObject] = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{VERSION}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "version": VERSION,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {"name": name, "namespace": "default", "port": port},
            },
        },
    ]
    try:
        await asyncio.wait_for(web.serving.wait(), 20)
        await asyncio.to_thread(plane.apply, objects)
        found = Served(plane, web, port, authority.certificate)

        async def listed() -> bool:
            said = await found.kubectl("", "api-resources", f"--api-group={GROUP}")
            return "agentruns" in said

        await until(listed, 60)
        yield found
    finally:
        await asyncio.to_thread(plane.kubectl, "delete", "apiservice", f"{VERSION}.{GROUP}", check=False)
        web.stop()
        await asyncio.wait_for(running, 30)
