"""``spec.inputs``: the agent is given a job's files with its first message, and as artifacts, and never again."""

from __future__ import annotations

import base64
import json
import textwrap
from typing import Any

import pytest
from agent_modules import Write, write_module
from gemini import FakeGemini, call, error, gemini, text
from runs import Job, module

from agentjobs.agents.sessions.service import artifacts_of, forget_services, service_for
from agentjobs.agents.verdict.outcome import Verdict
from agentjobs.values.input_file import ARTIFACT, ArtifactPlace, InputFile

__all__ = ["gemini", "write_module"]

AGENT = """
    from google.adk.agents import LlmAgent
    from google.adk.apps import App
    from google.adk.plugins.save_files_as_artifacts_plugin import SaveFilesAsArtifactsPlugin
    from google.adk.tools import FunctionTool, ToolContext
    async def read(name: str, tool_context: ToolContext) -> dict:
        "Reads a file."
        part = await tool_context.load_artifact(name)
        names = await tool_context.list_artifacts()
        return {"files": names, "text": part.inline_data.data.decode(), "type": part.inline_data.mime_type}
    root_agent = LlmAgent(name="agent", model="gemini-2.5-flash", tools=[read])
    asks = LlmAgent(name="agent", model="gemini-2.5-flash", tools=[FunctionTool(func=read, require_confirmation=True)])
    app = App(name="saves", root_agent=LlmAgent(name="agent", model="gemini-2.5-flash", tools=[read]),
              plugins=[SaveFilesAsArtifactsPlugin()])
"""
CSV = InputFile("data.csv", "text/csv", b"city,people\nParis,2\n")
PNG = InputFile("a.png", "image/png", bytes(range(256)))
BIG = InputFile("big.txt", "text/plain", b"of tools alone", ARTIFACT)


@pytest.fixture(autouse=True)
def _a_process_of_its_own() -> None:
    forget_services()


def job(
    write_module: Write,
    dsn: str | None,
    *files: InputFile,
    attr: str = "root_agent",
    message: str = "Go.",
    **fields: Any,
) -> Job:
    write_module("reader", textwrap.dedent(AGENT))
    given = [file.as_json() for file in files]
    return Job(module(f"reader:{attr}"), message, modules=("reader",), dsn=dsn, inputs=given, **fields)


def said(gemini: FakeGemini, request: int = -1) -> list[list[str]]:
    """What a user has said to the model: each message's texts, and the types and contents of its files."""
    return [
        [
            part.get("text") or f"{part['inlineData']['mime_type']} {part['inlineData']['data']}"
            for part in content["parts"]
            if "functionResponse" not in part
        ]
        for content in gemini.requests[request].contents
        if content["role"] == "user" and not any("functionResponse" in part for part in content["parts"])
    ]


def results(gemini: FakeGemini) -> list[str]:
    """What tools have answered, as JSON."""
    return [
        json.dumps(part["functionResponse"]["response"])
        for content in gemini.requests[-1].contents
        for part in content["parts"]
        if "functionResponse" in part
    ]


def shown(file: InputFile) -> str:
    """The file as ADK sends it to Gemini: what is text as a text."""
    if file.mime_type.startswith("text/"):
        return file.data.decode()
    return f"{file.mime_type} {base64.urlsafe_b64encode(file.data).decode()}"


async def versions(job: Job) -> dict[str, int]:
    """The files of the job's session, and how many versions each has."""
    service = service_for(job.settings.session_dsn)
    artifacts, key = artifacts_of(service, job.settings), job.session_key
    names = await artifacts.list_artifact_keys(**key)
    found = {name: len(await artifacts.list_versions(**key, filename=name)) for name in names}
    if job.settings.session_dsn:
        await service.release()  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("stored", [True, False], ids=["in Postgres", "in memory"])
async def test_the_model_sees_the_files_after_the_message_and_tools_find_them(
    dsn: str, gemini: FakeGemini, write_module: Write, stored: bool
) -> None:
    gemini.script(call("read", {"name": "data.csv"}), call("read", {"name": "big.txt"}), text("Done."))
    table = job(write_module, dsn if stored else None, CSV, PNG, BIG)
    assert (await table.attempt()).verdict is Verdict.COMPLETE
    assert said(gemini, 0) == [["Go.", shown(CSV), shown(PNG)]]
    first, second = results(gemini)
    assert "city,people" in first
    assert "text/csv" in first
    assert '"a.png", "big.txt", "data.csv"' in first
    assert "of tools alone" in second
    assert await versions(table) == {"a.png": 1, "big.txt": 1, "data.csv": 1}
    (message, *_) = await table.stored()
    assert [part.inline_data.display_name for part in message.content.parts[1:]] == ["data.csv", "a.png"]


async def test_a_retry_and_a_second_round_give_nothing_twice(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("read", {"name": "data.csv"}), error(500), error(400), text("Done."))
    table = job(write_module, dsn, CSV)
    for round in (1, 1, 2):
        forget_services()
        table.round = round
        outcome = await table.attempt()
    assert outcome.result == "Done."
    assert said(gemini) == [["Go.", shown(CSV)]]
    assert await versions(table) == {"data.csv": 1}


async def test_a_run_that_dies_before_its_message_is_stored_saves_nothing_twice(
    dsn: str, gemini: FakeGemini, write_module: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentjobs.agents.run import attempt

    async def dies(*_: object) -> None:
        raise RuntimeError("the process has died")

    table = job(write_module, dsn, CSV, BIG)
    with monkeypatch.context() as patch:
        patch.setattr(attempt._Attempt, "_play", dies)
        await table.attempt()
    assert await versions(table) == {"big.txt": 1, "data.csv": 1}
    gemini.script(text("Done."))
    assert (await table.attempt()).result == "Done."
    assert said(gemini) == [["Go.", shown(CSV)]]
    assert await versions(table) == {"big.txt": 1, "data.csv": 1}


async def test_in_a_shared_session_each_job_gives_its_own_and_a_round_after_another_job_nothing(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    newer = InputFile("data.csv", "text/csv", b"city,people\nOslo,1\n")
    gemini.script(error(400), text("Two."), text("Three."))
    first = job(write_module, dsn, CSV, session_id="shared", message="One.")
    await first.attempt()
    await job(write_module, dsn, newer, session_id="shared", message="Two.").attempt()
    assert said(gemini)[-1] == ["Two.", shown(newer)]
    assert await versions(first) == {"data.csv": 2}
    first.round = 2
    await first.attempt()
    assert said(gemini)[-1] == ["One."]
    assert await versions(first) == {"data.csv": 2}


def of(earlier: Job, file: InputFile, **fields: Any) -> InputFile:
    """A file of an earlier job, as another job is given it."""
    key = earlier.session_key
    place = ArtifactPlace(key["app_name"], key["user_id"], key["session_id"], file.name, 0)
    return InputFile("given.csv", "", b"", place=place, **fields)


async def test_a_file_of_an_earlier_job_is_given_as_any_other(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(text("One."), error(500), call("read", {"name": "given.csv"}), text("Two."))
    earlier = job(write_module, dsn, CSV)
    await earlier.attempt()
    later = job(write_module, dsn, of(earlier, CSV), message="Two.")
    await later.attempt()
    forget_services()
    assert (await later.attempt()).verdict is Verdict.COMPLETE
    assert said(gemini)[-1] == ["Two.", shown(CSV)]
    assert "city,people" in results(gemini)[0]
    assert await versions(later) == {"given.csv": 1}
    assert await versions(earlier) == {"data.csv": 1}


async def test_a_file_of_an_earlier_job_that_is_gone_ends_the_job_with_its_name(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    earlier = job(write_module, dsn)
    gone = job(write_module, dsn, of(earlier, CSV))
    outcome = await gone.attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.FAIL, "InputUnavailable")
    assert "given.csv: the file data.csv of the earlier job is no more" in outcome.message
    assert gemini.requests == []


async def test_an_answer_of_a_person_comes_without_the_files(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("read", {"name": "data.csv"}), text("Done."))
    table = job(write_module, dsn, CSV, attr="asks")
    (question,) = (await table.attempt()).requests
    forget_services()
    table.fields["answers"] = {question.id: {"approved": True}}
    assert (await table.attempt()).result == "Done."
    assert said(gemini)[0] == ["Go.", shown(CSV)]
    assert await versions(table) == {"data.csv": 1}


async def test_adks_plugin_saves_what_comes_with_the_message_as_under_adk_web(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("read", {"name": "data.csv"}), text("Done."))
    table = job(write_module, dsn, CSV, BIG, attr="app")
    assert (await table.attempt()).result == "Done."
    assert said(gemini, 0) == [["Go.", '[Uploaded Artifact: "data.csv"]']]
    assert await versions(table) == {"big.txt": 1, "data.csv": 1}
    assert "city,people" in results(gemini)[0]


async def test_a_pool_without_room_for_a_file_says_so(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    large = InputFile("large.bin", "application/octet-stream", bytes(700 << 10))
    table = job(write_module, dsn, large)
    table.settings = type(table.settings)(
        **{
            name: getattr(table.settings, name)
            for name in type(table.settings).__dataclass_fields__
            if name != "artifact_limit_mib"
        },
        artifact_limit_mib=0,
    )
    outcome = await table.attempt()
    assert outcome.reason == "ArtifactRefused"
    assert "large.bin" in outcome.message
    assert not gemini.requests


async def test_no_error_quotes_a_file(dsn: str, gemini: FakeGemini, write_module: Write) -> None:
    gemini.script(error(400, message="cannot read: the secret of the file, line 2"))
    secret = InputFile("key.txt", "text/plain", b"the secret of the file\nsecond line")
    outcome = await job(write_module, dsn, secret).attempt()
    assert "cannot read" in outcome.message
    assert "the secret of the file" not in outcome.message
