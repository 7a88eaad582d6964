"""Memory by URI: ADK's own services keep and find what agents say over jobs of a user, within lease and fence."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent_modules import Write, write_module
from gemini import FakeGemini, call, gemini, text
from google.adk.events.event import Event
from google.adk.memory import BaseMemoryService
from google.adk.memory.memory_entry import MemoryEntry
from google.genai import types
from runs import Job, module

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.sessions.fence import Fence, holding
from agentjobs.agents.sessions.service import JobSessions, memory_of
from agentjobs.agents.verdict.errors import MemoryServiceUnavailable, SessionFenced
from agentjobs.agents.verdict.outcome import Verdict

pytestmark = pytest.mark.usefixtures("own_process")

__all__ = ["gemini", "write_module"]

USER: dict[str, Any] = {"app_name": "team-a/app", "user_id": "ann"}
KEY: dict[str, Any] = {**USER, "session_id": "s"}
AGENT = """
    from google.adk.agents import LlmAgent
    from google.adk.tools import load_memory, preload_memory
    async def keep(callback_context):
        await callback_context.add_session_to_memory()
    root_agent = LlmAgent(name="agent", model="gemini-2.5-flash", tools=[load_memory], after_agent_callback=keep)
    preloader = LlmAgent(name="agent", model="gemini-2.5-flash", tools=[preload_memory])
"""


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/memories.db"


def service_at(sessions: JobSessions, uri: str) -> BaseMemoryService:
    return memory_of(sessions, AgentSettings(memory_service_uri=uri))


def said(words: str) -> Event:
    return Event(author="user", content=types.UserContent(parts=[types.Part(text=words)]))


async def found(service: BaseMemoryService, query: str, **key: Any) -> list[str]:
    response = await service.search_memory(**{**USER, **key}, query=query)
    return [part.text or "" for one in response.memories for part in one.content.parts or ()]


async def test_what_is_kept_at_a_uri_is_found_by_the_same_app_and_user_alone(
    sessions: JobSessions, uri: str
) -> None:
    service = service_at(sessions, uri)
    await service.add_events_to_memory(**KEY, events=[said("The heron eats fish.")])
    entry = MemoryEntry(content=types.UserContent(parts=[types.Part(text="A heron sleeps.")]))
    with pytest.raises(NotImplementedError):  # as the service itself answers
        await service.add_memory(**USER, memories=[entry])
    another = service_at(sessions, uri)
    assert await found(another, "heron") == ["The heron eats fish."]
    for key in ({"user_id": "bob"}, {"app_name": "team-b/app"}):
        assert await found(another, "heron", **key) == []


async def test_h13_a_run_that_lost_its_session_keeps_nothing_at_a_uri(
    sessions: JobSessions, uri: str
) -> None:
    service = service_at(sessions, uri)
    late = Fence(**KEY, job="job", run=1, claim=1)
    session = await sessions.open(late)
    token = holding.set(late)
    try:
        await service.add_events_to_memory(**KEY, events=[said("an early heron")])
        await sessions.open(Fence(**KEY, job="job", run=2, claim=2))
        with pytest.raises(SessionFenced):
            await service.add_events_to_memory(**KEY, events=[said("a late heron")])
        with pytest.raises(SessionFenced):
            await service.add_session_to_memory(session)
        with pytest.raises(SessionFenced):
            await service.delete_memory(**USER, memory_id="1")
        assert await found(service, "heron") == ["an early heron"]
    finally:
        holding.reset(token)


async def test_a_memory_service_that_is_away_charges_nothing(sessions: JobSessions, tmp_path: Path) -> None:
    service = service_at(sessions, f"sqlite:///{tmp_path}")  # a folder
    with pytest.raises(MemoryServiceUnavailable, match="memoryServiceUri"):
        await service.search_memory(**USER, query="heron")


def job_of(write_module: Write, dsn: str, uri: str, name: str = "uri_memory") -> Job:
    write_module("uri_memory", textwrap.dedent(AGENT))
    job = Job(module(name), "The heron eats fish.", modules=("uri_memory",), dsn=dsn, user_id="ann")
    job.settings = replace(job.settings, memory_service_uri=uri)
    return job


async def test_a_later_job_of_the_user_finds_what_an_earlier_one_said(
    dsn: str, gemini: FakeGemini, write_module: Write, uri: str
) -> None:
    gemini.script(text("Noted."))
    assert (await job_of(write_module, dsn, uri).attempt()).result == "Noted."
    gemini.script(call("load_memory", {"query": "heron"}), text("Fish."))
    later = job_of(write_module, dsn, uri)
    assert (await later.attempt()).result == "Fish."
    (answer,) = [one for event in await later.stored() for one in event.get_function_responses()]
    assert "The heron eats fish." in str(answer.response)


async def test_a_search_that_adk_only_logs_charges_nothing_either(
    dsn: str, gemini: FakeGemini, write_module: Write, tmp_path: Path
) -> None:
    gemini.script(text("never"))
    job = job_of(write_module, dsn, f"sqlite:///{tmp_path}", "uri_memory:preloader")
    outcome = await job.attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.SNOOZE, "MemoryServiceUnavailable")
