"""Memories in Postgres: found as by ADK's service in memory, per app and user, fenced, bounded, over jobs, erased with the person."""

from __future__ import annotations

import textwrap
from typing import Any

import psycopg
import pytest
from agent_modules import Write, write_module
from gemini import FakeGemini, call, gemini, text
from google.adk.events.event import Event
from google.adk.memory import BaseMemoryService, InMemoryMemoryService
from google.adk.sessions import Session
from google.genai import types
from runs import Job, module

from agentjobs.agents.sessions import memory as memory_module
from agentjobs.agents.sessions.erase import erase_sessions
from agentjobs.agents.sessions.fence import Fence, holding
from agentjobs.agents.sessions.memory import MEMORY_BYTES, PostgresMemory
from agentjobs.agents.sessions.service import JobSessions, forget_services
from agentjobs.agents.verdict.errors import SessionFenced
from agentjobs.agents.verdict.outcome import Verdict

pytestmark = pytest.mark.usefixtures("own_process")

__all__ = ["gemini", "write_module"]

USER: dict[str, Any] = {"app_name": "team-a/app", "user_id": "ann"}


@pytest.fixture
async def sessions(sessions: JobSessions) -> JobSessions:
    """The session store, with a session of the key."""
    await sessions.create_session(**USER, session_id="s")
    return sessions


@pytest.fixture
async def memory(sessions: JobSessions) -> PostgresMemory:
    return PostgresMemory(sessions)


def event(id_: str, *words: str, at: float = 1.0, author: str = "agent") -> Event:
    parts = [types.Part(text=word) for word in words]
    return Event(id=id_, author=author, timestamp=at, content=types.Content(role="model", parts=parts))


def session(id_: str, *events: Event, **of: Any) -> Session:
    return Session(id=id_, **(USER | of), events=list(events))


async def found(memory: BaseMemoryService, query: str, **of: Any) -> list[Any]:
    answer = await memory.search_memory(**(USER | of), query=query)
    return [entry.model_dump(mode="json", exclude_none=True) for entry in answer.memories]


CALL = types.Part(function_call=types.FunctionCall(name="pay", args={"to": "Bob"}))
EVENTS = [
    event("1", "My dog is called Rex.", author="user"),
    event("2", "私はPythonを使う", at=2.5),
    event("3", "Ärger mit dem Hund, DOG", "rex 🐕"),
    event("4", "..."),
    Event(id="5", author="agent", timestamp=3.0, content=types.Content(role="model", parts=[CALL, types.Part(text="I pay the dog")])),
    Event(id="6", author="agent", timestamp=3.0),
    event("7", "cafe\u0301 _under_ 42"),
]  # fmt: skip
QUERIES = (
    "dog",
    "DOG rex",
    "Python",
    "thon",
    "使う",
    "ärger",
    "hund",
    "caf\u00e9",
    "42",
    "...",
    "",
    "nothing",
    "is my the dog",
    "_under_",
    "🐕",
)


@pytest.mark.parametrize("query", QUERIES)
async def test_a_search_finds_what_adk_s_service_in_memory_finds(memory: PostgresMemory, query: str) -> None:
    other = InMemoryMemoryService()
    for service in (memory, other):
        await service.add_session_to_memory(session("s", *EVENTS))
        await service.add_events_to_memory(
            **USER, events=[event("8", "a dog"), event("8", "a rex")], session_id="t"
        )
        await service.add_events_to_memory(**USER, events=[event("9", "the dog of nobody's session")])
    assert await found(memory, query) == await found(other, query)


async def test_what_is_added_again_and_deleted_is_as_in_adk_s_service(memory: PostgresMemory) -> None:
    other = InMemoryMemoryService()
    for service in (memory, other):
        await service.add_session_to_memory(
            session("s", event("1", "dog one"), event("2", "dog two"), event("3", "dog three"))
        )
        await service.add_session_to_memory(session("t", event("4", "dog four")))
        await service.delete_memory(**USER, memory_id="2")
        await service.delete_memory(**USER, memory_id="never there")
        await service.delete_memory(**USER)
        await service.add_session_to_memory(
            session("s", event("1", "dog one"), event("2", "dog two"), event("5", "dog five"))
        )
        await service.add_events_to_memory(
            **USER, events=[event("2", "dog two"), event("1", "dog new")], session_id="s"
        )
    assert [entry["id"] for entry in await found(memory, "dog")] == ["1", "5", "4"]
    assert await found(memory, "dog") == await found(other, "dog")


async def test_ten_are_found_those_that_share_most_words_first(memory: PostgresMemory) -> None:
    other = InMemoryMemoryService()
    events = [event(str(n), "dog " + " ".join(["cat", "cow"][: n % 3])) for n in range(40)]
    for service in (memory, other):
        await service.add_session_to_memory(session("s", *events))
    assert await found(memory, "dog cat cow") == await found(other, "dog cat cow")
    assert len(await found(memory, "dog")) == 10


async def test_nothing_is_found_of_another_user_app_or_namespace(memory: PostgresMemory) -> None:
    await memory.add_session_to_memory(session("s", *EVENTS))
    for of in ({"user_id": "bob"}, {"app_name": "team-a/other"}, {"app_name": "team-b/app"}):
        assert await found(memory, "dog", **of) == []


async def test_texts_that_postgres_refuses_and_long_ones_are_kept_in_bounds(memory: PostgresMemory) -> None:
    image = types.Part(inline_data=types.Blob(mime_type="image/png", data=b"x" * 10**6))
    with_image = Event(
        id="2", author="agent", content=types.Content(parts=[image, types.Part(text="a logo")])
    )
    await memory.add_session_to_memory(
        session("s", event("1", "nul\x00 half\ud83d", "dog " * 10**5), with_image)
    )
    (long,) = await found(memory, "dog")
    assert 100 < len(long["content"]["parts"][0]["text"].encode()) <= MEMORY_BYTES
    (logo,) = await found(memory, "logo")
    assert [part["text"] for part in logo["content"]["parts"]] == ["a logo"]
    assert await found(memory, "q\x00b\ud83d " + " ".join(f"w{n}" for n in range(10**4))) == []


async def test_the_oldest_are_forgotten_beyond_the_bound(
    memory: PostgresMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_module, "MOST_MEMORIES", 3)
    for n in range(5):
        await memory.add_events_to_memory(**USER, events=[event(str(n), f"dog {n}")], session_id=str(n))
    assert [entry["id"] for entry in await found(memory, "dog")] == ["2", "3", "4"]


async def test_h13_a_run_that_lost_its_session_keeps_and_deletes_nothing(
    sessions: JobSessions, memory: PostgresMemory
) -> None:
    fences = [Fence(**USER, session_id="s", job="a", run=n, claim=n) for n in (1, 2)]
    await sessions.open(fences[0])
    token = holding.set(fences[0])
    await memory.add_session_to_memory(session("s", event("1", "dog")))
    await sessions.open(fences[1])
    for late in (
        memory.add_session_to_memory(session("s", event("2", "dog"))),
        memory.add_events_to_memory(**USER, events=[event("3", "dog")]),
        memory.delete_memory(**USER, memory_id="1"),
    ):
        with pytest.raises(SessionFenced):
            await late
    holding.reset(token)
    assert [entry["id"] for entry in await found(memory, "dog")] == ["1"]


async def test_an_erasure_takes_them(dsn: str, memory: PostgresMemory) -> None:
    await memory.add_session_to_memory(session("s", *EVENTS))
    await memory.add_session_to_memory(session("b", event("b", "dog"), user_id="bob"))
    assert await erase_sessions(dsn, "team-a", "ann") == 1
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select user_id from adk.memory").fetchall() == [("bob",)]


async def test_an_older_store_gets_the_table(dsn: str) -> None:
    first = JobSessions(dsn)
    await first.prepare()
    await first.release()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("drop table adk.memory")
    later = JobSessions(dsn)
    await later.prepare()
    assert await found(PostgresMemory(later), "dog") == []
    await later.release()


AGENT = """
from google.adk.agents import LlmAgent
from google.adk.tools import load_memory

async def keep(callback_context):
    await callback_context.add_session_to_memory()

root_agent = LlmAgent(name="agent", model="gemini-2.5-flash", tools=[load_memory], after_agent_callback=keep)
"""


@pytest.mark.parametrize("kept", ["in Postgres", "in memory"])
async def test_a_later_job_of_the_user_finds_what_an_earlier_one_kept(
    dsn: str, gemini: FakeGemini, write_module: Write, kept: str
) -> None:
    write_module("keeper", textwrap.dedent(AGENT))
    where = dsn if kept == "in Postgres" else None

    def one(message: str) -> Job:
        return Job(module("keeper"), message, modules=("keeper",), dsn=where)

    gemini.script(text("Rex, noted."), call("load_memory", {"query": "dog"}), text("Rex."))
    assert (await one("My dog is called Rex.").attempt()).verdict is Verdict.COMPLETE
    if kept == "in Postgres":
        forget_services()  # as in another process
    later = one("What is its name?")
    assert (await later.attempt()).verdict is Verdict.COMPLETE
    assert "My dog is called Rex." in str(gemini.requests[-1])
