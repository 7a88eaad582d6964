"""Builders for attempts: a job that can be run again and again, as the queue would."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any, TypedDict

from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.verdict.outcome import AgentEvent, Outcome
from agentjobs.values.usage import Usage

ECHO: dict[str, Any] = {"inline": {"type": "llm", "name": "agent", "model": "echo", "instruction": "Answer."}}
GEMINI: dict[str, Any] = {
    "inline": {"type": "llm", "name": "agent", "model": "gemini-2.5-flash", "instruction": "Answer."}
}


def module(name: str) -> dict[str, Any]:
    return {"module": name}


class SessionKey(TypedDict):
    """A session, as ADK's services take it."""

    app_name: str
    user_id: str
    session_id: str


class Job:
    """One job. Each :meth:`attempt` is the next run of it."""

    def __init__(
        self,
        agent: Mapping[str, Any] = ECHO,
        message: str = "hello",
        *,
        dsn: str | None = None,
        modules: tuple[str, ...] = (),
        models: tuple[str, ...] = ("echo", "gemini-*"),
        model_timeout_seconds: int = 300,
        tool_threads: int = 0,
        **fields: Any,
    ) -> None:
        self.uid = str(uuid.uuid4())
        self.fields: dict[str, Any] = {"agent": agent, "message": message, "namespace": "team-a", **fields}
        self.settings = AgentSettings(
            modules=modules,
            models=models,
            session_dsn=dsn,
            model_timeout_seconds=model_timeout_seconds,
            tool_threads=tool_threads,
        )
        self.run = 0
        self.round = 1
        self.events: list[AgentEvent] = []
        """Of the last attempt."""
        self.abort = asyncio.Event()
        self.spent = Usage()

    def spec(self) -> AttemptSpec:
        return AttemptSpec(
            **{
                "uid": self.uid,
                "name": "job",
                "queue": "agents",
                "run": self.run,
                "attempt": self.run,
                "max_attempts": 9,
                "round": self.round,
                "spent": self.spent,
                **self.fields,
            }
        )

    async def attempt(self) -> Outcome:
        """The next run."""
        from agentjobs.agents.run.attempt import run_attempt

        self.run += 1
        self.events = []
        self.abort = asyncio.Event()
        outcome = await run_attempt(self.spec(), self.settings, on_event=self.events.append, abort=self.abort)
        self.spent = self.spent.plus(outcome.usage)
        return outcome

    @property
    def session_key(self) -> SessionKey:
        return SessionKey(
            app_name=f"{self.fields['namespace']}/{self.fields.get('app_name', 'agentjobs')}",
            user_id=self.fields.get("user_id", "system"),
            session_id=self.fields.get("session_id") or f"job-{self.uid}",
        )

    async def stored(self) -> list[Any]:
        """The events in its session."""
        from agentjobs.agents.sessions.service import JobSessions, service_for

        service = service_for(self.settings.session_dsn)
        session = await service.get_session(**self.session_key)
        if isinstance(service, JobSessions):
            await service.release()
        return [] if session is None else session.events


async def until(condition: Any, seconds: float = 120.0) -> None:
    """Waits for ``condition()`` with a deadline: a first attempt imports ADK, for a minute on a busy machine."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110, what is waited for knows no event
            await asyncio.sleep(0.005)
