"""The plugin's verbs over the runs API, on a real API server with the real process behind it, as plain users."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agentjobs.agents.sessions.service import JobSessions
from agentjobs.cli.kubectl.apiserver import JOBS, ApiServer
from agentjobs.cli.kubectl.where import Where
from agentjobs.local.assets import Assets
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind
from agentjobs.values.names import own_session
from agentjobs.values.reasons import Reason
from agentjobs.web.names import GROUP, VERSION
from clusters import Cluster
from plugins import Plugin
from queue_builders import TestWorker, mirrored_job, until
from runs_apis import Served, served, with_roles
from session_stores import KEY
from session_stores import said as words
from tcp_proxy import tcp_proxy

pytestmark = pytest.mark.timeout(300)

HOSTILE = "\x1b[2J\x9b31m\u202e gone"


@pytest.fixture(scope="module")
def plane(own_assets: Assets) -> Iterator[Cluster]:
    """A control plane with the CRDs, and users who have the roles view and edit in the namespace ``team``."""
    api = "rbac.authorization.k8s.io"
    with with_roles(own_assets) as found:
        found.install_crds()
        rules = [{"apiGroups": ["agentjobs.dev"], "resources": ["agentjobs"], "verbs": ["*"]}]
        subjects = [{"apiGroup": api, "kind": "User", "name": name} for name in ("view", "edit")]
        reference = {"apiGroup": api, "kind": "Role", "name": "jobs"}
        found.apply(
            [
                {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": {"name": "jobs"}, "rules": rules},
                {"apiVersion": f"{api}/v1", "kind": "RoleBinding", "metadata": {"name": "jobs"}, "roleRef": reference,
                 "subjects": subjects},
            ],
            "team",
        )  # fmt: skip
        yield found


@pytest.fixture(autouse=True)
def kubectl_on_path(plane: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{plane.kubectl_path.parent}{os.pathsep}{os.environ['PATH']}")


def plugin_of(plane: Cluster, user: str) -> Plugin:
    """The plugin of a user with a client certificate of his own."""
    return Plugin(Cluster(plane.require_own().kubeconfig_for(user), plane.kubectl_path, "user"), "team", None)


async def said(plugin: Plugin, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    """What a command said; it runs beside the web process, which is in this one."""
    return await asyncio.to_thread(lambda: plugin(*arguments, status=status))


@pytest.fixture
def job(plane: Cluster) -> Iterator[tuple[str, UUID]]:
    """An AgentJob whose status an operator has filled: its name and uid."""
    spec = {
        "agent": {"inline": {"name": "helper", "model": "echo", "instruction": "Say it."}},
        "message": "Hello",
    }
    body = {
        "apiVersion": "agentjobs.dev/v1alpha1",
        "kind": "AgentJob",
        "metadata": {"generateName": "job-"},
        "spec": spec,
    }
    status = {
        "state": "Failed", "reason": "ModelTimeout", "message": "no answer", "attempts": 2, "revision": 1,
        "recentAttempts": [{"number": 2, "reason": "ModelTimeout", "message": "no answer"}],
    }  # fmt: skip
    with ApiServer.open(Where("team", kubeconfig=str(plane.kubeconfig))) as server:
        made = server.done(server.request("POST", server.path_of(JOBS), None, body), JOBS)
        name = made["metadata"]["name"]
        reply = server.request(
            "PUT", f"{server.path_of(JOBS, name)}/status", None, {**made, "status": status}
        )
        server.done(reply, JOBS, name)
        yield name, UUID(made["metadata"]["uid"])
        server.delete(JOBS, made)


async def test_a_whole_answer_is_printed_and_cannot_steer_the_terminal(
    plane: Cluster, api: Served, queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([mirrored_job("mine"), mirrored_job("theirs", "other")])
    text = HOSTILE + "x" * 100_000
    for _ in range(2):
        await worker.ack(await worker.one(), AckKind.COMPLETE, result=text, log_tail=f"line one\n{HOSTILE}\n")
    mine = plugin_of(plane, "edit")
    shown = (await said(mine, "result", "mine")).stdout
    assert len(shown) > 100_000
    assert not set("\x1b\x9b\u202e") & set(shown)
    raw = await asyncio.to_thread(
        lambda: subprocess.run(
            mine.command("result", "mine", "--raw"), env=mine.environment, capture_output=True, timeout=60
        )
    )
    assert raw.stdout.decode() == text
    for arguments in (["logs", "mine"], ["logs", "mine", "-f"], ["logs", "mine", "--attempt", "1"]):
        lines = (await said(mine, *arguments)).stdout
        assert "line one\n" in lines
        assert not set("\x1b\x9b\u202e") & set(lines)
    missing = (await said(mine, "result", "theirs", status=1)).stderr
    assert missing.startswith(
        'error: agentruns/result team/theirs: agentruns.runs.agentjobs.dev "theirs" not found.'
    )
    assert len(missing.splitlines()) == 1


async def test_a_log_is_followed_until_the_job_has_ended(
    plane: Cluster, api: Served, queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([mirrored_job("mine")])
    mine = plugin_of(plane, "edit")
    process = await asyncio.create_subprocess_exec(
        *mine.command("logs", "mine", "-f", "--source=progress"),
        env=mine.environment,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert b"Queued" in await process.stdout.readline()
        running = await worker.one()
        assert b"Running" in await process.stdout.readline()
        await worker.ack(running, AckKind.COMPLETE, result="42")
        rest, _ = await asyncio.wait_for(process.communicate(), 60)
        assert b"Complete" in rest
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_why_tells_all_runs_and_the_end_of_the_output(
    plane: Cluster, api: Served, queue: Queue, worker: TestWorker, job: tuple[str, UUID]
) -> None:
    name, uid = job
    await queue.enqueue([mirrored_job(name, uid=uid, max_attempts=2)])
    tail = "".join(f"line {n}\n" for n in range(20)) + HOSTILE
    failure = {"reason": Reason.MODEL_TIMEOUT, "message": f"no answer {HOSTILE}"}
    await worker.ack(await worker.one(), AckKind.RETRY, delay_seconds=0, log_tail="old\n", **failure)

    async def claimed() -> bool:
        await queue.tick(worker.id)
        return bool(await worker.claim(1))

    await until(claimed, 30)
    await worker.ack(worker.held[-1], AckKind.FAIL, log_tail=tail, **failure)
    told = (await said(plugin_of(plane, "edit"), "why", name)).stdout
    lines = told.splitlines()
    assert any("run 1, ModelTimeout, charged" in line for line in lines), told
    assert any("run 2, ModelTimeout, charged" in line for line in lines), told
    assert "line 19" in told
    assert "line 2\n" not in told, "the end of it"
    assert "\x1b" not in told
    viewer = (await said(plugin_of(plane, "view"), "describe", name)).stdout
    assert "run 1, ModelTimeout" in viewer
    assert "output: agentruns/log" in viewer, "who may only look is told that he may not read output"
    whole = json.loads((await said(plugin_of(plane, "edit"), "why", name, "-o", "json")).stdout)
    assert [run["number"] for run in whole["runs"]] == [1, 2]


async def test_queues_workers_and_models_are_listed(
    plane: Cluster, api: Served, queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([mirrored_job("mine"), mirrored_job("more")])
    viewer = plugin_of(plane, "view")
    table = [line.split() for line in (await said(viewer, "queues")).stdout.splitlines()]
    assert table[0] == ["NAME", "WAITING", "RUNNING", "SLOTS", "LIMIT", "OLDEST", "PAUSED", "BY", "WHY"]
    assert table[1][:4] == ["agents", "2", "0", "10"]
    rows = (await said(viewer, "workers", "--no-headers")).stdout.split()
    assert rows[1:4] == ["default", "agents=10", "10"]
    listed = json.loads((await said(viewer, "workers", "-o", "json")).stdout)
    assert (listed["apiVersion"], len(listed["items"])) == (f"{GROUP}/{VERSION}", 1)
    (running,) = await worker.claim(1)
    told = (await said(viewer, "top")).stdout
    assert "RUNS FOR" in told
    assert worker.id.hex[:4] in told
    assert "\x1b" not in told
    await worker.ack(running)
    assert "No job is running." in (await said(viewer, "top", "--once")).stdout
    assert (await said(viewer, "models")).stderr == "No models with failures.\n"
    assert "forbidden" in (await said(viewer, "workers", "-A", status=1)).stderr


async def test_a_conversation_is_printed_and_followed_until_the_job_has_ended(
    plane: Cluster, dsn: str, tmp_path: Path, queue: Queue, worker: TestWorker
) -> None:
    names = {"namespace": "team", "appName": "app", "userID": "ann", "sessionID": "s"}
    mine = mirrored_job("mine", payload={"v": 1, **names})
    await queue.enqueue([mine])
    sessions = JobSessions(dsn)
    session = await sessions.create_session(**KEY)

    async def say(text: str) -> None:
        await sessions.append_event(session, words(text, invocation_id=own_session(mine.uid)))

    await say(f"first\nof two lines {HOSTILE}")
    running = await worker.one()
    plugin = plugin_of(plane, "edit")
    async with served(plane, dsn, tmp_path, session_dsn=dsn):
        told = (await said(plugin, "transcript", "mine")).stdout
        assert "    of two lines" in told
        assert not set("\x1b\x9b\u202e") & set(told)
        page = json.loads((await said(plugin, "transcript", "mine", "-o", "json")).stdout)
        assert [item["kind"] for item in page["items"]] == ["text"]
        process = await asyncio.create_subprocess_exec(
            *plugin.command("transcript", "mine", "-f"),
            env=plugin.environment,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            while b"of two lines" not in (line := await process.stdout.readline()):
                assert line, "it has ended"
            await say("second")
            while b"second" not in (line := await process.stdout.readline()):
                assert line, "it has ended"
            await say("last")
            await worker.ack(running, AckKind.COMPLETE, result="42")
            rest, _ = await asyncio.wait_for(process.communicate(), 60)
            assert rest.count(b"last") == 1
            assert b"first" not in rest
            assert process.returncode == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await sessions.release()
        viewer = plugin_of(plane, "view")
        for arguments in (["transcript", "mine"], ["transcript", "mine", "-f"]):
            assert "forbidden" in (await said(viewer, *arguments, status=1)).stderr


async def test_a_queue_is_paused_by_who_may_and_shown_with_who_and_why(
    plane: Cluster, api: Served, queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([mirrored_job("mine")])
    keeper, viewer = plugin_of(plane, "queues"), plugin_of(plane, "view")
    assert "forbidden" in (await said(viewer, "pause", "agents", status=1)).stderr
    assert (await said(keeper, "pause", "agents", "--because=a test")).stdout == "queue agents paused\n"
    row = (await said(viewer, "queues", "--no-headers")).stdout.split()
    assert row[-3:] == ["queues", "a", "test"]
    assert (await said(keeper, "pause", "agents")).stdout == "queue agents is paused already\n"
    assert (await said(keeper, "unpause", "agents")).stdout == "queue agents unpaused\n"
    rows = [row for row in await queue.audit(queue="agents") if row.verb in ("pause", "unpause")]
    assert {(row.actor, row.verb) for row in rows} == {("queues", "pause"), ("queues", "unpause")}


VERBS: dict[str, tuple[str, ...]] = {
    "result": ("x",), "logs": ("x",), "transcript": ("x",), "workers": (), "models": (), "queues": (), "top": (), "pause": ("agents",), "unpause": ("agents",),
    "web": ("--no-open",),
}  # fmt: skip


@pytest.mark.parametrize("user", ["", "stranger"])
def test_where_the_runs_api_is_missing_each_verb_says_so_in_one_line(plane: Cluster, user: str) -> None:
    who = plugin_of(plane, user) if user else Plugin(plane, "team", None)
    for verb, arguments in VERBS.items():
        told = who(verb, *arguments, status=1).stderr
        assert "needs the runs API, which is not registered in this cluster" in told, verb
        assert "web.enabled" in told
        assert len(told.splitlines()) == 1


def test_where_the_runs_api_does_not_answer_each_verb_says_so_and_the_others_go_on(
    plane: Cluster, job: tuple[str, UUID]
) -> None:
    name = f"{VERSION}.{GROUP}"
    spec: dict[str, Any] = {
        "group": GROUP, "version": VERSION, "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": True,
        "service": {"name": "nobody", "namespace": "default", "port": 443},
    }  # fmt: skip
    plane.apply(
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": name},
            "spec": spec,
        }
    )
    try:
        admin = Plugin(plane, "team", None)
        plane.kubectl("wait", f"apiservice/{name}", "--for=condition=Available=False", "--timeout=60s")
        for verb, arguments in VERBS.items():
            told = admin(verb, *arguments, status=1).stderr
            assert "needs the runs API, which does not answer" in told, verb
            assert f"kubectl describe apiservice {name}" in told
        told = admin("why", job[0]).stdout
        assert "attempt 2, ModelTimeout" in told
        assert "earlier runs and output: agentruns: needs the runs API, which does not answer" in told
    finally:
        plane.kubectl("delete", "apiservice", name)


async def test_the_doctor_tells_that_the_database_is_away(plane: Cluster, dsn: str, tmp_path: Path) -> None:
    async with tcp_proxy(dsn) as database, served(plane, database.url, tmp_path):
        admin = Plugin(plane, "team", None)

        async def check(plugin: Plugin = admin) -> tuple[str, str]:
            told = json.loads((await said(plugin, "doctor", "-o", "json", status=None)).stdout)
            return next((one["verdict"], one["text"]) for one in told["checks"] if one["name"] == "database")

        assert await check() == ("ok", "answers the runs API")
        assert (await check(plugin_of(plane, "nobody")))[0] == "unknown"
        database.refuse("57P03", "the database system is shutting down")
        database.cut()
        verdict, text = await check()
        assert verdict == "bad"
        assert "database" in text
        assert "all goes on by itself" in text
