"""What a job's runs have saved is seen in its status: names and sizes, bounded, over retries, until it is erased or pruned."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agentjobs.api.agentjob_status import AgentJobStatus
from agentjobs.controller.agentjob.status import status_of
from agentjobs.queue.connection import Database
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, InputAnswer, State
from agentjobs.values.json import JsonObject
from agentjobs.values.requests import InputRequest
from agentjobs.values.saved_file import SavedFile
from queue_builders import TestWorker, new_job, pass_time, shown, sql
from worker_agents import call
from workers import job, running_worker, state_of, submit, worker_config


def files(*names: str, version: int | None = 0) -> tuple[SavedFile, ...]:
    return tuple(SavedFile(name, version, "text/plain", 5) for name in names)


async def status(queue: Queue, one: object) -> JsonObject:
    found = status_of(await shown(queue, one), 1)  # type: ignore[arg-type]
    AgentJobStatus.model_validate(found)
    return found


@pytest.mark.parametrize("kind", [kind for kind in AckKind if kind is not AckKind.ASK])
async def test_an_end_of_any_kind_shows_what_the_run_saved(
    queue: Queue, worker: TestWorker, kind: AckKind
) -> None:
    await queue.enqueue([new_job()])
    claimed = await worker.one()
    assert await worker.ack(claimed, kind, files=files("b.txt", "a.txt")) == "ok"
    assert (await status(queue, claimed))["artifacts"] == [
        {"name": name, "version": 0, "mimeType": "text/plain", "sizeBytes": 5} for name in ("a.txt", "b.txt")
    ]


async def test_a_parked_job_shows_them_and_goes_on_with_them(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([new_job()])
    claimed = await worker.one()
    asks = (InputRequest("q", "pay"),)
    await worker.ack(claimed, AckKind.ASK, requests=asks, files=files("before"))
    assert [file["name"] for file in (await status(queue, claimed))["artifacts"]] == ["before"]
    assert await queue.answer(claimed.uid, InputAnswer("q", approved=True)) == ""
    await worker.ack(await worker.one(), files=files("after"))
    assert [file["name"] for file in (await status(queue, claimed))["artifacts"]] == ["after", "before"]


async def test_a_later_run_adds_changes_and_takes_away(queue: Queue, worker: TestWorker, dsn: str) -> None:
    await queue.enqueue([new_job()])
    claimed = await worker.one()
    await worker.ack(claimed, AckKind.RETRY, files=files("kept", "changed", "deleted"))
    again = await worker.one()
    later = files("changed", "new", version=1) + files("deleted", "never there", version=None)
    await worker.ack(again, files=later)
    found = (await status(queue, again))["artifacts"]
    assert [(file["name"], file["version"]) for file in found] == [("changed", 1), ("kept", 0), ("new", 1)]


async def test_a_status_shows_twenty_of_a_thousand_and_how_many_there_are(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([new_job()])
    claimed = await worker.one()
    await worker.ack(claimed, AckKind.RETRY, files=files(*(f"{n:04}" for n in range(1000))))
    found = await status(queue, claimed)
    assert [file["name"] for file in found["artifacts"]] == [f"{n:04}" for n in range(20)]
    assert found["artifactCount"] == 1000
    again = await worker.one()
    await worker.ack(again, files=files("0000", version=7) + files("0001", version=None) + files("zzz"))
    found = await status(queue, again)
    assert (found["artifacts"][0]["version"], found["artifactCount"]) == (7, 999)


HOSTILE = ("user:ann/ä 日本.txt", "../../etc/passwd", "a\x00b\ud83d", "🙂" * 300, '"quoted"\n', "__proto__")


async def test_hostile_names_are_shown_cut_and_storable(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([new_job()])
    claimed = await worker.one()
    told = [SavedFile.from_json(SavedFile(name, 0, "t" * 999, 10**30).as_json()) for name in HOSTILE]
    assert await worker.ack(claimed, files=tuple(told)) == "ok"
    found = await status(queue, claimed)
    assert len(found["artifacts"]) == len(HOSTILE)
    assert max(len(file["name"]) for file in found["artifacts"]) == 256


async def test_a_run_that_lost_its_job_notes_nothing(queue: Queue, worker: TestWorker, dsn: str) -> None:
    await queue.enqueue([new_job()])
    claimed = await worker.one()
    await sql(dsn, "update running set token = token + 1")
    assert await worker.ack(claimed, files=files("late")) == "lost"
    assert await sql(dsn, "select * from saved_file") == []


async def test_a_job_without_files_sends_no_statement_more(
    queue: Queue, worker: TestWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue.enqueue([new_job(), new_job()])
    sent: list[str] = []
    fetch = Database.fetch

    async def counted(self: Database, statement: Any, *args: Any, **options: Any) -> Any:
        sent.append(str(statement))
        return await fetch(self, statement, *args, **options)

    first, second = await worker.claim(2)
    monkeypatch.setattr(Database, "fetch", counted)
    await worker.ack(first)
    assert len(sent) == 1
    assert "artifacts" not in await status(queue, first)
    await worker.ack(second, files=files("a"))
    assert len([one for one in sent if "note_files" in one]) == 1


async def test_an_erased_job_shows_no_names_any_more(queue: Queue, worker: TestWorker, dsn: str) -> None:
    one = new_job(payload={"namespace": "team", "userID": "ann"})
    await queue.enqueue([one])
    await worker.ack(await worker.one(), files=files("ann.txt"))
    assert (await status(queue, one))["artifacts"]
    await sql(dsn, "select erase_job(id) from job")
    assert "artifacts" not in await status(queue, one)
    assert await sql(dsn, "select * from saved_file") == []


async def test_retention_takes_them_along(queue: Queue, worker: TestWorker, dsn: str) -> None:
    await queue.enqueue([new_job()])
    await worker.ack(await worker.one(), files=files("a"))
    await pass_time(dsn, 8 * 86400)
    await sql(dsn, "select prune('7 days', 10)")
    assert await sql(dsn, "select * from saved_file") == []


SAVER = """
import os
from google.adk.agents import LlmAgent
from google.genai import types

async def write(tool_context, die: bool = False):
    "Saves two files, deletes a third, and may die."
    for name in ("gone", "user:both.txt", "report/ä.txt"):
        await tool_context.save_artifact(name, types.Part(text="All is well."))
    await tool_context._invocation_context.artifact_service.delete_artifact(
        app_name=tool_context._invocation_context.app_name, user_id=tool_context._invocation_context.user_id,
        session_id=tool_context._invocation_context.session.id, filename="gone")
    if die:
        os._exit(1)
    return "written"

root_agent = LlmAgent(name="saver", model="echo", tools=[write])
"""


async def test_a_real_run_tells_what_it_saved_also_where_its_process_died(dsn: str, tmp_path: Path) -> None:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "saver.py").write_text(SAVER)
    config = worker_config(dsn, str(folder), modules=("saver",))
    jobs = [
        job(call("write"), module="saver"),
        job(call("write", die=True), module="saver", max_attempts=1),
    ]
    async with await Queue.open(dsn) as queue, running_worker(config):
        uids: list[UUID] = await submit(queue, *jobs)
        ends = await asyncio.gather(*(state_of(queue, uid) for uid in uids))
    assert [end.state for end in ends] == [State.COMPLETE, State.FAILED]
    for end in ends:
        assert [(file.name, file.mime_type, file.size_bytes) for file in end.files] == [
            ("report/ä.txt", "text/plain", 12),
            ("user:both.txt", "text/plain", 12),
        ]
    assert [end.files[0].version for end in ends] == [0, 0]
    assert {end.files[1].version for end in ends} == {0, 1}, "the jobs are of one user"
