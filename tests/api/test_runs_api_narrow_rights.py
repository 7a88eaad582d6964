"""Rights to one name, no rights at all, and requests that two programs could read differently, behind a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import aiohttp
import pytest

from agentjobs.local.assets import Assets
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import NewJob
from agentjobs.values.json import JsonObject
from agentjobs.web.names import GROUP, ROOT
from clusters import Cluster
from queue_builders import mirrored_job
from runs_apis import RBAC, Served, with_roles

TEAM = "namespaces/team"
SECRET = "never-told"
RULES = [
    {"apiGroups": [GROUP], "resources": ["agentruns"], "resourceNames": ["mine"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [GROUP], "resources": ["agentruns/log"], "resourceNames": ["mine"], "verbs": ["get"]},
    {"apiGroups": [GROUP], "resources": ["runaudits"], "resourceNames": ["1"], "verbs": ["list"]},
    {"apiGroups": [GROUP], "resources": ["runseries", "schedulestats"], "resourceNames": ["mine"], "verbs": ["list"]},
    {"apiGroups": [GROUP], "resources": ["runactions"], "verbs": ["create"]},
]  # fmt: skip


@pytest.fixture(scope="module")
def plane(own_assets: Assets) -> Iterator[Cluster]:
    with with_roles(own_assets) as found:
        one: JsonObject = {"name": "one", "namespace": "team"}
        found.apply(
            [
                {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": one, "rules": RULES},
                {
                    "apiVersion": f"{RBAC}/v1",
                    "kind": "RoleBinding",
                    "metadata": one,
                    "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "one"},
                    "subjects": [{"apiGroup": RBAC, "kind": "User", "name": "one"}],
                },
            ]
        )
        yield found


@pytest.fixture
def web_config(dsn: str) -> dict[str, str]:
    return {"session_dsn": dsn}


async def _world(queue: Queue) -> NewJob:
    """Two jobs of team, of which the second is not to be heard of; both were suspended by somebody."""
    mine, other = mirrored_job("mine"), mirrored_job(SECRET, payload={"v": 1, "userID": SECRET})
    await queue.enqueue([mine, other])
    for job in (mine, other):
        await queue.suspend(job.uid)
    return other


async def test_who_may_see_one_name_sees_that_alone(api: Served, queue: Queue) -> None:
    other = await _world(queue)
    seen = {
        f"{TEAM}/agentruns/mine": 200,
        f"{TEAM}/agentruns?fieldSelector=metadata.name=mine": 200,
        f"{TEAM}/agentruns?fieldSelector=metadata.name%3Dmine&watch=true&timeoutSeconds=1": 200,
        f"{TEAM}/agentruns/mine/log": 200,
        f"{TEAM}/agentruns/mine?uid={other.uid}": 404,
        f"{TEAM}/agentruns/mine/log?uid={other.uid}": 404,
        f"{TEAM}/agentruns/{SECRET}": 403,
        f"{TEAM}/agentruns/{SECRET}/log": 403,
        f"{TEAM}/agentruns/{other.uid}": 403,
        f"{TEAM}/agentruns": 403,
        f"{TEAM}/agentruns?watch=true": 403,
        f"{TEAM}/agentruns?fieldSelector=metadata.name={SECRET}": 403,
        f"{TEAM}/agentruns/mine/log?source=transcript": 403,
        f"{TEAM}/agentruns/mine/transcript?scope=session": 403,
        # authorised by one name, which no such list can be cut to
        f"{TEAM}/runaudits?fieldSelector=metadata.name=1": 400,
        f"{TEAM}/runseries?fieldSelector=metadata.name=mine": 400,
        f"{TEAM}/schedulestats?fieldSelector=metadata.name=mine": 400,
    }
    found = {}
    for path in seen:
        answer = await api.ask("one", path)
        found[path] = answer.code
        assert SECRET in path or SECRET not in answer.text, path
    assert found == seen
    for selector in (
        "fieldSelector=metadata.name=mine&fieldSelector=metadata.name=" + SECRET,
        "fieldSelector=metadata.name=mine&fieldSelector=",
        "fieldSelector=metadata.name=mine,metadata.name=" + SECRET,
        "fieldSelector=metadata.name==mine",
        "fieldSelector=metadata.name!=" + SECRET,
        "fieldSelector=metadata.name=mine;fieldSelector=",
        "%66ieldSelector=metadata.name=mine&fieldSelector=metadata.name=" + SECRET,
        "fieldSelector=metadata.name=mine&watch=0&watch=1",
        "fieldSelector=metadata.name=mine&watch=",
        "fieldSelector=metadata.name=mine&labelSelector=a",
    ):
        answer = await api.ask("one", f"{TEAM}/agentruns?{selector}")
        assert answer.code in (400, 403), (selector, answer.code)
    for body in ({"verb": "retry", "filter": {}}, {"verb": "retry", "filter": {"user": SECRET}}):
        counted = await api.ask("one", f"{TEAM}/runactions?dryRun=All", {"spec": body})
        assert counted.code == 403, "a count tells what a list does"


async def test_nobody_is_told_anything_by_whatever_door_of_the_api_server(api: Served, queue: Queue) -> None:
    await _world(queue)
    server, _ = api._client("view")
    path = f"{server}{ROOT}/{TEAM}/agentruns"
    forged = [("X-Remote-User", "admin"), ("X-Remote-Group", "system:masters"), ("Authorization", "Bearer x")]
    for headers in ([], forged[:2], forged[2:], [("Impersonate-User", "admin")]):
        async with (
            aiohttp.ClientSession() as session,
            session.get(path, ssl=False, headers=dict(headers)) as answer,
        ):
            assert answer.status in (401, 403), headers
            assert SECRET not in await answer.text()


async def test_an_upgrade_a_second_length_and_a_body_of_a_get_change_nothing(
    api: Served, queue: Queue
) -> None:
    await _world(queue)
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    for user, code in (("one", 403), ("nobody", 403)):
        assert (await api.ask(user, f"{TEAM}/agentruns", **upgrade)).code == code
    assert (await api.ask("view", f"{TEAM}/agentruns", **upgrade)).code != 101
    smuggled = (
        f"0\r\n\r\nGET {ROOT}/namespaces/other/agentruns HTTP/1.1\r\nHost: x\r\nX-Remote-User: admin\r\n\r\n"
    )
    for headers in ({"Transfer-Encoding": "chunked"}, {}):
        answer = await api.ask("view", f"{TEAM}/agentruns", smuggled.encode(), method="GET", **headers)
        assert answer.code in (200, 400)
        if answer.code == 200:
            assert {item["metadata"]["namespace"] for item in json.loads(answer.text)["items"]} == {"team"}
        again = await api.ask("view", f"{TEAM}/agentruns")
        assert (again.code, again.json["kind"]) == (200, "AgentRunList"), (
            "nobody's request is left in between"
        )
