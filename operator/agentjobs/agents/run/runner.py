"""ADK's runner of a run: its services, and the plugins by which the executor counts and hears."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from agentjobs.agents.definition.resolve import Resolved
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.run.budget import GatePlugin, Meter, MeterPlugin
from agentjobs.agents.run.call_ids import CallIdsPlugin
from agentjobs.agents.run.compaction import metered
from agentjobs.agents.run.conversation import Conversation
from agentjobs.agents.run.resumable import is_sequence
from agentjobs.agents.run.steps import Steps
from agentjobs.agents.run.stored_answers import StoredAnswersPlugin

if TYPE_CHECKING:
    from google.adk.agents import BaseAgent
    from google.adk.runners import Runner
    from google.adk.sessions import Session

CLOSE_SECONDS = 10
"""Time that toolsets and plugins have to close after a run. Those that take longer end with the process."""

log = logging.getLogger(__name__)


def runner_of(
    agent: Resolved, conversation: Conversation, meter: Meter, settings: AgentSettings, steps: Steps
) -> Runner:
    """The runner of ``agent``, with the session of ``conversation`` and the plugins of ``meter``."""
    from google.adk.apps import App
    from google.adk.runners import Runner

    # model_construct, since App's validation forbids the / in our app names. Nothing else in ADK does.
    app = agent.app or App.model_construct(name=conversation.app_name, root_agent=agent.root, plugins=[])
    app = app.model_copy(
        update={
            "root_agent": agent.root,
            "plugins": [
                MeterPlugin(meter, steps),
                CallIdsPlugin(conversation.call_ids),
                StoredAnswersPlugin(conversation.history),
                *app.plugins,
                GatePlugin(meter, settings.model_timeout_seconds),
            ],
            # Resumability is off, whatever the author's App says. With it, a retry after a tool's error
            # ends in an empty "success", and sequential roots refuse the invocation id by which a retry
            # continues.
            "resumability_config": None,
        }
    )
    # ADK's own runner would run only the step of a sequence that asked, and leave out the steps after it
    kind = _runner_from_the_root() if is_sequence(agent.root) else Runner
    return kind(
        app=metered(app, meter, settings.model_timeout_seconds * 1000),
        app_name=conversation.app_name,  # with our namespace, never the agent's own name (H18)
        session_service=conversation.service,
        artifact_service=conversation.artifacts,
        memory_service=conversation.memory,
        credential_service=conversation.credentials,
    )


def _runner_from_the_root() -> type[Runner]:
    """A runner that begins at the root agent. ADK's own hands an answer only to the agent that asked."""
    from google.adk.runners import Runner

    class RunnerFromTheRoot(Runner):
        def _find_agent_to_run(self, session: Session, root_agent: BaseAgent) -> BaseAgent:
            return root_agent

    return RunnerFromTheRoot


async def close(runner: Runner) -> None:
    """Closes the agent's toolsets and plugins. An error is logged: the run is over and keeps its outcome."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await runner.close()
    except Exception:
        log.warning("a toolset or plugin of the agent did not close", exc_info=True)
