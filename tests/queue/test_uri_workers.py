"""Workers with artifacts by URI: what one run saved is found after its process died, by another worker, and named in the status."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.cli.services import with_services
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import InputAnswer, State
from agentjobs.worker.supervisor.config import WorkerConfig
from worker_agents import call
from workers import job, running_worker, state_of, submit, worker_config

SAVER = """
import os
from pathlib import Path
from google.adk.agents import LlmAgent
from google.adk.tools import FunctionTool
from google.genai import types

async def send(tool_context):
    "Sends the file, once somebody has approved."
    return (await tool_context.load_artifact("report.txt")).text

async def write(tool_context, die: str = ""):
    "Saves a file once, and dies where the file to be made tells that it has not yet."
    found = await tool_context.load_artifact("report.txt")
    if found is None:
        await tool_context.save_artifact("report.txt", types.Part(text="All is well."))
    if die and not Path(die).exists():
        Path(die).touch()
        os._exit(1)
    return found.text if found else "written"

root_agent = LlmAgent(name="saver", model="echo", tools=[write, FunctionTool(send, require_confirmation=True)])
"""

KEPT = """
from google.adk.artifacts import FileArtifactService

class Mine(FileArtifactService):
    def __init__(self, uri, **_):
        super().__init__(uri.removeprefix("mine:/"))
"""


def config_of(dsn: str, tmp_path: Path, name: str) -> WorkerConfig:
    folder = tmp_path / "modules"
    folder.mkdir(exist_ok=True)
    (folder / "saver.py").write_text(SAVER)
    config = worker_config(dsn, str(folder), modules=("saver",), name=name)
    settings: AgentSettings = replace(config.settings, artifact_service_uri=(tmp_path / "kept").as_uri())
    return replace(config, settings=settings)


async def test_a_file_outlives_its_process_and_the_status_names_it_and_its_place(
    dsn: str, tmp_path: Path
) -> None:
    died = tmp_path / "died"
    async with await Queue.open(dsn) as queue, running_worker(config_of(dsn, tmp_path, "one")):
        (uid,) = await submit(queue, job(call("write", die=str(died)), module="saver", max_attempts=2))
        end = await state_of(queue, uid)
    assert (end.state, end.attempts) == (State.COMPLETE, 2)
    assert "All is well." in (end.result or ""), "the second run found what the first had saved"
    (file,) = end.files
    assert (file.name, file.version, file.size_bytes) == ("report.txt", 0, 12)
    assert file.address == (tmp_path / "kept").as_uri()


async def test_a_worker_that_drained_leaves_the_files_to_the_one_that_goes_on_after_an_approval(
    dsn: str, tmp_path: Path
) -> None:
    message = "\n".join((call("write"), call("send")))
    async with await Queue.open(dsn) as queue:
        async with running_worker(config_of(dsn, tmp_path, "one")):
            (uid,) = await submit(queue, job(message, module="saver", max_attempts=1))
            asked = await state_of(queue, uid, State.INPUT_REQUIRED)
        assert [file.name for file in asked.files] == ["report.txt"]
        assert asked.input_request is not None
        assert await queue.answer(uid, InputAnswer(asked.input_request.id, approved=True)) == ""
        async with running_worker(config_of(dsn, tmp_path, "two")):
            end = await state_of(queue, uid)
    assert (end.state, end.attempts) == (State.COMPLETE, 1)
    assert "All is well." in (end.result or "")
    assert [(file.name, file.version) for file in end.files] == [("report.txt", 0)]


async def test_two_workers_share_the_files_of_a_session(dsn: str, tmp_path: Path) -> None:
    first, second = (config_of(dsn, tmp_path, name) for name in ("one", "two"))
    shared = {"userID": "ann", "sessionID": "s", "appName": "app"}
    jobs = [job(call("write"), module="saver", session="team/app/ann/s") for _ in range(4)]
    jobs = [replace(one, payload={**one.payload, **shared}) for one in jobs]
    async with await Queue.open(dsn) as queue, running_worker(first), running_worker(second):
        uids = await submit(queue, *jobs)
        ends = await asyncio.gather(*(state_of(queue, uid) for uid in uids))
    assert [end.state for end in ends] == [State.COMPLETE] * 4
    assert sorted("All is well." in (end.result or "") for end in ends) == [False, True, True, True]


async def test_a_scheme_of_services_yaml_serves_in_the_runs_processes(dsn: str, tmp_path: Path) -> None:
    config = config_of(dsn, tmp_path, "one")
    folder = tmp_path / "modules"
    (folder / "kept_by_us.py").write_text(KEPT)
    (folder / "services.yaml").write_text(
        "services: [{scheme: mine, type: artifact, class: kept_by_us.Mine}]"
    )
    settings = replace(config.settings, modules=("saver", "kept_by_us"))
    settings = with_services(settings, [folder], f"mine:/{tmp_path}/mine", None)
    async with await Queue.open(dsn) as queue, running_worker(replace(config, settings=settings)):
        (uid,) = await submit(queue, job(call("write"), module="saver"))
        end = await state_of(queue, uid)
    assert (end.state, end.files[0].address) == (State.COMPLETE, f"mine:/{tmp_path}/mine")
    (file,) = (tmp_path / "mine").rglob("report.txt/versions/0/report.txt")
    assert file.read_text() == "All is well."
