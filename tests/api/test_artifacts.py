"""The files that agents have saved, behind a real API server: who may read them, and the plugin's ``artifacts`` and ``cp``."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.genai import types

from agentjobs.agents.sessions.artifacts import ArtifactLimits, PostgresArtifacts
from agentjobs.agents.sessions.service import JobSessions
from agentjobs.queue.queue import Queue
from agentjobs.values.saved_file import SavedFile
from clusters import Cluster
from plugins import Plugin
from queue_builders import TestWorker, mirrored_job
from runs_apis import Served
from session_stores import KEY

pytestmark = pytest.mark.timeout(300)

NAMES = {"namespace": "team", "appName": "app", "userID": "ann", "sessionID": "s"}
LARGE = os.urandom(3 * 2**20 + 5)
HOSTILE = "<script>\x1b[31m/../../.bashrc"


@pytest.fixture
async def files(dsn: str) -> AsyncIterator[PostgresArtifacts]:
    """The artifact service of the session's runs."""
    store = JobSessions(dsn)
    await store.create_session(**KEY)
    yield PostgresArtifacts(store, ArtifactLimits())
    await store.release()


@pytest.fixture
def web_config(dsn: str) -> dict[str, str]:
    return {"session_dsn": dsn}


def blob(data: bytes, kind: str = "image/png") -> types.Part:
    return types.Part(inline_data=types.Blob(mime_type=kind, data=data))


async def test_files_are_listed_and_read_by_whom_may_read_the_conversation(
    api: Served, queue: Queue, files: PostgresArtifacts
) -> None:
    await queue.enqueue([mirrored_job("mine", payload={"v": 1, **NAMES})])
    path = "namespaces/team/agentruns/mine/artifacts"
    assert (await api.ask("edit", path)).json["items"] == []
    for name, part in (("a", types.Part(text="old")), ("a", types.Part(text="new")), ("user:b", blob(b"x"))):
        await files.save_artifact(**KEY, filename=name, artifact=part)
    address = types.FileData(file_uri="gs://bucket/film", mime_type="video/mp4")
    await files.save_artifact(**KEY, filename="film", artifact=types.Part(file_data=address))
    listed = (await api.ask("edit", path)).json
    told = [(one["name"], one["version"], one["type"], one["bytes"]) for one in listed["items"]]
    assert told == [("a", 1, "text/plain", 3), ("film", 0, "video/mp4", 0), ("user:b", 0, "image/png", 1)]
    assert listed["items"][1]["address"] == "gs://bucket/film"
    first = (await api.ask("edit", f"{path}?limit=1")).json
    rest = (await api.ask("edit", f"{path}?continue={first['metadata']['continue']}")).json
    assert [one["name"] for one in [*first["items"], *rest["items"]]] == ["a", "film", "user:b"]
    newest = await api.ask("edit", f"{path}?file=a", accept="*/*")
    assert newest.text == "new"
    headers = {name.lower(): value for name, value in newest.headers.items()}
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment")
    assert headers["x-content-type-options"] == "nosniff"
    assert (await api.ask("edit", f"{path}?file=a&version=0", accept="*/*")).text == "old"
    for query, code in (
        ("file=never", 404),
        ("file=a&version=9", 404),
        ("file=film", 404),
        ("file=a%00", 404),
    ):
        assert (await api.ask("edit", f"{path}?{query}")).code == code, query
    assert (await api.ask("edit", f"{path}?continue=a%00")).code == 410
    assert "gs://bucket/film" in (await api.ask("edit", f"{path}?file=film")).json["message"]
    for refused in ("view", "nobody"):
        for query in ("", "?file=a"):
            assert (await api.ask(refused, f"{path}{query}")).code == 403


async def test_the_plugin_lists_and_copies_files(
    plane: Cluster,
    api: Served,
    queue: Queue,
    files: PostgresArtifacts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", f"{plane.kubectl_path.parent}{os.pathsep}{os.environ['PATH']}")
    plugin = Plugin(
        Cluster(plane.require_own().kubeconfig_for("edit"), plane.kubectl_path, "user"), "team", None
    )

    async def said(*arguments: str, status: int = 0) -> tuple[str, str]:
        done = await asyncio.to_thread(lambda: plugin(*arguments, status=status))
        return done.stdout, done.stderr

    await queue.enqueue([mirrored_job("mine", payload={"v": 1, **NAMES})])
    assert "saved no files" in (await said("artifacts", "mine"))[1]
    for name, data in (("big.png", b"small"), ("big.png", LARGE), (HOSTILE, b"x"), ("user:b.txt", b"shared")):
        await files.save_artifact(**KEY, filename=name, artifact=blob(data))
    table, _ = await said("artifacts", "mine")
    assert table.splitlines()[0].split() == ["NAME", "VERSION", "TYPE", "BYTES", "AGE"]
    assert ["big.png", "1", "image/png", str(len(LARGE))] in [line.split()[:4] for line in table.splitlines()]
    assert "\x1b" not in table
    listed = json.loads((await said("artifacts", "mine", "-o", "json"))[0])
    assert {one["name"] for one in listed["items"]} == {"big.png", HOSTILE, "user:b.txt"}
    folder = tmp_path / "made"
    assert (await said("cp", "mine:big.png", str(folder)))[0] == f"{folder / 'big.png'}\n"
    assert (folder / "big.png").read_bytes() == LARGE
    await said("cp", "mine:big.png", str(folder), "--version", "0")
    assert (folder / "big.png").read_bytes() == b"small"
    await said("cp", "mine", str(folder))
    found = {place.name: place.read_bytes() for place in folder.iterdir()}
    assert found == {"big.png": LARGE, "user_b.txt": b"shared", "_script___31m_.._.._.bashrc": b"x"}
    await files.save_artifact(**KEY, filename="user_B.txt", artifact=blob(b"another"))
    await said("cp", "mine", str(other := tmp_path / "other"))
    assert {place.read_bytes() for place in other.iterdir()} == {LARGE, b"x", b"shared", b"another"}
    assert "no artifact 'never'" in (await said("cp", "mine:never", str(folder), status=1))[1]


async def test_a_file_at_a_uri_is_listed_with_its_place_and_a_copy_says_where_it_is(
    plane: Cluster,
    api: Served,
    queue: Queue,
    files: PostgresArtifacts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = await TestWorker(queue).register()
    await queue.enqueue([mirrored_job("elsewhere", payload={"v": 1, **NAMES})])
    (claimed,) = await worker.claim(1)
    away = SavedFile("logo.png", 3, "image/png", 70, "gs://agents-files")
    assert await worker.ack(claimed, files=(away, SavedFile("told", 0))) == "ok"
    path = "namespaces/team/agentruns/elsewhere/artifacts"
    (listed,) = (await api.ask("edit", path)).json["items"]
    assert listed == {
        "name": "logo.png", "version": 3, "type": "image/png", "bytes": 70, "address": "gs://agents-files"
    }  # fmt: skip
    refused = await api.ask("edit", f"{path}?file=logo.png")
    assert (refused.code, "artifact service at gs://agents-files" in refused.json["message"]) == (404, True)

    monkeypatch.setenv("PATH", f"{plane.kubectl_path.parent}{os.pathsep}{os.environ['PATH']}")
    cluster = Cluster(plane.require_own().kubeconfig_for("edit"), plane.kubectl_path, "user")
    plugin = Plugin(cluster, "team", None)
    table = (await asyncio.to_thread(plugin, "artifacts", "elsewhere")).stdout.splitlines()
    assert [line.split() for line in table] == [
        ["NAME", "VERSION", "TYPE", "BYTES", "AGE", "AT"],
        ["logo.png", "3", "image/png", "70", "-", "gs://agents-files"],
    ]
    copied = await asyncio.to_thread(plugin, "cp", "elsewhere", str(tmp_path / "out"))
    assert copied.stderr == "logo.png: not copied: its content is kept at gs://agents-files.\n"
    assert copied.stdout == ""
