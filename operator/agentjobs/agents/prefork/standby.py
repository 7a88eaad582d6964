"""What a process does that was just forked and waits for its job.

One whole run in memory, with a tool: it copies the pages and fills the caches that the real run would have to
(measured: 120 page faults in the run instead of 950, and 8 ms of CPU less before the answer). Nothing of it reaches a
database or a network. Then the connection to the session store, which the run will find open.
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
    name="touch",
    queue="touch",
    run=1,
    attempt=1,
    max_attempts=1,
    round=1,
    agent={"module": f"{__name__}:agent"},
    message='touch\necho:call note {"text": "touched"}',
)


def note(text: str) -> str:
    """Says the text."""
    return text


def agent() -> LlmAgent:
    from google.adk.agents import LlmAgent

    return LlmAgent(name="touch", model="echo", instruction="Answer.", tools=[note])


async def touch(settings: AgentSettings) -> None:
    """Runs ``echo`` as an attempt does, on sessions in memory, and connects to the session store."""
    from agentjobs.agents.run.attempt import run_attempt
    from agentjobs.agents.sessions.service import JobSessions, service_for

    own = replace(settings, session_dsn=None, modules=(__name__,), models=("echo",))
    outcome = await run_attempt(_SPEC, own, on_event=lambda _: None, abort=asyncio.Event())
    if outcome.result is None:
        raise RuntimeError(f"the touch ended without an answer: {outcome.reason}: {outcome.message}")
    service = service_for(settings.session_dsn, settings.session_dsn_file)
    if isinstance(service, JobSessions):
        with suppress(SessionStoreUnavailable):  # the run connects itself then, and says what is wrong
            await service.connect()
