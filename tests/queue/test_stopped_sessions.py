"""H27: whatever stops a run, its conversation is fit for the next run of the job and for the next job of the session.

Real executors, ADK's own history in Postgres, and the real Gemini client: what is looked at is what the provider gets.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from gemini import FakeGemini, call, hangs, text

from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.verdict.outcome import Outcome
from agentjobs.worker.process.pool import ExecutorPool
from agentjobs.worker.process.stopping import Why
from processes import until
from worker_agents import write_modules
from worker_builders import attempt_spec_of, executor_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Stop:
    """Where a run is stopped, and why."""

    id: str
    why: Why
    tool: str = ""
    """Empty: while a model call is under way."""
    arguments: dict[str, Any] | None = None
    sealed: bool = False
    """ADK answers what is open: for ends that are meant to be ends."""


WAIT, BURN, DEAF = "wait_in_first_run", "burn_in_first_run", {"deaf": True}
STOPS = [
    Stop("a drain, in a tool", Why.DRAIN, WAIT),
    Stop("a suspend, in a tool", Why.SUSPEND, WAIT),
    Stop("a drain, in a tool that needs SIGTERM", Why.DRAIN, BURN),
    Stop("a timeout, in a tool that needs SIGKILL", Why.TIMEOUT, BURN, DEAF),
    Stop("a drain, in a model call", Why.DRAIN),
    Stop("a lease that is over, in a tool", Why.LEASE, WAIT),
    Stop("a lost job, in a tool", Why.LOST, WAIT),
    Stop("a lost job, in a model call", Why.LOST),
    Stop("too much memory, in a tool", Why.MEMORY, WAIT),
    Stop("a cancel, in a tool", Why.CANCEL, WAIT, sealed=True),
    Stop("a deadline, in a tool", Why.DEADLINE, WAIT, sealed=True),
    Stop("a cancel, in a model call", Why.CANCEL, sealed=True),
    Stop("a cancel, in a tool that needs SIGKILL", Why.CANCEL, BURN, DEAF),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def executors(
    database: str, model: FakeGemini, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ExecutorPool]:
    path = write_modules(tmp_path_factory.mktemp("modules"))
    modules = ("abuse", "talker")
    settings = executor_settings(
        path,
        agents=AgentSettings(modules=modules, preload=("abuse",), session_dsn=database),
        environment={**os.environ, **model.environ},
        stop_grace_seconds=0.5,
    )
    async with ExecutorPool(settings) as made:
        async with asyncio.timeout(60):
            await made.wait_ready()
        yield made


async def run(executors: ExecutorPool, spec: AttemptSpec) -> Outcome:
    executor = await executors.spawn(spec, lambda _: None)
    async with asyncio.timeout(60):
        ended = await executor.ended()
    assert ended.outcome is not None, ended
    return ended.outcome


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.id)
async def test_h27_the_next_run_and_the_next_job_go_on_after(
    executors: ExecutorPool, model: FakeGemini, tmp_path: Path, stop: Stop
) -> None:
    notes = tmp_path / "notes"
    spec = replace(attempt_spec_of("Book Rome.", "talker"), session_id=f"chat-{stop.id}")
    stopped_in = call(stop.tool, stop.arguments) if stop.tool else hangs()
    model.script(call("note", {"file": str(notes)}), stopped_in)
    before = len(model.requests)
    executor = await executors.spawn(spec, lambda _: None)
    # the third event is the call of the tool; without one, the second model call is under way
    await until(
        lambda: executor.event_count >= 3 if stop.tool else len(model.requests) >= before + 2,
        "the run is where it is to be stopped",
    )
    executor.stop(stop.why)
    async with asyncio.timeout(60):
        ended = await executor.ended()
    assert ended.why is stop.why

    # a sealed job is over: what follows is a new round of it (H21)
    follower = replace(spec, run=2, round=2 if stop.sealed else 1)
    again = [call(stop.tool)] if stop.tool and not stop.sealed else []
    model.script(*again, text("Booked."))
    assert (await run(executors, follower)).result == "Booked."
    assert model.requests[-1].user_messages == ["Book Rome."]
    assert len(notes.read_text().splitlines()) == 1, "a finished call is not repeated"

    model.script(text("Booked twice."))
    later = replace(attempt_spec_of("And Paris.", "talker"), session_id=spec.session_id)
    assert (await run(executors, later)).result == "Booked twice."
    assert model.requests[-1].user_messages == ["Book Rome.", "And Paris."]
    for request in model.requests[before:]:
        keeps_the_providers_rules(request.contents)


def keeps_the_providers_rules(contents: list[dict[str, Any]]) -> None:
    """Gemini answers 400 to a prompt in which calls and responses do not follow each other, one for one."""
    assert contents[0]["role"] == "user"
    open_calls: list[str] = []
    for content in contents:
        called = [part["functionCall"]["name"] for part in content["parts"] if "functionCall" in part]
        answered = [
            part["functionResponse"]["name"] for part in content["parts"] if "functionResponse" in part
        ]
        assert answered == open_calls, contents
        assert not called or content["role"] == "model"
        open_calls = called
    assert not open_calls, contents
