"""The template's warm-up: runs of ``echo`` before the fork, so that executors inherit what they prepare.

Executors inherit imported modules, ADK's lazily loaded parts, and the knowledge that the session tables exist
in which version. They must not inherit connections, event loops and threads. So the warm-up runs only the
model ``echo`` (a Gemini client would leave connections of a closed loop), calls its tool outside of ADK's
tool threads, and closes its connection to the session store. Runs in the template.
"""

from __future__ import annotations

import asyncio
import os
import uuid

from google.adk.agents import LlmAgent
from google.adk.apps import App
from google.adk.artifacts import InMemoryArtifactService
from google.adk.memory import InMemoryMemoryService
from google.adk.runners import Runner
from google.adk.sessions import BaseSessionService
from google.genai import types

from agentjobs.agents.definition import echo
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.prefork import caches
from agentjobs.agents.prefork.imports import thread_count
from agentjobs.agents.run import attempt
from agentjobs.agents.run.budget import Budget, GatePlugin, Meter, MeterPlugin
from agentjobs.agents.run.events import ending_of, seen
from agentjobs.agents.sessions.service import JobSessions, service_for
from agentjobs.agents.verdict.errors import AgentError
from agentjobs.telemetry import relay, tracing
from agentjobs.values.setting_names import both_names

APP = "agentjobs/warm-up"
RUNS = 2
"""Number of runs: the second one compiles what the first one only prepares."""


def warm_template(settings: AgentSettings) -> list[str]:
    """Runs ``echo`` with a tool: in memory and, if the pool has one, in the session store.

    :returns: warnings. For example, the session store is down: then each executor pays for its own first
        statements, or its job waits for the store (SessionStoreUnavailable).
    """
    attempt.quiet()
    echo.register()
    caches.remember_missing_import()
    caches.fill_tool_declarations(settings)
    if tracing.asked_for(os.environ):
        relay.warm()
    warnings = asyncio.run(_warm(settings))
    if (count := thread_count()) != 1:
        warnings.append(
            f"after the warm-up the template has {count} threads instead of 1: executors forked from it may hang. "
            f"Remove the modules of preload ({both_names('preload', pool=settings.pool)}) one by one to find the one that "
            f"starts them."
        )
    return warnings


async def _warm(settings: AgentSettings) -> list[str]:
    for _ in range(RUNS):
        await _run(service_for(None))
    if settings.session_dsn is None:
        return []
    try:
        service = service_for(settings.session_dsn, settings.session_dsn_file)
    except ValueError as error:
        return [str(error)]
    assert isinstance(service, JobSessions)
    try:
        await service.prepare()
        for _ in range(RUNS):
            await _run(service)
    except AgentError as error:
        return [f"the session store could not be warmed up: {error}"]
    finally:
        await service.release()
    return []


async def _run(service: BaseSessionService) -> None:
    """Runs the agent as an attempt does, but without ADK's tool threads, which would stay in the template."""

    def tool(word: str) -> str:
        """Returns the word."""
        return word

    meter = Meter(Budget())
    session_id = f"warm-{uuid.uuid4()}"
    user_id = "system"
    agent = LlmAgent(name="warm_up", model="echo", instruction="Answer.", tools=[tool])
    app = App.model_construct(name=APP, root_agent=agent, plugins=[MeterPlugin(meter), GatePlugin(meter, 1)])
    runner = Runner(
        app=app,
        app_name=APP,
        session_service=service,
        artifact_service=InMemoryArtifactService(),
        memory_service=InMemoryMemoryService(),
    )
    await service.create_session(app_name=APP, user_id=user_id, session_id=session_id)
    events = [
        event
        async for event in runner.run_async(
            user_id=user_id,
            session_id=session_id,
            invocation_id=session_id,
            new_message=types.UserContent(parts=[types.Part(text='echo:call tool {"word": "warm"}')]),
        )
    ]
    list(map(seen, events))
    ending_of(events)
    await service.get_session(app_name=APP, user_id=user_id, session_id=session_id)
    await service.delete_session(app_name=APP, user_id=user_id, session_id=session_id)
    await runner.close()
