"""Traces, the whole way: a worker with a real queue and ADK, the real exporter, and a collector that decodes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import pytest_asyncio
from gemini import FakeGemini
from gemini import call as tool_call
from gemini import error as model_error
from gemini import text as answer

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import JobView, NewJob, RetryPolicy, State
from agentjobs.telemetry.job_spans import spans_of
from agentjobs.telemetry.traceparent import TraceParent, trace_id_of
from agentjobs.worker.supervisor.supervisor import Worker
from collector import Collector, Received, children
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
def modules(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("modules")
    write_modules(folder)
    (folder / "looker.py").write_text(AGENT)
    return str(folder)


def settings(dsn: str) -> AgentSettings:
    return AgentSettings(
        modules=("abuse", "innocent", "looker"),
        preload=("abuse", "looker"),
        session_dsn=dsn,
        models=("echo",),
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


def with_traceparent(made: NewJob, traceparent: str) -> NewJob:
    return replace(made, payload={**made.payload, "traceparent": traceparent})


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
    assert {span.trace_id for span in spans} == {view.trace_id}
    root = only(spans, "job agents")
    assert (root.parent_id, root.error, root.attributes["agentjobs.job.state"]) == ("", None, "Complete")
    assert root.resource["service.name"] == "agentjobs-worker"
    assert root.resource["deployment.environment.name"] == "test"
    first, second = [span for span in children(spans, root) if span.name == "process agents"]
    assert (first.kind, first.error, first.attributes["agentjobs.reason"]) == (
        "CONSUMER",
        "ModelServerError",
        "ModelServerError",
    )
    assert (second.error, second.attributes["agentjobs.outcome"]) == (None, "complete")
    assert [span.attributes["agentjobs.attempt"] for span in (first, second)] == [1, 2]
    assert [span.name for span in children(spans, root)] == [
        "queued",
        "process agents",
        "retrying",
        "queued",
        "process agents",
    ]
    for run, calls in (
        (first, ["generate_content", "execute_tool", "generate_content"]),
        (
            second,
            ["generate_content", "execute_tool", "generate_content"],
        ),
    ):
        (workflow,) = children(spans, run)
        (agent,) = children(spans, workflow)
        assert agent.name == "invoke_agent looker"
        assert [span.name.split()[0] for span in children(spans, agent)] == calls
        assert all(run.start_ns <= span.start_ns <= span.end_ns <= run.end_ns for span in (workflow, agent))
    call_of_model = children(spans, children(spans, children(spans, first)[0])[0])[0]
    assert call_of_model.attributes["gen_ai.request.model"] == "gemini-fake"
    assert call_of_model.attributes["gen_ai.usage.input_tokens"] == 10


async def test_no_text_of_a_conversation_is_in_any_span(
    queue: Queue, collector: Collector, model: FakeGemini
) -> None:
    model.script(
        tool_call("break_first", {"word": f"{SECRET}-argument"}),
        tool_call("look", {"word": f"{SECRET}-argument"}),
        model_error(500, f"{SECRET}-error"),
        answer(f"{SECRET}-answer"),
    )
    (uid,) = await submit(queue, job(f"{SECRET}-message", module="looker", max_attempts=5))
    view = await state_of(queue, uid)
    assert view.result == f"{SECRET}-answer"
    spans = await trace_of(collector, view)
    assert only(spans, "execute_tool break_first").error == "ValueError"
    assert SECRET.encode() not in collector.raw
    assert any(name == "exception" and "exception.type" in told for s in spans for name, told in s.events)


async def test_an_executor_that_is_killed_leaves_its_spans_and_its_run_in_the_trace(
    queue: Queue, collector: Collector
) -> None:
    (uid,) = await submit(queue, job(call("crash_first_run")))
    view = await state_of(queue, uid)
    spans = await trace_of(collector, view)
    killed, finished = [span for span in spans if span.name == "process agents"]
    assert (killed.error, finished.error) == ("ExecutorCrashed", None)
    inside = [s for s in spans if s.name == "execute_tool crash_first_run" and s.error == "unfinished"]
    assert len(inside) == 1, "the tool that it died in"
    assert inside[0].attributes["agentjobs.unfinished"] is True
    assert inside[0].end_ns <= killed.end_ns
    known = {span.span_id for span in spans}
    assert all(span.parent_id in known or not span.parent_id for span in spans), "no span without its parent"


async def test_an_attempt_that_is_stopped_says_why_and_every_end_carries_the_trace(
    queue: Queue, collector: Collector
) -> None:
    (uid,) = await submit(queue, job(call("burn_deaf"), attempt_timeout_seconds=12, max_attempts=1))
    view = await state_of(queue, uid)
    assert (view.state, view.reason) == (State.FAILED, "AttemptTimeout")
    assert view.trace_id == trace_id_of(uid, None), "an exhausted job has its trace in its status too"
    spans = await trace_of(collector, view)
    root = only(spans, "job agents")
    assert (root.error, root.attributes["error.type"]) == ("AttemptTimeout", "AttemptTimeout")
    run = only(spans, "process agents")
    assert (run.error, run.attributes["agentjobs.outcome"]) == ("AttemptTimeout", "discard")
    assert only(spans, "execute_tool burn_deaf").error == "unfinished"


async def test_a_job_that_waits_for_its_next_attempt_shows_its_trace_already(queue: Queue) -> None:
    (uid,) = await submit(queue, job(call("crash"), retry=RetryPolicy(initial_delay_seconds=600)))
    view = await state_of(queue, uid, State.RETRYING)
    assert view.trace_id == trace_id_of(uid, None)
    await queue.cancel(uid)


async def test_a_caller_that_named_a_trace_finds_the_job_in_it(queue: Queue, collector: Collector) -> None:
    theirs = TraceParent("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    (uid,) = await submit(queue, with_traceparent(job(module="innocent"), str(theirs)))
    view = await state_of(queue, uid)
    assert view.trace_id == theirs.trace_id
    root = await asyncio.to_thread(collector.wait_for, "job agents", theirs.trace_id)
    assert root.parent_id == theirs.span_id


async def test_a_caller_that_does_not_sample_is_followed(queue: Queue, collector: Collector) -> None:
    theirs = TraceParent("5bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=False)
    (uid,) = await submit(queue, with_traceparent(job(module="innocent"), str(theirs)))
    assert (await state_of(queue, uid)).trace_id == ""
    (after,) = await submit(queue, job(module="innocent"))
    await trace_of(collector, await state_of(queue, after))
    assert collector.of(theirs.trace_id) == []


async def test_a_traceparent_that_is_none_is_ignored(queue: Queue) -> None:
    (uid,) = await submit(queue, with_traceparent(job(module="innocent"), "00-not-a-trace"))
    view = await state_of(queue, uid)
    assert (view.state, view.trace_id) == (State.COMPLETE, trace_id_of(uid, None))


async def test_a_second_round_is_in_the_same_trace_under_a_span_of_its_own(
    queue: Queue, collector: Collector
) -> None:
    (uid,) = await submit(queue, job(call("crash"), max_attempts=1))
    first = await state_of(queue, uid)
    await trace_of(collector, first)
    await queue.retry(uid)
    view = await state_of(queue, uid)
    assert (view.round, view.trace_id) == (2, first.trace_id)
    await asyncio.to_thread(
        collector.wait_until, lambda: len(collector.named("job agents", view.trace_id)) == 2
    )
    spans = collector.of(view.trace_id)
    rounds = [span for span in spans if span.name == "job agents"]
    assert [span.attributes["agentjobs.round"] for span in rounds] == [1, 2]
    for one in rounds:
        assert len([span for span in children(spans, one) if span.name == "process agents"]) == 1


async def test_the_collectors_key_stays_with_the_supervisor(queue: Queue, collector: Collector) -> None:
    (uid,) = await submit(queue, job(call("environment", name="OTEL_EXPORTER_OTLP_HEADERS")))
    view = await state_of(queue, uid)
    assert view.result == "(absent)"
    await trace_of(collector, view)
    assert collector.headers[-1]["authorization"] == "Bearer collector-key"


async def test_an_end_that_no_run_brought_about_is_told_apart(queue: Queue) -> None:
    """The operator tells those; a worker tells the others."""
    (waiting,) = await submit(queue, job(queue="nobodys"))
    await queue.cancel(waiting)
    (ran,) = await submit(queue, job(module="innocent"))
    await state_of(queue, ran)
    (unfinished,) = await submit(queue, job(queue="nobodys"))
    found = {one.uid: one for one in await queue.timelines([waiting, ran, unfinished])}
    assert {uid: one.acked for uid, one in found.items()} == {waiting: False, ran: True}
    assert [span.name for span in spans_of(found[waiting])] == ["job nobodys"]
