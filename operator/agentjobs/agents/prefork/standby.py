"""Standbys: what a forked executor prepares while it waits for its job.

It runs the model ``echo`` with a tool once, in memory, and so copies the pages and fills the caches that its
job's run needs. Measured: 120 page faults in that run instead of 950, and 8 ms of CPU less before the answer.
This run reaches no database and no network. Afterwards the standby opens the connection to the session store
that its job will use.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.verdict.errors import SessionStoreUnavailable

if TYPE_CHECKING:
    from google.adk.agents import LlmAgent

_SPEC = AttemptSpec(
    uid="00000000-0000-0000-0000-000000000000",
    namespace="agentjobs",
    name="standby",
    queue="standby",
    run=1,
    attempt=1,
    max_attempts=1,
    round=1,
    agent={"module": f"{__name__}:agent"},
    message='ready?\necho:call note {"text": "ready"}',
)


def note(text: str) -> str:
    """Returns the text."""
    return text


def agent() -> LlmAgent:
    """The agent of the run in memory. ``_SPEC`` names this function."""
    from google.adk.agents import LlmAgent

    return LlmAgent(name="standby", model="echo", instruction="Answer.", tools=[note])


async def prepare_standby(settings: AgentSettings) -> None:
    """Runs the agent above as an attempt, on sessions in memory, then connects to the session store.

    :raises RuntimeError: the run in memory ended without an answer.
    """
    from agentjobs.agents.run.attempt import run_attempt
    from agentjobs.agents.sessions.service import JobSessions, service_for

    own = replace(settings, session_dsn=None, modules=(__name__,), models=("echo",))
    outcome = await run_attempt(_SPEC, own, on_event=lambda _: None, abort=asyncio.Event())
    if outcome.result is None:
        raise RuntimeError(
            f"the run that prepares a standby ended without an answer: {outcome.reason}: {outcome.message}"
        )
    service = service_for(settings.session_dsn, settings.session_dsn_file)
    if isinstance(service, JobSessions):
        with suppress(SessionStoreUnavailable):  # the job's run connects again, and shows an error
            await service.connect()
