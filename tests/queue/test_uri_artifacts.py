"""Artifacts by URI: ADK's own services, keyed so that nobody reaches another's, within lease and fence, lasting over runs."""

from __future__ import annotations

import asyncio
import socket
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent_modules import Write, write_module
from buckets import Buckets, buckets
from gemini import FakeGemini, call, file, gemini, text
from google.adk.artifacts import BaseArtifactService
from google.adk.artifacts.file_artifact_service import FileArtifactService
from google.genai import types
from runs import GEMINI, Job, module

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.lease_gate import leased
from agentjobs.agents.sessions.fence import Fence, holding
from agentjobs.agents.sessions.service import JobSessions, artifacts_of
from agentjobs.agents.verdict.errors import ArtifactServiceUnavailable, SessionFenced
from agentjobs.agents.verdict.outcome import Verdict
from agentjobs.values.saved_file import SavedFile

pytestmark = pytest.mark.usefixtures("own_process")

__all__ = ["buckets", "gemini", "write_module"]

USER: dict[str, Any] = {"app_name": "team-a/app", "user_id": "ann"}
KEY: dict[str, Any] = {**USER, "session_id": "s"}


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return (tmp_path / "kept here").as_uri()


def service_at(sessions: JobSessions, uri: str) -> BaseArtifactService:
    return artifacts_of(sessions, AgentSettings(artifact_service_uri=uri))


def said(words: str) -> types.Part:
    return types.Part(text=words)


@contextmanager
def held(fence: Fence) -> Iterator[None]:
    token = holding.set(fence)
    try:
        yield
    finally:
        holding.reset(token)


# whose they are -----------------------------------------------------------------------------------------------


async def test_adks_own_service_finds_the_files_under_namespace_app_user_and_session(
    sessions: JobSessions, uri: str, tmp_path: Path
) -> None:
    ours = service_at(sessions, uri)
    for name in ("a.txt", "user:b.txt", "folder/c"):
        assert await ours.save_artifact(**KEY, filename=name, artifact=said("x")) == 0
    theirs = FileArtifactService(tmp_path / "kept here")
    for service in (ours, theirs):
        assert await service.list_artifact_keys(**KEY) == ["a.txt", "folder/c", "user:b.txt"]
        assert await service.load_artifact(**KEY, filename="a.txt") == said("x")
        assert await service.list_versions(**KEY, filename="a.txt") == [0]
        (version,) = await service.list_artifact_versions(**KEY, filename="user:b.txt")
        assert version.canonical_uri.startswith(f"{uri}/apps/team-a/app/users/ann/")
        assert await service.get_artifact_version(**KEY, filename="user:b.txt") == version
    await ours.delete_artifact(**KEY, filename="a.txt")
    assert await theirs.list_artifact_keys(**KEY) == ["folder/c", "user:b.txt"]


OTHERS: list[dict[str, Any]] = [
    {**KEY, "app_name": "team-b/app"},
    {**KEY, "app_name": "team-a/app/ann"},
    {**KEY, "user_id": "bob"},
    {**KEY, "user_id": "ann/s"},
    {**KEY, "user_id": "ann%2Fs"},
    {**KEY, "user_id": "../../../apps/team-a/app/users/ann"},
    {**KEY, "user_id": ".."},
    {**KEY, "session_id": "s/artifacts"},
    {**KEY, "session_id": "user"},
    {**KEY, "session_id": "../s"},
    {**KEY, "session_id": "S"},
    {"app_name": "users/artifacts", "user_id": "sessions", "session_id": "versions"},
    {"app_name": "artifacts/users", "user_id": "sessions", "session_id": "versions"},
    {"app_name": "team-a/日本", "user_id": "ü@example.com", "session_id": "🙂" * 30},
]


@pytest.mark.parametrize("where", ["file", "gs"])
async def test_no_two_sessions_share_a_file_whatever_their_names(
    sessions: JobSessions, uri: str, buckets: Buckets, where: str
) -> None:
    service = service_at(sessions, uri if where == "file" else "gs://b")
    for number, key in enumerate([KEY, *OTHERS]):
        assert await service.list_artifact_keys(**key) == [], key
        assert await service.save_artifact(**key, filename="f", artifact=said(f"{number}")) == 0, key
    for number, key in enumerate([KEY, *OTHERS]):
        assert await service.load_artifact(**key, filename="f") == said(f"{number}")
        assert await service.list_artifact_keys(**key) == ["f"]


async def test_a_bucket_has_what_adks_own_service_puts_there(sessions: JobSessions, buckets: Buckets) -> None:
    service = service_at(sessions, "gs://b")
    png = types.Part(inline_data=types.Blob(mime_type="image/png", data=bytes(range(256))))
    assert [await service.save_artifact(**KEY, filename="logo.png", artifact=png) for _ in range(2)] == [0, 1]
    await service.save_artifact(**KEY, filename="user:a.txt", artifact=said("Ärger"))
    assert sorted(buckets.blobs) == [
        "team-a/app/ann/s/logo.png/0",
        "team-a/app/ann/s/logo.png/1",
        "team-a/app/ann/user/user:a.txt/0",
    ]
    assert await service.load_artifact(**KEY, filename="logo.png", version=0) == png
    assert await service.load_artifact(**KEY, filename="user:a.txt") == said("Ärger")
    assert await service.load_artifact(**KEY, filename="never") is None


async def test_two_runs_that_save_at_once_lose_no_version(
    sessions: JobSessions, uri: str, buckets: Buckets
) -> None:
    for place in (uri, "gs://b"):
        two = [service_at(sessions, place) for _ in range(2)]
        saves = [service.save_artifact(**KEY, filename="f", artifact=said("x")) for service in two * 4]
        assert sorted(await asyncio.gather(*saves)) == list(range(8))


# lease and fence ---------------------------------------------------------------------------------------------


async def test_h13_a_run_that_lost_its_session_saves_and_deletes_nothing_at_a_uri(
    sessions: JobSessions, uri: str
) -> None:
    service = service_at(sessions, uri)
    late = Fence(**KEY, job="job", run=1, claim=1)
    await sessions.open(late)
    with held(late):
        await service.save_artifact(**KEY, filename="f", artifact=said("early"))
        await sessions.open(Fence(**KEY, job="job", run=2, claim=2))
        for name in ("f", "user:f"):
            with pytest.raises(SessionFenced):
                await service.save_artifact(**KEY, filename=name, artifact=said("late"))
        with pytest.raises(SessionFenced):
            await service.delete_artifact(**KEY, filename="f")
        assert await service.list_artifact_keys(**KEY) == ["f"]
        assert await service.load_artifact(**KEY, filename="f") == said("early")


@pytest.mark.parametrize("stored", [True, False], ids=["in Postgres", "in memory"])
async def test_h13_a_save_waits_while_the_lease_is_over(
    sessions: JobSessions, uri: str, tmp_path: Path, stored: bool
) -> None:
    left = 0.0
    settings = AgentSettings(artifact_service_uri=uri)
    with leased(lambda: left):
        from google.adk.sessions import InMemorySessionService

        service = artifacts_of(sessions if stored else InMemorySessionService(), settings)
        saving = asyncio.ensure_future(service.save_artifact(**KEY, filename="f", artifact=said("x")))
        await asyncio.sleep(0.3)
        assert not saving.done()
        assert await service.list_artifact_keys(**KEY) == []
        left = 10.0
        assert await saving == 0


# failures ----------------------------------------------------------------------------------------------------

SAVER = """
    import asyncio
    from google.adk.agents import LlmAgent
    from google.adk.tools import load_artifacts
    from google.genai import types
    CALLS = []
    async def write(tool_context) -> str:
        "Writes the report."
        CALLS.append("write")
        return f"version {await tool_context.save_artifact('report.txt', types.Part(text='All is well.'))}"
    async def fetch() -> str:
        "Fetches what the report lacks."
        CALLS.append("fetch")
        if CALLS.count("fetch") == 1:
            raise RuntimeError("the network is down")
        return "fetched"
    async def read(tool_context) -> str:
        "Reads the report."
        part = await tool_context.load_artifact("report.txt")
        return f"{await tool_context.list_artifacts()}: {part.text if part else 'nothing'}"
    root_agent = LlmAgent(name="agent", model="gemini-2.5-flash", tools=[write, fetch, read])
    loader = LlmAgent(name="agent", model="gemini-2.5-flash", tools=[write, load_artifacts])
"""


def reporter(write_module: Write, dsn: str | None, uri: str, name: str = "uri_report") -> Job:
    write_module("uri_report", textwrap.dedent(SAVER))
    job = Job(module(name), "Report.", modules=("uri_report",), dsn=dsn, user_id="ann")
    job.settings = replace(job.settings, artifact_service_uri=uri)
    return job


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
async def test_a_place_that_fails_charges_nothing_and_says_where(
    dsn: str,
    gemini: FakeGemini,
    write_module: Write,
    buckets: Buckets,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from google.cloud.storage import retry  # type: ignore[import-untyped]

    monkeypatch.setattr(retry.DEFAULT_RETRY, "_timeout", 0.2)  # the client asks again for two minutes
    buckets.status = status
    gemini.script(call("write"))
    job = reporter(write_module, dsn, "gs://b")
    outcome = await job.attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.SNOOZE, "ArtifactServiceUnavailable")
    assert "artifact service gs://b failed" in outcome.message
    assert "pools.default.artifactServiceUri of the chart" in outcome.message
    buckets.status = 0
    gemini.script(text("done"))
    assert (await job.attempt()).verdict is Verdict.COMPLETE


async def test_a_server_that_is_away_charges_nothing(
    dsn: str, gemini: FakeGemini, write_module: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google.cloud.storage import retry

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setattr(retry.DEFAULT_RETRY, "_timeout", 0.2)
    gemini.script(call("write"))
    outcome = await reporter(write_module, dsn, "gs://b").attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.SNOOZE, "ArtifactServiceUnavailable")


async def test_a_failure_that_adk_only_logs_charges_nothing_either(
    dsn: str, gemini: FakeGemini, write_module: Write, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    gemini.script(call("write"), text("never"))
    job = reporter(write_module, dsn, "gs://b", "uri_report:loader")
    buckets.status = 403
    outcome = await job.attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.SNOOZE, "ArtifactServiceUnavailable")


async def test_a_name_that_the_place_refuses_is_the_agents_fault(sessions: JobSessions, uri: str) -> None:
    service = service_at(sessions, uri)
    for name in ("../x", "n" * 300, "a\0b"):
        with pytest.raises(Exception) as caught:
            await service.save_artifact(**KEY, filename=name, artifact=said("x"))
        assert not isinstance(caught.value, ArtifactServiceUnavailable), name


async def test_a_place_that_is_lost_after_the_start_charges_nothing(
    sessions: JobSessions, tmp_path: Path
) -> None:
    (tmp_path / "a file").touch()
    service = service_at(sessions, f"{tmp_path.as_uri()}/a file/below")
    with pytest.raises(ArtifactServiceUnavailable, match="artifactServiceUri"):
        await service.save_artifact(**KEY, filename="f", artifact=said("x"))


# in runs ------------------------------------------------------------------------------------------------------


async def test_a_retry_finds_at_the_uri_what_a_finished_tool_saved(
    dsn: str, gemini: FakeGemini, write_module: Write, uri: str
) -> None:
    gemini.script(call("write"), call("fetch"))
    job = reporter(write_module, dsn, uri)
    assert (await job.attempt()).reason == "ToolFailed"
    gemini.script(call("fetch"), call("read"), text("done"))
    assert (await job.attempt()).result == "done"
    (read,) = [
        response.response
        for event in await job.stored()
        for response in event.get_function_responses()
        if response.name == "read"
    ]
    assert read == {"result": "['report.txt']: All is well."}
    assert sys.modules["uri_report"].CALLS.count("write") == 1


async def test_a_run_tells_the_place_of_what_it_saved_and_no_secret_of_it(
    dsn: str, gemini: FakeGemini, write_module: Write, uri: str
) -> None:
    from agentjobs.agents.run.attempt import run_attempt

    gemini.script(call("write"), text("done"))
    job = reporter(write_module, dsn, f"{uri}?key=geheim-4711")
    told: list[SavedFile] = []
    await run_attempt(job.spec(), job.settings, on_event=lambda _: None, abort=job.abort, on_file=told.append)
    assert told == [SavedFile("report.txt", 0, "text/plain", 12, f"{uri}?key=[hidden]")]
    assert SavedFile.from_json(told[0].as_json()) == told[0]


async def test_an_answers_image_goes_to_the_uri_too(dsn: str, gemini: FakeGemini, buckets: Buckets) -> None:
    gemini.script(file("image/png", b"drawn"))
    job = Job(GEMINI, "Draw.", dsn=dsn)
    job.settings = replace(job.settings, artifact_service_uri="gs://b")
    outcome = await job.attempt()
    name = f"job-{job.uid}-answer-1.png"
    assert outcome.result == f"image/png, 5 bytes: artifact {name}"
    assert list(buckets.blobs) == [f"team-a/agentjobs/system/job-{job.uid}/{name}/0"]


async def test_a_run_without_files_asks_the_place_nothing(
    dsn: str, gemini: FakeGemini, buckets: Buckets
) -> None:
    gemini.script(text("done"))
    job = Job(GEMINI, "Answer.", dsn=dsn)
    job.settings = replace(job.settings, artifact_service_uri="gs://b")
    assert (await job.attempt()).result == "done"
    assert buckets.asked == []
