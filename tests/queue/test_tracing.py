"""Traces, the whole way: a worker with a real queue and ADK, the real exporter, and a collector that decodes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from agentjobs.agents.outcome import AgentSettings
from agentjobs.queue.model import JobView, NewJob, State
from agentjobs.queue.queue import Queue
from agentjobs.telemetry.traceparent import trace_id_of
from agentjobs.worker.supervisor import Worker
from collector import Collector, Received, children
from gemini import FakeGemini
from gemini import call as tool_call
from gemini import error as model_error
from gemini import text as answer
from worker_agents import call, write_modules
from workers import job, running_worker, state_of, submit, worker_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "the-secret-of-the-conversation"
AGENT = f"""
from google.adk.agents import LlmAgent

def look(word: str):
    "Looks the word up."
    return {{"found": "{SECRET}-result"}}

def break_first(word: str):
    "Fails in the first run."
    from agentjobs.agents.context import current_job
    if current_job().run == 1:
        raise ValueError("cannot look up " + word)
    return "fine"

root_agent = LlmAgent(name="looker", model="gemini-fake", instruction="{SECRET}-instruction", tools=[look, break_first])
"""


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


@pytest.fixture(scope="module")
def model() -> Iterator[FakeGemini]:
    server = FakeGemini().start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def database(postgres: Any, migrated_template: str) -> Any:
    from databases import database as new

    with new(postgres, migrated_template) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("modules")
    write_modules(folder)
    (folder / "looker.py").write_text(AGENT)
    return str(folder)


def settings(dsn: str) -> AgentSettings:
    return AgentSettings(
        modules=("abuse", "looker"), preload=("abuse", "looker"), session_dsn=dsn, models=("echo",)
    )


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def worker(
    database: str, modules: str, collector: Collector, model: FakeGemini
) -> AsyncIterator[Worker]:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**collector.environ, **model.environ}.items():
            environment.setenv(name, value)
        environment.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20collector-key")
        environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        async with running_worker(worker_config(database, modules, settings=settings(database))) as made:
            yield made


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def queue(database: str, worker: Worker) -> AsyncIterator[Queue]:
    async with await Queue.open(database, application_name="test") as opened:
        yield opened


async def trace_of(collector: Collector, view: JobView) -> list[Received]:
    """The whole trace of a job: its own span is the last one to arrive."""
    await asyncio.to_thread(collector.wait_for, "job agents", view.trace_id)
    return collector.of(view.trace_id)


def only(spans: list[Received], name: str) -> Received:
    (found,) = [span for span in spans if span.name == name]
    return found


async def test_a_job_with_tools_and_a_retry_is_one_trace_with_every_span_in_its_place(
    queue: Queue, collector: Collector, model: FakeGemini
) -> None:
    model.script(
        tool_call("look", {"word": f"{SECRET}-argument"}),
        model_error(500, f"{SECRET}-error"),
        tool_call("look", {"word": "again"}),
        answer(f"{SECRET}-answer"),
    )
    (uid,) = await submit(queue, job(f"{SECRET}-message", module="looker"))
    view = await state_of(queue, uid)
    assert (view.state, view.attempts) == (State.COMPLETE, 2)
    spans = await trace_of(collector, view)
    for s in spans: print(s.name, s.span_id, s.parent_id, s.kind, s.error, s.attributes, s.events)
    assert 0
