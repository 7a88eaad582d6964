"""What runs under ADK runs here: agents of many shapes by ADK's Runner and by ours, against the same model.

Requests, events, state, artifacts, what tools did, and the answer are the same.
"""

from __future__ import annotations

import base64
import importlib
import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import stateless_model
from agent_modules import Write, write_module
from conformance_agents import AGENTS, HEAD
from gemini import FakeGemini, gemini
from runs import Job, module
from yaml_samples import SAMPLES, write_agent

from agentjobs.agents.run.history import MARKER
from agentjobs.agents.sessions.artifacts import ArtifactLimits, PostgresArtifacts
from agentjobs.agents.sessions.service import JobSessions, service_for
from agentjobs.agents.verdict.outcome import Outcome, Verdict

__all__ = ["gemini", "write_module"]

MESSAGE = "Hello there."
YAML = "yaml: "
"""What the names of agents begin with that are no modules."""
NAMES = [*AGENTS, *(f"{YAML}{name}" for name in SAMPLES)]
UNORDERED = frozenset(
    {"ParallelAgent", f"{YAML}ParallelAgent", "parallel, then one", "a Workflow that joins"}
)
"""Agents whose steps run side by side: in which order they ask and speak is chance."""


@dataclass
class Seen:
    """What a run left."""

    requests: list[Any]
    events: list[Any]
    state: dict[str, Any]
    artifacts: dict[str, list[Any]]
    calls: list[Any]
    answers: dict[str, str] = field(default_factory=dict)
    """The last words of each author, the latest last."""


@pytest.fixture(autouse=True)
def _a_model_of_its_own(gemini: FakeGemini, own_process: None) -> None:
    gemini.rule = stateless_model.answer


def write(write_module: Write, folder: Path, name: str) -> None:
    """Writes the agent as the module ``folder``, or as a folder with a yaml file."""
    if name.startswith(YAML):
        write_agent(folder, SAMPLES[name.removeprefix(YAML)])
        importlib.invalidate_caches()
    else:
        write_module(folder.name, textwrap.dedent(HEAD) + AGENTS[name])


def calls_of(folder: Path, name: str) -> list[Any]:
    return list(
        importlib.import_module(f"{folder.name}.tools" if name.startswith(YAML) else folder.name).CALLS
    )


def words(event: Any) -> str:
    """What an event says to people."""
    parts = event.content.parts or [] if event.content else []
    spoken = "".join(part.text for part in parts if part.text and not part.thought)
    if event.actions.skip_summarization:  # the tool's result is the answer
        spoken = spoken or "".join(one.response.get("result") or "" for one in event.get_function_responses())
    output = getattr(event, "output", None)
    return spoken or (output if isinstance(output, str) else "")


def plain(event: Any) -> Any:
    """An event without ids and times."""
    parts = event.content.parts or [] if event.content else []
    actions = event.actions
    return (
        event.author,
        [part.model_dump(mode="json", exclude_none=True, exclude={"function_call": {"id"}, "function_response": {"id"}}) for part in parts],
        {key: value for key, value in actions.state_delta.items() if not key.startswith("temp:")},
        dict(actions.artifact_delta),
        actions.transfer_to_agent,
        bool(actions.escalate),
        bool(actions.skip_summarization),
    )  # fmt: skip


def told(events: Sequence[Any]) -> list[Any]:
    """The events of agents that say or do something."""
    return [
        one
        for one in map(plain, (event for event in events if event.author not in ("user", MARKER)))
        if any(one[1:])
    ]


def answers_in(events: Sequence[Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for event in events:
        if event.author not in ("user", MARKER) and (said := words(event)):
            found.pop(event.author, None)
            found[event.author] = said
    return found


async def artifacts_in(service: Any, key: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name in await service.list_artifact_keys(**key):
        parts = [
            await service.load_artifact(**key, filename=name, version=version)
            for version in await service.list_versions(**key, filename=name)
        ]
        found[name] = [
            part.text
            if part.inline_data is None
            else (part.inline_data.mime_type, base64.b64encode(part.inline_data.data))
            for part in parts
        ]
    return found


async def by_adk(folder: Path, gemini: FakeGemini, name: str) -> Seen:
    """A run as `adk run` makes it."""
    from google.adk.apps import App
    from google.adk.artifacts import InMemoryArtifactService
    from google.adk.auth.credential_service.in_memory_credential_service import InMemoryCredentialService
    from google.adk.cli.utils.agent_loader import AgentLoader
    from google.adk.memory import InMemoryMemoryService
    from google.adk.runners import Runner
    from google.adk.sessions import InMemorySessionService
    from google.genai import types

    loaded = AgentLoader(str(folder.parent)).load_agent(folder.name)
    app = loaded if isinstance(loaded, App) else App.model_construct(name="a", root_agent=loaded, plugins=[])
    sessions, artifacts = InMemorySessionService(), InMemoryArtifactService()
    key: Any = {"app_name": "a", "user_id": "u", "session_id": "s"}
    await sessions.create_session(**key)
    runner = Runner(
        app=app, app_name="a", session_service=sessions, artifact_service=artifacts,
        memory_service=InMemoryMemoryService(), credential_service=InMemoryCredentialService(),
    )  # fmt: skip
    message = types.UserContent(parts=[types.Part(text=MESSAGE)])
    async for _ in runner.run_async(user_id="u", session_id="s", new_message=message):
        pass
    await runner.close()
    session = await sessions.get_session(**key)
    assert session is not None
    requests = [request.body for request in gemini.requests]
    gemini.requests.clear()
    return Seen(
        requests, told(session.events), dict(session.state), await artifacts_in(artifacts, key), calls_of(folder, name), answers_in(session.events)
    )  # fmt: skip


async def by_us(run: Job, folder: Path, gemini: FakeGemini, name: str) -> Seen:
    """What is there after the job's last run."""
    service = service_for(run.settings.session_dsn)
    assert isinstance(service, JobSessions)
    session = await service.get_session(**run.session_key)
    assert session is not None
    artifacts = PostgresArtifacts(service, ArtifactLimits())
    seen = Seen(
        [request.body for request in gemini.requests],
        told(session.events),
        dict(session.state),
        await artifacts_in(artifacts, run.session_key),
        calls_of(folder, name),
        answers_in(session.events),
    )
    await service.release()
    return seen


def the_answer(outcome: Outcome, theirs: Seen, name: str) -> bool:
    """Whether the result is what ADK's events end with: the last words, or each end's."""
    result = outcome.result or ""
    if name.endswith("ParallelAgent"):
        return bool(json.loads(result) == theirs.answers)
    return result == list(theirs.answers.values())[-1]


def in_order(values: list[Any], name: str) -> list[Any]:
    """The values, in an order that is no chance."""
    return sorted(values, key=_as_text) if name in UNORDERED else values


def asked(requests: list[Any], name: str) -> list[Any]:
    """The requests, in an order that is no chance; so is what they tell of agents that ran side by side."""
    return in_order([{**one, "contents": in_order(one["contents"], name)} for one in requests], name)


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


@pytest.mark.parametrize("name", NAMES)
async def test_it_runs_as_under_adks_own_runner(
    dsn: str, gemini: FakeGemini, write_module: Write, tmp_path: Path, name: str
) -> None:
    write(write_module, tmp_path / "theirs", name)
    theirs = await by_adk(tmp_path / "theirs", gemini, name)
    write(write_module, tmp_path / "ours", name)
    run = Job(module("ours"), MESSAGE, modules=("ours",), dsn=dsn, user_id="u")
    outcome = await run.attempt()
    ours = await by_us(run, tmp_path / "ours", gemini, name)

    assert outcome.verdict is Verdict.COMPLETE, outcome
    assert asked(ours.requests, name) == asked(theirs.requests, name)
    assert in_order(ours.events, name) == in_order(theirs.events, name)
    assert ours.state == theirs.state
    assert ours.artifacts == theirs.artifacts
    assert in_order(ours.calls, name) == in_order(theirs.calls, name)
    assert the_answer(outcome, theirs, name), (outcome.result, theirs.answers)
