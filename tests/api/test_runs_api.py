"""The runs API behind a real API server, as plain users see it."""

from __future__ import annotations

from pathlib import Path

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.metrics.counters import Counters
from agentjobs.local.certificates import Authority
from agentjobs.local.controlplane import FRONT_PROXY
from agentjobs.local.process import free_port
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind
from agentjobs.web.cluster import reviewed
from agentjobs.web.identity import Door, Identity
from agentjobs.web.names import API_VERSION, GROUP, ROOT
from agentjobs.web.rights import allows
from agentjobs.web.routes import RESOURCES, Role
from agentjobs.web.target import Target
from clusters import Cluster
from queue_builders import TestWorker, mirrored_job, new_job, until
from runs_apis import ROLES, Served, served


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

    async def explained() -> bool:  # kube-apiserver takes the documents in after the group
        return "FIELD: state" in " ".join(
            (await api.kubectl("view", "explain", "agentrun.status.state")).split()
        )

    await until(explained, 60)
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
        for user in (*ROLES, Role.QUEUES, "nobody"):
            for resource in RESOURCES:
                for verb in ("get", "list", "watch", "create", "update", "delete"):
                    for namespace in ("team", "other", "-", None):
                        bound = (namespace == "team" and user in ROLES) or user == Role.QUEUES
                        wanted = allows(Role.EVERYONE, resource, verb) or (
                            bound and allows(Role(user), resource, verb)
                        )
                        target = Target(verb, resource.name, namespace, None)
                        who = Identity(Door.AGGREGATED, str(user), ("system:authenticated",))
                        got = await reviewed(server, who, target)
                        assert got is wanted, (user, target)


async def test_result_log_and_attempts_are_whole(api: Served, queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([mirrored_job("mine")])
    job = await worker.one()
    await worker.ack(job, AckKind.COMPLETE, result="x" * 100_000, log_tail="it said\nsomething\n")
    path = f"{ROOT}/namespaces/team/agentruns/mine"
    assert await api.kubectl("edit", "get", "--raw", f"{path}/result?format=text") == "x" * 100_000
    assert "it said\nsomething\n" in await api.kubectl("edit", "get", "--raw", f"{path}/log")
    assert "something" in await api.kubectl("edit", "get", "--raw", f"{path}/log?follow=true")
    for part in ("result", "log"):
        assert "Forbidden" in await api.kubectl("view", "get", "--raw", f"{path}/{part}")
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
