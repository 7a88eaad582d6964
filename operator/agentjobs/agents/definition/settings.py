"""Agent settings: what a worker pool allows and grants. Imports nothing of ADK: the supervisor reads them too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What a worker pool allows and grants. The same for all its jobs."""

    modules: tuple[str, ...] = ()
    """Allowed module prefixes (``my_agents`` allows ``my_agents`` and ``my_agents.x``). Empty allows none."""
    models: tuple[str, ...] = ("echo",)
    """Allowed models of inline agents, as shell-style patterns (``gemini-*``, ``openai/*``)."""
    preload: tuple[str, ...] = ()
    """Modules imported once in the template."""
    session_dsn: str | None = None
    """Where ADK keeps sessions (schema ``adk``), as a libpq URL; None: in memory, for tests and benches."""
    session_dsn_file: str | None = None
    """A file that holds it, read at each connect: a rotated password is taken up by runs that have begun."""
    model_timeout_seconds: int = 300
    """Per model call."""
    pool: str = "default"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AgentSettings:
        return cls(**{**value, **{k: tuple(value.get(k, ())) for k in ("modules", "models", "preload")}})
