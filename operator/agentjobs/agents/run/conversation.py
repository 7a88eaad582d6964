"""The conversation of an attempt: the executor opens its session, fences it, and reads its history."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.adk.events.event import Event
from google.genai import types

from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.definition.resolve import Resolved
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.lease_gate import wait_for_lease
from agentjobs.agents.run import given_files
from agentjobs.agents.run.call_ids import call_ids_of
from agentjobs.agents.run.continuation import FINISHED
from agentjobs.agents.run.events import AnswerFile
from agentjobs.agents.run.history import MARKER, answers_apart, visible
from agentjobs.agents.run.invocation import choose, has_spoken
from agentjobs.agents.sessions.fence import Fence, holding
from agentjobs.agents.sessions.service import (
    JobSessions,
    artifacts_of,
    artifacts_place,
    credentials_of,
    memory_of,
    service_for,
)
from agentjobs.agents.sessions.told_artifacts import ToldArtifacts
from agentjobs.agents.sessions.view import SessionView
from agentjobs.values.input_file import InputFile
from agentjobs.values.names import own_session
from agentjobs.values.saved_file import SavedFile

if TYPE_CHECKING:
    from google.adk.artifacts import BaseArtifactService
    from google.adk.auth.credential_service.base_credential_service import BaseCredentialService
    from google.adk.memory import BaseMemoryService
    from google.adk.sessions import BaseSessionService, Session
    from google.adk.workflow import BaseNode


@dataclass(frozen=True, slots=True)
class Conversation:
    """The session of an attempt, and the invocation under which the attempt writes to it."""

    service: BaseSessionService
    """The store as ADK sees it: without what leads nowhere in the history (``history.visible``)."""
    artifacts: BaseArtifactService
    """The files that the session's agents have saved, and those of its user."""
    memory: BaseMemoryService
    """What agents have kept of earlier sessions of the user."""
    credentials: BaseCredentialService
    """The credentials that tools have got for the user."""
    app_name: str
    """``<namespace>/<appName>``, so that two namespaces never share a session (H18)."""
    user_id: str
    session_id: str
    invocation_id: str
    history: Sequence[Event]
    """Events that earlier runs of this invocation stored and that lead somewhere, oldest first."""
    call_ids: frozenset[str]
    """The ids of all function calls in the session."""
    state: Mapping[str, Any]
    """What the session's state gets with the message: nothing, once a run of the job has spoken."""
    files: Sequence[InputFile]
    """What comes with the message: nothing in an invocation that begins after a run of the job has spoken."""
    single_step: bool
    """Whether the agent ends with its first final event."""
    marks_its_end: bool
    """Whether the end of this agent's run needs a mark in the session: see ``finish``."""
    lasts: bool
    """Whether the session outlives this process, so that a later run can go on with it."""

    async def finish(self) -> None:
        """Marks the invocation as ended if its last event does not tell that.

        For example, the first step of a sequence gives a final event. If the run dies after that step, the
        invocation would look ended. A lone LLM agent ends with its final event, so its invocation needs no
        mark, unless a callback or a plugin does something after that event.
        """
        if not self.marks_its_end:
            return
        session = await self.service.get_session(
            app_name=self.app_name, user_id=self.user_id, session_id=self.session_id
        )
        if session is not None:
            mark = Event(author=MARKER, invocation_id=self.invocation_id, custom_metadata={FINISHED: True})
            await self.service.append_event(session, mark)

    async def keep(self, file: AnswerFile) -> None:
        """Saves a file of the answer as an artifact, unless an earlier run has.

        :raises ArtifactRefused: the pool's limits have no room for it.
        """
        key: dict[str, Any] = {
            "app_name": self.app_name,
            "user_id": self.user_id,
            "session_id": self.session_id,
        }
        if not await self.artifacts.list_versions(**key, filename=file.name):
            part = types.Part(inline_data=types.Blob(mime_type=file.mime_type, data=file.data))
            await self.artifacts.save_artifact(**key, filename=file.name, artifact=part)


@asynccontextmanager
async def open_conversation(
    spec: AttemptSpec,
    settings: AgentSettings,
    agent: Resolved,
    on_file: Callable[[SavedFile], None] = lambda _: None,
) -> AsyncIterator[Conversation]:
    """Opens the conversation of ``spec``, and fences its session for this run until the end of the block.

    A session that is missing is created. Files that the job is given are saved as artifacts before its first message.

    :param on_file: called with each file that is saved or deleted.
    :raises SessionStoreUnavailable: the store cannot be reached.
    :raises SessionFenced: a later run has the session.
    :raises ArtifactRefused: the pool's limits have no room for a file that the job is given.
    :raises InputGone: a file of an earlier job is no more there.
    """
    service = service_for(settings.session_dsn, settings.session_dsn_file)
    app_name = f"{spec.namespace}/{spec.app_name}"
    session_id = spec.session_id or own_session(spec.uid)
    token = None
    try:
        if isinstance(service, JobSessions):
            await wait_for_lease()
            fence = Fence(app_name, spec.user_id, session_id, job=spec.uid, run=spec.run, claim=spec.claim)
            session = await service.open(fence)
            token = holding.set(fence)
        else:
            session = await _session(service, app_name, spec.user_id, session_id)
        # a summary of ADK's has an invocation id of its own, and nobody spoke in it
        spoken = [event.invocation_id for event in session.events if not event.actions.compaction]
        invocation_id = choose(spec.uid, spec.round, spoken)
        seen = visible(session.events, invocation_id, agent.root, spec.answers)
        history = [event for event in seen if event.invocation_id == invocation_id]
        first = not has_spoken(spec.uid, spoken)
        artifacts = artifacts_of(service, settings)
        files: Sequence[InputFile] = ()
        if spec.inputs and (first or invocation_id in spoken):
            files = await given_files.loaded([InputFile.from_json(one) for one in spec.inputs], artifacts)
        if first and files:
            # not told: the status names what the job has made
            key = {"app_name": app_name, "user_id": spec.user_id, "session_id": session_id}
            await given_files.save(given_files.to_save(files, agent), artifacts, key, spec.uid)
        single_step = ends_with_its_final_event(agent.root)
        yield Conversation(
            service=SessionView(
                service,
                lambda events: visible(events, invocation_id, agent.root, spec.answers),
                answers_apart,
            ),
            artifacts=ToldArtifacts(artifacts, on_file, artifacts_place(settings)),
            memory=memory_of(service, settings),
            credentials=credentials_of(service, app_name, settings.credential_key_file),
            app_name=app_name,
            user_id=spec.user_id,
            session_id=session_id,
            invocation_id=invocation_id,
            history=history,
            call_ids=call_ids_of(session.events),
            state=spec.state if first else {},
            files=files,
            single_step=single_step,
            marks_its_end=not single_step or acts_after_its_answer(agent),
            lasts=isinstance(service, JobSessions),
        )
    finally:
        if token is not None:
            holding.reset(token)
        if isinstance(service, JobSessions):
            await service.release()


async def _session(service: BaseSessionService, app_name: str, user_id: str, session_id: str) -> Session:
    """The session of this key in memory, created where it is missing.

    ADK can create sessions on demand, but fails where two runs do so at the same time.
    """
    found = await service.get_session(app_name=app_name, user_id=user_id, session_id=session_id)
    if found is not None:
        return found
    return await service.create_session(app_name=app_name, user_id=user_id, session_id=session_id)


def ends_with_its_final_event(root: BaseNode) -> bool:
    """Whether a final event of ``root`` is its end: true for a lone LLM agent.

    An agent with steps or sub-agents also writes the final events of those.
    """
    from google.adk.agents import LlmAgent
    from google.adk.tools.base_tool import BaseTool
    from google.adk.workflow import BaseNode

    if not isinstance(root, LlmAgent) or root.sub_agents or root.mode not in (None, "chat"):
        return False
    return not any(
        isinstance(tool, BaseNode) or (isinstance(tool, BaseTool) and hasattr(tool, "node"))
        for tool in root.tools
    )


def acts_after_its_answer(agent: Resolved) -> bool:
    """Whether something of the author's may follow the agent's final event: a callback or a plugin."""
    return bool(getattr(agent.root, "after_agent_callback", None) or (agent.app and agent.app.plugins))
