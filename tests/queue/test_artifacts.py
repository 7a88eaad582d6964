"""Artifacts in Postgres: ADK's promises, the pool's limits, the fence, and what a retry finds of them."""

from __future__ import annotations

import asyncio
import json
import sys
import textwrap
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from agent_modules import Write, write_module
from gemini import FakeGemini, call, file, gemini, text
from google.adk.artifacts import BaseArtifactService, InMemoryArtifactService
from google.adk.artifacts.artifact_util import _new_rewind_tombstone
from google.adk.errors.input_validation_error import InputValidationError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.genai import types
from runs import ECHO, GEMINI, Job, module, until

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.sessions.artifacts import MIB, ArtifactLimits, PostgresArtifacts
from agentjobs.agents.sessions.erase import erase_sessions
from agentjobs.agents.sessions.fence import Fence, holding
from agentjobs.agents.sessions.service import JobSessions, artifacts_of, forget_services
from agentjobs.agents.verdict.errors import ArtifactRefused, SessionFenced
from agentjobs.agents.verdict.outcome import Verdict

pytestmark = pytest.mark.usefixtures("own_process")

__all__ = ["gemini", "write_module"]

USER: dict[str, Any] = {"app_name": "team-a/app", "user_id": "ann"}
KEY: dict[str, Any] = {**USER, "session_id": "s"}
PNG = types.Part(inline_data=types.Blob(mime_type="image/png", data=bytes(range(256)), display_name="a logo"))


@pytest.fixture
async def sessions(sessions: JobSessions) -> JobSessions:
    """The session store, with a session of the key, and another one of the same user."""
    for session_id in ("s", "other"):
        await sessions.create_session(**USER, session_id=session_id)
    return sessions


@pytest.fixture
async def artifacts(sessions: JobSessions) -> PostgresArtifacts:
    return PostgresArtifacts(sessions, ArtifactLimits())


def said(words: str) -> types.Part:
    return types.Part(text=words)


def of_size(size: int) -> types.Part:
    return types.Part(inline_data=types.Blob(mime_type="application/octet-stream", data=b"x" * size))


def run(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        done = connection.execute(statement)
        return done.fetchall() if done.description else []


# what ADK promises ----------------------------------------------------------------------------------------

REF = "artifact://apps/team-a/app/users/ann/sessions/s/artifacts/a.txt/versions/0"
PARTS: dict[str, Any] = {
    "text": said("Ärger, 日本, 🙂"),
    "empty text": said(""),
    "text that Postgres refuses": said("a\x00b\ud83d"),
    "bytes": PNG,
    "no bytes": types.Part(inline_data=types.Blob(mime_type="image/png", data=b"")),
    "an address": types.Part(file_data=types.FileData(file_uri="gs://b/f", mime_type="video/mp4")),
    "a dictionary": {"inlineData": {"mimeType": "text/csv", "data": "YSxi"}},
    "beside other fields": types.Part(text="x", thought=True, thought_signature=b"\x00\xff"),
    "a tombstone": _new_rewind_tombstone(),
    "a reference": types.Part(file_data=types.FileData(file_uri=REF)),
    "nothing": types.Part(),
    "a call": types.Part(function_call=types.FunctionCall(name="f")),
    "a reference to nowhere": types.Part(file_data=types.FileData(file_uri="artifact://nowhere")),
    "another user's": types.Part(file_data=types.FileData(file_uri=REF.replace("ann", "bob"))),
    "a circle": types.Part(file_data=types.FileData(file_uri=REF.replace("a.txt", "circle"))),
}


async def told(work: Any) -> Any:
    """What a call gives, or the class of the error that it raises."""
    try:
        found = await work
    except Exception as error:
        return type(error).__name__
    if isinstance(found, list):
        return [_plain(one) for one in found]
    return _plain(found)


def _plain(value: Any) -> Any:
    if not hasattr(value, "canonical_uri"):
        return value
    told = value.model_dump(exclude={"create_time"})
    return {**told, "canonical_uri": value.canonical_uri.partition("://")[2]}


async def everything(service: BaseArtifactService, **key: Any) -> list[Any]:
    return [
        await told(service.load_artifact(**key)),
        await told(service.load_artifact(**key, version=0)),
        await told(service.load_artifact(**key, version=-1)),
        await told(service.load_artifact(**key, version=2**40)),
        await told(service.list_versions(**key)),
        await told(service.list_artifact_versions(**key)),
        await told(service.get_artifact_version(**key)),
        await told(service.get_artifact_version(**key, version=1)),
        await told(service.get_artifact_version(**key, version=7)),
    ]


async def script(service: BaseArtifactService) -> list[Any]:
    """Each operation on files of each kind, and what came of it."""
    found: list[Any] = []
    for name in ("a.txt", "user:b.txt", "folder/c", "circle", "ünï"):
        key = {**KEY, "filename": name}
        found.append(await everything(service, **key))
        for part in (said("first"), *PARTS.values()):
            metadata = {"n": 1, "deep": {"x": [None, "y"]}} if part is PNG else None
            found.append(await told(service.save_artifact(**key, artifact=part, custom_metadata=metadata)))
            found.append(await everything(service, **key))
        for session_id in ("other", None):
            found.append(await everything(service, **{**key, "session_id": session_id}))
            saved = service.save_artifact(**{**key, "session_id": session_id}, artifact=said("elsewhere"))
            found.append(await told(saved))
    for session_id in ("s", "other", "none", None):
        found.append(await told(service.list_artifact_keys(**USER, session_id=session_id)))
    for name in ("a.txt", "a.txt", "user:b.txt", "never"):
        found.append(await told(service.delete_artifact(**KEY, filename=name)))
        found.append(await everything(service, **KEY, filename=name))
        found.append(await told(service.save_artifact(**KEY, filename=name, artifact=said("again"))))
    found.append(await told(service.delete_artifact(**USER, filename="a.txt")))
    found.append(await told(service.list_artifact_keys(**KEY)))
    return found


async def test_the_service_does_what_adks_own_does(artifacts: PostgresArtifacts) -> None:
    theirs = await script(InMemoryArtifactService())
    ours = await script(artifacts)
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert one == other, f"step {number}"


async def test_tools_on_other_event_loops_save_at_once_and_each_gets_a_version(
    artifacts: PostgresArtifacts,
) -> None:
    def in_a_thread() -> int:
        return asyncio.run(artifacts.save_artifact(**KEY, filename="f", artifact=said("x")))

    here = (artifacts.save_artifact(**KEY, filename="f", artifact=said("x")) for _ in range(3))
    versions = await asyncio.gather(*(asyncio.to_thread(in_a_thread) for _ in range(5)), *here)
    assert sorted(versions) == list(range(8))


async def test_two_processes_that_save_one_users_file_get_different_versions(
    dsn: str, sessions: JobSessions
) -> None:
    second = JobSessions(dsn)
    services = [PostgresArtifacts(store, ArtifactLimits()) for store in (sessions, second)]
    key = {**KEY, "filename": "user:f"}
    saves = [one.save_artifact(**key, artifact=said("x")) for one in services for _ in range(5)]
    assert sorted(await asyncio.gather(*saves)) == list(range(10))
    await second.release()


# limits ---------------------------------------------------------------------------------------------------


async def test_a_file_over_the_limit_is_refused_by_name_size_limit_and_setting(sessions: JobSessions) -> None:
    service = PostgresArtifacts(sessions, ArtifactLimits(file_mib=1, pool="big"))
    await service.save_artifact(**KEY, filename="fits", artifact=of_size(MIB))
    with pytest.raises(ArtifactRefused) as refused:
        await service.save_artifact(**KEY, filename="map.png", artifact=of_size(MIB + 1))
    for word in ("'map.png'", "1048577 bytes", "1048576", "pools.big.artifactLimitMib", "ARTIFACT_LIMIT_MIB"):
        assert word in str(refused.value)
    assert await service.list_artifact_keys(**KEY) == ["fits"]


async def test_the_versions_of_a_sessions_files_share_a_limit_and_the_users_have_their_own(
    sessions: JobSessions,
) -> None:
    service = PostgresArtifacts(sessions, ArtifactLimits(file_mib=1, session_mib=2))
    for name in ("a", "a", "user:a", "user:a"):
        await service.save_artifact(**KEY, filename=name, artifact=of_size(MIB))
    for name, whose in (("a", "session 's'"), ("b", "session 's'"), ("user:b", "user 'ann'")):
        with pytest.raises(ArtifactRefused) as refused:
            await service.save_artifact(**KEY, filename=name, artifact=of_size(1))
        assert f"the files of {whose} have 2097152 of the 2097152" in str(refused.value)
        assert "sessionArtifactsLimitMib" in str(refused.value)
    await service.save_artifact(**{**KEY, "session_id": "other"}, filename="a", artifact=of_size(1))
    await service.delete_artifact(**KEY, filename="a")
    assert await service.save_artifact(**KEY, filename="a", artifact=of_size(1)) == 0


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 1025, "\ud83d"])
async def test_a_name_that_cannot_be_kept_is_refused(artifacts: PostgresArtifacts, name: str) -> None:
    with pytest.raises(InputValidationError, match="Artifact"):
        await artifacts.save_artifact(**KEY, filename=name, artifact=said("x"))


async def test_metadata_are_bounded(artifacts: PostgresArtifacts) -> None:
    with pytest.raises(InputValidationError, match="65536"):
        await artifacts.save_artifact(
            **KEY, filename="f", artifact=said("x"), custom_metadata={"x": "y" * 65_536}
        )


# whose they are, and how long --------------------------------------------------------------------------------


async def test_h13_a_run_that_lost_its_session_overwrites_and_deletes_nothing(
    sessions: JobSessions, artifacts: PostgresArtifacts
) -> None:
    late = Fence(**KEY, job="job", run=1, claim=1)
    await sessions.open(late)
    token = holding.set(late)
    try:
        await artifacts.save_artifact(**KEY, filename="f", artifact=said("early"))
        await sessions.open(Fence(**KEY, job="job", run=2, claim=2))
        for name in ("f", "user:f"):
            with pytest.raises(SessionFenced):
                await artifacts.save_artifact(**KEY, filename=name, artifact=said("late"))
        with pytest.raises(SessionFenced):
            await artifacts.delete_artifact(**KEY, filename="f")
    finally:
        holding.reset(token)
    assert await artifacts.list_artifact_keys(**KEY) == ["f"]
    assert await artifacts.load_artifact(**KEY, filename="f") == said("early")


async def test_a_file_goes_with_its_session_and_a_users_stays(
    sessions: JobSessions, artifacts: PostgresArtifacts
) -> None:
    for name in ("f", "user:f"):
        await artifacts.save_artifact(**KEY, filename=name, artifact=said("x"))
    await sessions.delete_session(**KEY)
    assert await artifacts.list_artifact_keys(**KEY) == ["user:f"]
    with pytest.raises(SessionNotFoundError):
        await artifacts.save_artifact(**KEY, filename="f", artifact=said("x"))


async def test_a_session_is_deleted_without_reading_its_users_other_files(
    dsn: str, sessions: JobSessions, artifacts: PostgresArtifacts
) -> None:
    for number in range(300):
        await artifacts.save_artifact(
            **{**KEY, "session_id": "other"}, filename=f"{number}", artifact=said("x")
        )
    run(dsn, "vacuum analyze adk.artifact")
    plan = run(
        dsn,
        "explain delete from adk.artifact where app_name = 'team-a/app' and user_id = 'ann' and session_id = 's'",
    )
    assert "idx_artifact_session" in str(plan), plan


async def test_erasing_a_person_erases_the_files_of_all_sessions_and_nobody_elses(
    dsn: str, sessions: JobSessions, artifacts: PostgresArtifacts
) -> None:
    bob = {**KEY, "user_id": "bob"}
    await sessions.create_session(**bob)
    for key in (KEY, {**KEY, "session_id": "other"}, bob):
        for name in ("f", "user:f"):
            await artifacts.save_artifact(**key, filename=name, artifact=said("x"))
    await erase_sessions(dsn, "team-a", "ann")
    assert run(dsn, "select distinct user_id from adk.artifact") == [("bob",)]
    assert await artifacts.list_artifact_keys(**bob) == ["f", "user:f"]


async def test_a_store_of_an_earlier_release_gets_the_table(dsn: str, sessions: JobSessions) -> None:
    run(dsn, "drop table adk.artifact")
    later = JobSessions(dsn)
    service = artifacts_of(later, AgentSettings())
    assert await service.save_artifact(**KEY, filename="f", artifact=said("x")) == 0
    run(dsn, "drop table adk.artifact")
    assert await service.load_artifact(**KEY, filename="f") is None, "made again in a running process"
    await later.release()


async def test_tables_of_another_adk_version_have_artifacts_too(dsn: str, sessions: JobSessions) -> None:
    run(dsn, "drop table adk.artifact")
    run(dsn, "update adk.adk_internal_metadata set value = '99' where key = 'schema_version'")
    later = JobSessions(dsn)
    service = artifacts_of(later, AgentSettings())
    await service.save_artifact(**KEY, filename="f", artifact=PNG)
    assert await service.load_artifact(**KEY, filename="f") == PNG
    await later.release()


# in runs ------------------------------------------------------------------------------------------------------

REPORT = """
    import asyncio
    from google.adk.agents import LlmAgent
    from google.adk.tools import FunctionTool
    from google.genai import types
    CALLS = []
    async def write(tool_context) -> str:
        "Writes the report."
        CALLS.append("write")
        version = await tool_context.save_artifact("report.txt", types.Part(text="All is well."))
        return f"version {version}"
    async def fetch() -> str:
        "Fetches what the report lacks."
        CALLS.append("fetch")
        if CALLS.count("fetch") == 1:
            raise RuntimeError("the network is down")
        return "fetched"
    async def read(tool_context) -> str:
        "Reads the report."
        names = await tool_context.list_artifacts()
        part = await tool_context.load_artifact("report.txt")
        return f"{names}: {part.text if part else 'nothing'}"
    def pay() -> str:
        "Pays."
        return "paid"
    root_agent = LlmAgent(name="agent", model="gemini-2.5-flash", tools=[write, fetch, read])
"""


def reporter(write_module: Write, dsn: str | None, source: str = REPORT, **fields: Any) -> Job:
    write_module("report_agent", textwrap.dedent(source))
    return Job(module("report_agent"), "Report.", modules=("report_agent",), dsn=dsn, **fields)


@pytest.mark.parametrize("kept", ["in Postgres", "in memory"])
async def test_a_retry_finds_what_a_finished_tool_saved(
    dsn: str, gemini: FakeGemini, write_module: Write, kept: str
) -> None:
    gemini.script(call("write"), call("fetch"), call("fetch"), call("read"), text("Done."))
    job = reporter(write_module, dsn if kept == "in Postgres" else None)
    assert (await job.attempt()).reason == "ToolFailed"
    if kept == "in Postgres":
        forget_services()  # as in another process
    assert (await job.attempt()).verdict is Verdict.COMPLETE
    assert await read_by(job) == [{"result": "['report.txt']: All is well."}]


async def read_by(job: Job) -> list[Any]:
    """What the tool ``read`` of a job has found."""
    return [
        part.function_response.response
        for event in await job.stored()
        for part in (event.content.parts if event.content else ())
        if part.function_response and part.function_response.name == "read"
    ]


async def test_a_run_after_a_drain_finds_what_a_finished_tool_saved(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("write"), call("fetch"), call("fetch"), call("read"), text("Done."))
    job = reporter(write_module, dsn, REPORT.replace("raise RuntimeError(", "await asyncio.sleep(3600), ("))
    drained = asyncio.create_task(job.attempt())
    await until(lambda: "fetch" in getattr(sys.modules.get("report_agent"), "CALLS", ()))
    drained.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drained
    forget_services()
    assert (await job.attempt()).verdict is Verdict.COMPLETE
    assert await read_by(job) == [{"result": "['report.txt']: All is well."}]


async def test_a_run_after_an_approval_and_a_later_job_of_the_session_find_it(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("write"), call("pay"), call("read"), text("Done."), call("read"), text("Done."))
    asking = REPORT.replace("tools=[", "tools=[FunctionTool(pay, require_confirmation=True), ")
    job = reporter(write_module, dsn, asking, session_id="shared")
    asked = await job.attempt()
    assert asked.verdict is Verdict.ASK
    job.fields["answers"] = {request.id: {"approved": True} for request in asked.requests}
    forget_services()
    assert (await job.attempt()).verdict is Verdict.COMPLETE
    later = reporter(write_module, dsn, asking, session_id="shared")
    forget_services()
    assert (await later.attempt()).verdict is Verdict.COMPLETE
    assert await read_by(later) == [{"result": "['report.txt']: All is well."}] * 2


async def test_a_tool_that_saves_too_much_ends_the_job_with_the_limit_in_its_message(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("write"))
    source = REPORT.replace('"All is well."', '"x" * (10 * 2**20 + 1)')
    outcome = await reporter(write_module, dsn, source).attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.FAIL, "ArtifactRefused")
    assert "pools.default.artifactLimitMib" in outcome.message
    assert len(outcome.message) < 1000


async def test_a_run_that_saves_nothing_sends_no_statement_about_artifacts_credentials_or_memories(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentjobs.database.connection import Connection

    sent: list[str] = []
    execute = Connection.execute

    async def counted(self: Connection, query: Any, *args: Any, **options: Any) -> Any:
        sent.append(str(query))
        return await execute(self, query, *args, **options)

    monkeypatch.setattr(Connection, "execute", counted)
    assert (await Job(ECHO, dsn=dsn).attempt()).verdict is Verdict.COMPLETE
    sent.clear()
    assert (await Job(ECHO, dsn=dsn).attempt()).verdict is Verdict.COMPLETE
    assert sent, "the statements are counted"
    assert not [one for one in sent if "artifact" in one or "credential" in one or "adk.memory" in one]


# an answer that is a file -----------------------------------------------------------------------------------

DRAWING = bytes(range(70))


@pytest.mark.parametrize(("said", "before"), [("", ""), ("A logo:", "A logo:\n")])
async def test_an_image_is_an_answer_that_is_kept_and_the_result_says_what_it_is(
    dsn: str, gemini: FakeGemini, said: str, before: str
) -> None:
    gemini.script(file("image/png", DRAWING, said))
    job = Job(GEMINI, "Draw.", dsn=dsn)
    outcome = await job.attempt()
    name = f"job-{job.uid}-answer-1.png"
    assert (outcome.verdict, outcome.reason) == (Verdict.COMPLETE, "Completed")
    assert outcome.result == f"{before}image/png, 70 bytes: artifact {name}"
    again = await job.attempt()
    assert (again.result, again.usage.llm_calls) == (outcome.result, 0), "its ack was lost"
    store = JobSessions(dsn)
    service = artifacts_of(store, AgentSettings())
    key: dict[str, Any] = {**job.session_key, "filename": name}
    assert await service.list_versions(**key) == [0]
    blob = (await service.load_artifact(**key)).inline_data  # type: ignore[union-attr]
    assert (blob.mime_type, blob.data) == ("image/png", DRAWING)  # type: ignore[union-attr]
    await store.release()


PANEL = """
from google.adk.agents import LlmAgent, ParallelAgent
def llm(name):
    return LlmAgent(name=name, model="gemini-2.5-flash", instruction="Draw.")
root_agent = ParallelAgent(name="panel", sub_agents=[llm("left"), llm("right")])
"""


async def test_the_files_of_several_answers_are_all_kept_each_under_a_name_of_its_own(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    drawn = {"left": b"left", "right": b"right!"}
    for agent, data in drawn.items():
        gemini.script_for(agent, file("image/png", data))
    job = Job(module(write_module("panel", PANEL)), modules=("panel",), dsn=dsn)
    outcome = await job.attempt()
    names = {agent: f"job-{job.uid}-answer-{agent}-1.png" for agent in drawn}
    assert json.loads(outcome.result or "") == {
        agent: f"image/png, {len(data)} bytes: artifact {names[agent]}" for agent, data in drawn.items()
    }
    assert (await job.attempt()).result == outcome.result, "its ack was lost"
    store = JobSessions(dsn)
    service = artifacts_of(store, AgentSettings())
    for agent, name in names.items():
        part = await service.load_artifact(**job.session_key, filename=name)
        assert part is not None
        assert part.inline_data is not None
        assert part.inline_data.data == drawn[agent]
    await store.release()


async def test_of_several_answers_the_one_that_has_no_room_says_so(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script_for("left", file("image/png", b"x" * (MIB + 1)))
    gemini.script_for("right", text("Nothing to draw."))
    job = Job(module(write_module("panel", PANEL)), modules=("panel",), dsn=dsn)
    job.settings = replace(job.settings, artifact_limit_mib=1)
    answers = json.loads((await job.attempt()).result or "")
    assert answers["right"] == "Nothing to draw."
    assert "Not kept." in answers["left"]
    assert "artifactLimitMib" in answers["left"]


async def test_an_answer_that_has_no_room_is_an_answer_and_says_so(dsn: str, gemini: FakeGemini) -> None:
    gemini.script(file("image/png", b"x" * (MIB + 1)))
    job = Job(GEMINI, "Draw.", dsn=dsn)
    job.settings = replace(job.settings, artifact_limit_mib=1)
    outcome = await job.attempt()
    assert outcome.verdict is Verdict.COMPLETE
    assert outcome.result is not None
    assert "image/png, 1048577 bytes" in outcome.result
    assert "Not kept." in outcome.result
    assert "artifactLimitMib" in outcome.result
