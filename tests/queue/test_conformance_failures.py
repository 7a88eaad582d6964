"""What a failure between two steps of an agent changes: nothing that lasts.

Agents of many shapes, in modules and in yaml files, each in a process of its own, whose provider fails, or which are killed, or drained, in turn at each of their model
calls. The next run ends as one that nothing happened to: the same state, files and answer; no finished tool is begun again but where ADK begins a part
anew, which docs/agents.md says.
"""

from __future__ import annotations

import asyncio
import json
import os
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import stateless_model
from conformance_agents import AGENTS, HEAD
from gemini import Answer, FakeGemini, Recorded, error, hangs
from runs import Job, module
from yaml_samples import SAMPLES, TOOLS, write_agent

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.sessions.artifacts import ArtifactLimits, PostgresArtifacts
from agentjobs.agents.sessions.service import JobSessions, forget_services, service_for
from agentjobs.agents.verdict.outcome import Verdict
from agentjobs.worker.process.ended import Ended
from agentjobs.worker.process.handle import ExecutorHandle
from agentjobs.worker.process.pool import ExecutorPool
from agentjobs.worker.process.stopping import Why
from processes import until
from worker_builders import executor_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

YAML = "yaml: "
"""What the names of agents begin with that are no modules."""
NAMES = [*AGENTS, *(f"{YAML}{name}" for name in SAMPLES)]
MODULES = {name: f"shape_{number:02}" for number, name in enumerate(NAMES)}
BEGUN_ANEW = {
    "AgentTool": "the conversation of an agent inside a tool lasts as long as the outer call",
    "a Workflow with an agent": "a node that has not finished starts anew",
    "callbacks": "an agent's before_agent_callback is called in each run that enters it",
}
"""Agents of which what they had begun may be called again, and why."""
NOTED = """
import json
class _Noted(list):
    def append(self, one):
        from agentjobs.agents.context import current_job
        with open({folder!r} + "/" + current_job().uid, "a") as file:
            file.write(json.dumps(one) + "\\n")
CALLS = _Noted()
"""


@dataclass
class Left:
    """What a job has left."""

    result: Any
    state: dict[str, Any]
    artifacts: dict[str, Any]
    calls: Counter[str]
    """How often each tool, node and callback was called, with what."""


@dataclass
class Shapes:
    """The agents, the processes that run them, their model and their database."""

    executors: ExecutorPool
    model: FakeGemini
    dsn: str
    notes: Path

    def job(self, name: str) -> Job:
        return Job(module(MODULES[name]), "Hello there.", dsn=self.dsn, user_id="u")

    async def begin(self, job: Job) -> ExecutorHandle:
        job.run += 1
        return await self.executors.spawn(job.spec(), lambda _: None)

    async def finish(self, job: Job) -> Left:
        """Lets the job's next run end, and looks at what is there."""
        self.model.rule = stateless_model.answer
        ended = await end_of(await self.begin(job))
        outcome = ended.outcome
        assert outcome is not None, ended
        assert outcome.verdict is Verdict.COMPLETE, outcome
        result = outcome.result or ""
        return Left(json.loads(result) if result.startswith("{") else result, *await self._kept(job))

    async def _kept(self, job: Job) -> tuple[dict[str, Any], dict[str, Any], Counter[str]]:
        service = service_for(self.dsn)
        assert isinstance(service, JobSessions)
        session = await service.get_session(**job.session_key)
        assert session is not None
        store, key = PostgresArtifacts(service, ArtifactLimits()), job.session_key
        artifacts = {
            name: (await store.load_artifact(**key, filename=name)).model_dump(mode="json")  # type: ignore[union-attr]
            for name in await store.list_artifact_keys(**key)
        }
        await service.release()
        notes = self.notes / job.uid
        calls = notes.read_text().splitlines() if notes.exists() else []
        return dict(session.state), artifacts, Counter(calls)


async def end_of(executor: ExecutorHandle) -> Ended:
    async with asyncio.timeout(60):
        return await executor.ended()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shapes(
    database: str, model: FakeGemini, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shapes]:
    folder, notes = tmp_path_factory.mktemp("shapes"), tmp_path_factory.mktemp("notes")
    noted = NOTED.format(folder=str(notes))
    head, tools = (text.replace("CALLS = []\n", noted) for text in (textwrap.dedent(HEAD), TOOLS))
    for name, file in MODULES.items():
        if name.startswith(YAML):
            write_agent(folder / file, SAMPLES[name.removeprefix(YAML)], tools)
        else:
            (folder / f"{file}.py").write_text(head + textwrap.dedent(AGENTS[name]))
    modules = tuple(MODULES.values())
    settings = executor_settings(
        str(folder),
        agents=AgentSettings(modules=modules, preload=modules[:1], session_dsn=database),
        environment={**os.environ, **model.environ},
        standbys=0,
    )
    forget_services()
    async with ExecutorPool(settings) as executors:
        async with asyncio.timeout(60):
            await executors.wait_ready()
        yield Shapes(executors, model, database, notes)
    forget_services()


async def provider_fails(shapes: Shapes, job: Job, place: int) -> None:
    shapes.model.rule = but_at(place, error(500))
    ended = await end_of(await shapes.begin(job))
    assert ended.outcome is not None, ended
    assert ended.outcome.reason == "ModelServerError", ended.outcome


async def killed(shapes: Shapes, job: Job, place: int) -> None:
    executor = await _hanging(shapes, job, place)
    executor.kill()
    assert (await end_of(executor)).outcome is None


async def drained(shapes: Shapes, job: Job, place: int) -> None:
    executor = await _hanging(shapes, job, place)
    executor.stop(Why.DRAIN)
    assert (await end_of(executor)).why is Why.DRAIN


async def _hanging(shapes: Shapes, job: Job, place: int) -> ExecutorHandle:
    """A run whose model does not answer the request of that number."""
    model = shapes.model
    model.rule, before = but_at(place, hangs()), len(model.requests)
    executor = await shapes.begin(job)
    await until(lambda: len(model.requests) > before + place, "the model is asked")
    return executor


def but_at(place: int, instead: Answer) -> Callable[[Recorded], Answer]:
    """What the model answers, but for its request of that number."""
    left = [place]

    def answer(asked: Recorded) -> Answer:
        left[0] -= 1
        return instead if left[0] == -1 else stateless_model.answer(asked)

    return answer


FAILURES = (provider_fails, killed, drained)


@pytest.mark.parametrize("name", NAMES)
async def test_the_next_run_ends_as_if_nothing_had_happened(shapes: Shapes, name: str) -> None:
    before, first = len(shapes.model.requests), NAMES.index(name)
    undisturbed = await shapes.finish(shapes.job(name))
    for place in range(len(shapes.model.requests) - before):
        job, failure = shapes.job(name), FAILURES[(first + place) % len(FAILURES)]
        await failure(shapes, job, place)
        left = await shapes.finish(job)
        where = f"{failure.__name__} at model call {place}"
        assert (left.result, left.state, left.artifacts) == (
            undisturbed.result, undisturbed.state, undisturbed.artifacts
        ), where  # fmt: skip
        if name.removeprefix(YAML) in BEGUN_ANEW:
            assert set(left.calls) == set(undisturbed.calls), where
        else:
            assert left.calls == undisturbed.calls, where
