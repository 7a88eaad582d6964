"""Every role by every verb on every object of the table of routes, asked of a real API server, and behind an ingress; and forged
identities."""

from __future__ import annotations

import itertools
from pathlib import Path

import aiohttp
import pytest

from agentjobs.local.process import free_port
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import NewJob
from agentjobs.web.authorise import READING
from agentjobs.web.ingress import SECRET_HEADER, IngressDoor, SecretFile, TrustedProxy
from agentjobs.web.names import ROOT
from agentjobs.web.rights import allows
from agentjobs.web.routes import RESOURCES, Resource, Role, route_of
from agentjobs.web.server import IngressConfig
from agentjobs.web.status import ApiError
from agentjobs.web.target import Target
from clusters import Cluster
from queue_builders import TestWorker, mirrored_job, new_job
from runs_apis import ROLES, Served, served

pytestmark = pytest.mark.timeout(400)
SECRET = "never-told"
"""In everything that is not of the namespace team."""
METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}
NAMED = {"get", "update", "patch", "delete"}
USERS = (*ROLES, Role.QUEUES, "nobody")


@pytest.fixture
def web_config(dsn: str) -> dict[str, str]:
    return {"session_dsn": dsn}


@pytest.fixture
def ingress(tmp_path: Path) -> IngressConfig:
    secret = tmp_path / "proxy-secret"
    secret.write_text("s" * 40)
    return IngressConfig(IngressDoor(TrustedProxy(SecretFile(secret))), free_port())


async def _world(queue: Queue) -> NewJob:
    """A job of team, and of everything else something that nobody there may hear of. Answers the job without an object."""
    bare = new_job(queue=SECRET, payload={"v": 1, "userID": SECRET, "agent": {"module": SECRET}})
    theirs = mirrored_job(SECRET, "other", queue=SECRET, payload={"v": 1, "userID": SECRET})
    await queue.enqueue([mirrored_job("mine"), theirs, bare])
    await TestWorker(queue, {SECRET: 4}).register()
    await queue.set_queue(SECRET, paused=True, by=SECRET, reason=SECRET)
    for job in (theirs, bare):
        await queue.suspend(job.uid)
    return bare


def _path(resource: Resource, verb: str, namespace: str | None, name: str) -> str:
    parts = ["namespaces", namespace] if namespace is not None else []
    parts.append(resource.plural)
    if verb in NAMED or resource.subresource:
        parts.append(name)
    if resource.subresource:
        parts.append(resource.subresource)
    text = "/".join(parts)
    return f"{text}?watch=true&timeoutSeconds=1" if verb == "watch" else text


def _may(user: str, resource: Resource, verb: str, namespace: str | None) -> bool:
    """As the roles are bound: view, edit and admin in team, queues and everyone in the whole cluster."""
    if allows(Role.EVERYONE, resource, verb):
        return True
    if user == Role.QUEUES:
        return allows(Role.QUEUES, resource, verb)
    return user in ROLES and namespace == "team" and allows(Role(user), resource, verb)


@pytest.mark.parametrize("user", USERS)
async def test_a_user_may_by_every_path_what_the_roles_say_and_hears_nothing_of_others(
    api: Served, queue: Queue, user: str
) -> None:
    bare = await _world(queue)
    names = {"team": "mine", "other": SECRET, "-": str(bare.uid), None: "mine"}
    asked = 0
    for resource, verb, namespace in itertools.product(RESOURCES, METHODS, names):
        if resource.subresource and verb not in NAMED | {"create"}:
            continue  # such a path has a name, so it is a get
        path = _path(resource, verb, namespace, names[namespace])
        body = b"{}" if verb in ("create", "update", "patch") else None
        answer = await api.ask(user, path, body, method=METHODS[verb])
        # a body that asks for nothing is refused once the right is there
        may = _may(user, resource, verb, namespace)
        assert (answer.code != 403) is may, (verb, path, answer.code, answer.text[:200])
        told = answer.text.replace(names[namespace], "")
        assert SECRET not in told, (verb, path, told[:300])
        assert answer.code != 500, (verb, path, answer.text[:200])
        asked += 1
    assert asked > 20 * len(RESOURCES) / 2


def _is_served(resource: Resource, verb: str, namespace: str | None) -> bool:
    try:
        named = verb in NAMED or resource.subresource
        route_of(Target(verb, resource.name, namespace, "x" if named else None))
    except ApiError:
        return False
    return True


async def test_behind_an_ingress_a_person_reads_what_the_roles_say_and_nobody_acts(
    plane: Cluster, dsn: str, tmp_path: Path, ingress: IngressConfig, queue: Queue
) -> None:
    bare = await _world(queue)
    names = {"team": "mine", "other": SECRET, "-": str(bare.uid), None: "mine"}
    base = f"http://127.0.0.1:{ingress.port}{ROOT}"
    asked = 0
    async with (
        served(plane, dsn, tmp_path, session_dsn=dsn, ingress=ingress),
        aiohttp.ClientSession() as client,
    ):
        for user, resource, verb, namespace in itertools.product(USERS, RESOURCES, METHODS, names):
            if resource.subresource and verb not in NAMED | {"create"}:
                continue
            headers = {SECRET_HEADER: "s" * 40, "X-Forwarded-User": str(user), "X-Remote-User": "admin"}
            path = _path(resource, verb, namespace, names[namespace])
            async with client.request(METHODS[verb], f"{base}/{path}", headers=headers) as answer:
                code, text = answer.status, await answer.text()
            place = (user, verb, path, code, text[:200])
            if verb in READING and _is_served(resource, verb, namespace):
                assert (code == 403) is not _may(user, resource, verb, namespace), place
            else:
                assert code in (403, 404, 405), place
            if verb == "create" and _is_served(resource, verb, namespace):
                assert "read-only" in text, place
            assert SECRET not in text.replace(names[namespace], ""), place
            asked += 1
        for forged in (
            {"X-Forwarded-User": "edit"},
            {"X-Forwarded-User": "edit", SECRET_HEADER: "guessed"},
            {"X-Remote-User": "edit", SECRET_HEADER: "s" * 40},
        ):
            async with client.get(f"{base}/namespaces/team/agentruns", headers=forged) as answer:
                assert answer.status == 401
    assert asked > 500
    assert await queue.audit(queue="agents") == []


async def test_who_forges_an_identity_through_the_api_server_stays_who_he_is(
    api: Served, queue: Queue
) -> None:
    await _world(queue)
    forged = {
        "X-Remote-User": "admin", "X-Remote-Group": "system:masters", "X-Remote-Uid": "0", "X-Remote-Extra-Scopes": "all",
        "X_Remote_User": "admin", "X-Forwarded-User": "admin", SECRET_HEADER: "s" * 40, "X-Forwarded-Access-Token": "x", "Forwarded": "for=127.0.0.1",
    }  # fmt: skip
    for path in (
        "namespaces/team/agentruns",
        "namespaces/other/agentruns",
        "agentruns",
        "namespaces/team/runaudits",
    ):
        for headers in ({name: value} for name, value in forged.items()):
            answer = await api.ask("nobody", path, None, **headers)
            assert answer.code == 403, (path, headers)
            assert '"nobody' in answer.text.replace("\\", "")
    # impersonation needs a right of its own, and then the other's rights hold
    assert (await api.ask("view", "namespaces/team/runaudits", **{"Impersonate-User": "admin"})).code == 403
    assert (await api.ask("", "namespaces/team/runaudits", **{"Impersonate-User": "admin"})).code == 200
    assert (await api.ask("", "namespaces/other/runaudits", **{"Impersonate-User": "admin"})).code == 403
    acted = await api.ask(
        "", "queueactions", {"spec": {"verb": "pause", "queue": "agents"}}, **{"Impersonate-User": "queues"}
    )
    assert acted.code == 201
    assert [row.actor for row in await queue.audit(queue="agents")][:1] == ["queues"]


async def test_a_path_with_two_readings_reaches_nothing(api: Served, queue: Queue) -> None:
    await _world(queue)
    for path in (
        "namespaces/team/../other/agentruns", "namespaces/team%2f..%2fother/agentruns", "namespaces/team/agentruns/%2e%2e",
        "namespaces/team//agentruns", "namespaces//agentruns", "namespaces/team/agentruns;x=1", "namespaces/team/agentruns/mine/log/x",
        "namespaces/team/agentruns/mine%00", "namespaces/team/agentruns/mine/../../../other/agentruns",
    ):  # fmt: skip
        answer = await api.ask("edit", f"{ROOT}/{path}")
        assert answer.code >= 300, (path, answer.code)
        assert SECRET not in answer.text
