"""The runs API behind a real API server, as plain users see it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.metrics.counters import Counters
from agentjobs.local.assets import Assets
from agentjobs.local.certificates import Authority, Pair
from agentjobs.local.controlplane import FRONT_PROXY
from agentjobs.local.process import free_port
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind
from agentjobs.web.cluster import reviewed
from agentjobs.web.identity import Door, Identity
from agentjobs.web.names import API_VERSION, GROUP, ROOT, VERSION
from agentjobs.web.rights import allows, rules
from agentjobs.web.routes import RESOURCES, Role
from agentjobs.web.server import Web, WebConfig
from agentjobs.web.target import Target
from clusters import Cluster, own_cluster
from queue_builders import TestWorker, mirrored_job, new_job, until

ROLES = (Role.VIEW, Role.EDIT, Role.ADMIN)


@pytest.fixture(scope="module")
def plane(own_assets: Assets) -> Iterator[Cluster]:
    """A control plane for this module, with a user of each role in the namespace ``team``."""
    with own_cluster(own_assets, crds=False) as found:
        for name in ("team", "other"):
            found.kubectl("create", "namespace", name)
        api = "rbac.authorization.k8s.io"
        for role in ROLES:
            meta = {"name": f"runs-{role}"}
            found.apply(
                [
                    {
                        "apiVersion": f"{api}/v1",
                        "kind": "ClusterRole",
                        "metadata": meta,
                        "rules": rules(role),
                    },
                    {
                        "apiVersion": f"{api}/v1",
                        "kind": "RoleBinding",
                        "metadata": meta | {"namespace": "team"},
                        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": f"runs-{role}"},
                        "subjects": [{"apiGroup": api, "kind": "User", "name": role.value}],
                    },
                ]
            )
        yield found


@dataclass
class Served:
    """The API as the tests reach it."""

    plane: Cluster
    web: Web
    port: int
    serving_ca: Path

    async def kubectl(self, user: str, *arguments: str) -> str:
        """kubectl's words, as this user; an empty name: the administrator."""
        kubeconfig = self.plane.kubeconfig
        if user:
            kubeconfig = self.plane.require_own().kubeconfig_for(user)
        who = Cluster(kubeconfig, self.plane.kubectl_path, "user")
        return await asyncio.to_thread(who.kubectl, *arguments, check=False)

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
async def served(plane: Cluster, dsn: str, folder: Path) -> AsyncIterator[Served]:
    """Our process with an APIService before it, until the block ends."""
    port = free_port()
    authority = Authority(folder / "pki")
    pair = authority.server("web")
    (folder / "tls.crt").write_bytes(pair.certificate.read_bytes())
    (folder / "tls.key").write_bytes(pair.key.read_bytes())
    web = Web(WebConfig(dsn, tls_folder=folder, port=port, kubeconfig=str(plane.kubeconfig), health_port=0))
    running = asyncio.create_task(web.run())
    name = f"web-{uuid4().hex[:6]}"
    objects = [
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


@pytest.fixture
async def queue(dsn: str) -> AsyncIterator[Queue]:
    async with await Queue.open(dsn) as made:
        yield made


@pytest.fixture
async def worker(queue: Queue) -> TestWorker:
    return await TestWorker(queue).register()


@pytest.fixture
async def api(plane: Cluster, dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(plane, dsn, tmp_path) as found:
        yield found


async def test_a_user_lists_reads_and_explains_the_runs_of_his_namespace_alone(
    api: Served, queue: Queue
) -> None:
    mine, other, bare = mirrored_job("mine"), mirrored_job("theirs", "other"), new_job()
    await queue.enqueue([mine, other, bare])
    table = await api.kubectl("view", "get", "agentruns", "-n", "team")
    assert table.splitlines()[0].split()[:4] == ["NAME", "QUEUE", "AGENT", "STATUS"]
    assert "mine" in table
    assert "theirs" not in table
    assert "TOKENS" in await api.kubectl("view", "get", "ar", "-n", "team", "-o", "wide")
    assert f"apiVersion: {API_VERSION}" in await api.kubectl(
        "view", "get", "ar", "mine", "-n", "team", "-o", "yaml"
    )
    assert "FIELD: state" in (await api.kubectl("view", "explain", "agentrun.status.state")).replace(
        "   ", " "
    ).replace("  ", " ")
    for namespace in ("other", "-"):
        assert "Forbidden" in await api.kubectl("view", "get", "agentruns", "-n", namespace)
    assert "Forbidden" in await api.kubectl("view", "get", "agentruns", "-A")
    everywhere = await api.kubectl("", "get", "agentruns", "-A")
    assert all(name in everywhere for name in ("NAMESPACE", "mine", "theirs", str(bare.uid)))
    raw = f"{ROOT}/namespaces/team/agentruns/theirs"
    assert "NotFound" in await api.kubectl("view", "get", "--raw", raw)
    assert "NotFound" in await api.kubectl(
        "view", "get", "--raw", f"{ROOT}/namespaces/team/agentruns/mine?uid={other.uid}"
    )


async def test_every_role_may_do_by_every_route_what_the_table_of_routes_says(plane: Cluster) -> None:
    async with ApiServer(str(plane.kubeconfig), Counters()) as server:
        for user in (*ROLES, "nobody"):
            for resource in RESOURCES:
                for verb in ("get", "list", "watch", "create", "update", "delete"):
                    for namespace in ("team", "other", "-", None):
                        wanted = (
                            user != "nobody" and namespace == "team" and allows(Role(user), resource, verb)
                        )
                        target = Target(verb, resource.name, namespace, None)
                        got = await reviewed(server, Identity(Door.AGGREGATED, str(user)), target)
                        assert got is wanted, (user, target)


async def test_result_log_and_attempts_are_whole(api: Served, queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([mirrored_job("mine")])
    job = await worker.one()
    await worker.ack(job, AckKind.COMPLETE, result="x" * 100_000, log_tail="it said\nsomething\n")
    path = f"{ROOT}/namespaces/team/agentruns/mine"
    assert await api.kubectl("view", "get", "--raw", f"{path}/result?format=text") == "x" * 100_000
    assert "it said\nsomething\n" in await api.kubectl("view", "get", "--raw", f"{path}/log")
    assert "something" in await api.kubectl("view", "get", "--raw", f"{path}/log?follow=true")
    assert '"outcome":"complete"' in await api.kubectl("view", "get", "--raw", f"{path}/attempts")


async def test_who_does_not_come_through_the_api_server_is_refused(api: Served) -> None:
    plane = api.plane.require_own()
    wrong = plane.front_proxy_authority.client("somebody", "somebody")
    right = plane.front_proxy_authority.client("again", FRONT_PROXY)
    forged = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}
    assert await api.direct(None, **forged) == 0
    assert await api.direct(Authority(api.serving_ca.parent / "more").client("x", FRONT_PROXY), **forged) == 0
    assert await api.direct(wrong, **forged) == 401
    assert await api.direct(right) == 401
    assert await api.direct(right, **forged) == 200


async def test_discovery_is_answered_without_the_database(plane: Cluster, tmp_path: Path) -> None:
    away = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    async with served(plane, away, tmp_path) as found:
        assert "agentruns" in await found.kubectl("", "api-resources", f"--api-group={GROUP}")
        assert "ServiceUnavailable" in await found.kubectl("", "get", "agentruns", "-n", "team")
