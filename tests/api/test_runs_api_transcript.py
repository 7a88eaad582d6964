"""Conversations behind a real API server: pages, and followed as they are written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentjobs.agents.sessions.service import JobSessions
from agentjobs.local.process import free_port
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import NewJob
from agentjobs.values.names import own_session
from clusters import Cluster
from queue_builders import TestWorker, mirrored_job
from runs_apis import Served, served
from session_stores import KEY, said

HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m red\nand a second line"
NAMES = {"namespace": "team", "appName": "app", "userID": "ann", "sessionID": "s"}


@pytest.fixture
async def sessions(dsn: str) -> AsyncIterator[JobSessions]:
    made = JobSessions(dsn)
    yield made
    await made.release()


@pytest.fixture
def web_config(dsn: str) -> dict[str, str]:
    return {"session_dsn": dsn}


def _job(name: str) -> NewJob:
    return mirrored_job(name, payload={"v": 1, **NAMES})


async def _two_jobs_talk(queue: Queue, sessions: JobSessions) -> tuple[NewJob, NewJob]:
    """Two jobs of one session, with what each has said."""
    mine, other = _job("mine"), _job("other")
    await queue.enqueue([mine, other])
    session = await sessions.create_session(**KEY)
    for job, words in ((mine, "question"), (other, "elsewhere"), (mine, HOSTILE)):
        await sessions.append_event(session, said(words, invocation_id=own_session(job.uid)))
    return mine, other


def _texts(page: Any) -> list[str]:
    return [item["text"] for item in page["items"]]


async def test_a_transcript_is_the_jobs_own_part_page_by_page_or_the_whole_session(
    api: Served, queue: Queue, sessions: JobSessions
) -> None:
    await _two_jobs_talk(queue, sessions)
    path = "namespaces/team/agentruns/mine/transcript"
    first = (await api.ask("edit", f"{path}?limit=1")).json
    assert (first["kind"], first["stored"], _texts(first)) == ("RunTranscript", True, ["question"])
    rest = (await api.ask("edit", f"{path}?after={first['metadata']['continue']}")).json
    assert _texts(rest) == [HOSTILE]
    assert _texts((await api.ask("edit", f"{path}?scope=session")).json) == ["question", "elsewhere", HOSTILE]
    assert rest["items"][0].keys() >= {"cursor", "time", "kind", "author", "invocation"}
    assert (await api.ask("edit", f"{path}?after=nonsense")).code == 410
    assert (await api.ask("edit", f"{path}?scope=all")).code == 400
    for refused in ("view", "nobody"):
        assert (await api.ask(refused, path)).code == 403
    assert (await api.ask("edit", "namespaces/other/agentruns/mine/transcript")).code == 403


async def test_who_may_read_logs_but_no_transcripts_gets_none_by_the_log_either(
    plane: Cluster, api: Served, queue: Queue, sessions: JobSessions
) -> None:
    await _two_jobs_talk(queue, sessions)
    plane.kubectl(
        "create", "role", "logs", "-n", "team", "--verb=get",
        "--resource=agentruns.runs.agentjobs.dev/log", "--resource=agentruns.runs.agentjobs.dev",
    )  # fmt: skip
    plane.kubectl("create", "rolebinding", "logs", "-n", "team", "--role=logs", "--user=reader")
    path = "namespaces/team/agentruns/mine/log"
    assert (await api.ask("reader", path, accept="text/plain")).code == 200
    for query in ("source=transcript", "source=transcript&follow=true"):
        for accept in ("text/plain", "text/event-stream"):
            refused = await api.ask("reader", f"{path}?{query}", accept=accept)
            assert refused.code == 403
            assert "agentruns/transcript" in refused.text
    assert (await api.ask("reader", f"{path}?source=output&source=transcript")).code == 400


async def test_a_followed_transcript_tells_each_entry_once_from_the_start_or_after_one_and_ends_with_the_job(
    api: Served, queue: Queue, sessions: JobSessions
) -> None:
    mine, other = await _two_jobs_talk(queue, sessions)
    worker = await TestWorker(queue).register()
    running = await worker.one()
    assert running.uid == mine.uid
    path = "namespaces/team/agentruns/mine/log?follow=true&source=transcript"
    told: list[dict[str, Any]] = []
    ids: list[str] = []
    async with api.stream("edit", path) as lines:
        event = ""
        async for line in lines:
            field, _, value = line.partition(": ")
            if field == "event":
                event = value
            elif field == "id":
                ids.append(value)
            elif field == "data" and event == "entry":
                told.append(json.loads(value))
                if len(told) == 2:  # it hears what is written while it follows, and not what others say
                    session = await sessions.get_session(**KEY)
                    assert session is not None
                    await sessions.append_event(session, said("x", invocation_id=own_session(other.uid)))
                    await sessions.append_event(session, said("last", invocation_id=own_session(mine.uid)))
                if len(told) == 3:
                    await worker.ack(running)
            elif event == "end":
                break
    assert [entry["text"] for entry in told] == ["question", HOSTILE, "last"]
    assert ids == [entry["cursor"] for entry in told]

    text = await api.ask("edit", path, accept="text/plain", Last_Event_ID=ids[0])
    shown = text.text.splitlines()
    assert [line.rpartition(": ")[2] for line in shown if not line.startswith("    ")][-1] == "last"
    assert "question" not in text.text
    assert "\x1b" not in text.text
    assert "    and a second line" in shown
    stored = await api.ask(
        "edit", "namespaces/team/agentruns/mine/log?source=transcript", accept="text/plain"
    )
    assert stored.text.splitlines()[1:] == shown


async def test_a_session_store_that_is_away_is_told_as_a_status(
    plane: Cluster, dsn: str, queue: Queue, tmp_path: Path
) -> None:
    await queue.enqueue([_job("mine")])
    away = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    async with served(plane, dsn, tmp_path, session_dsn=away) as found:
        answer = await found.ask("edit", "namespaces/team/agentruns/mine/transcript")
        assert (answer.code, answer.json["kind"], answer.json["reason"]) == (
            503,
            "Status",
            "ServiceUnavailable",
        )
    async with served(plane, dsn, tmp_path) as found:
        answer = await found.ask("edit", "namespaces/team/agentruns/mine/transcript")
        assert (answer.code, answer.json["reason"]) == (404, "NotFound")
        stream = "namespaces/team/agentruns/mine/log?source=transcript&follow=true"
        answer = await asyncio.wait_for(found.ask("edit", stream, accept="text/event-stream"), 30)
        assert "event: error" in answer.text
