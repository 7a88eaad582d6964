"""Agent settings: what a worker pool allows its jobs, and what it gives them.

The supervisor sends them to the template, and imports this module: so it imports nothing of ADK.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SERVICES_FILES = ("services.yaml", "services.yml")
"""Files beside the agents that add schemes to services by URI. Both are read, in this order, as ADK reads them; then the module:"""
SERVICES_MODULE = "services"


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """The settings of a worker pool that its executors need. They are the same for all its jobs."""

    modules: tuple[str, ...] = ()
    """Allowed modules with their submodules: ``my_agents`` also allows ``my_agents.x``. Empty allows none."""
    models: tuple[str, ...] = ("echo",)
    """Allowed models of inline agents, as shell-style patterns (``gemini-*``, ``openai/*``)."""
    preload: tuple[str, ...] = ()
    """Modules that the template imports once, before it forks executors."""
    session_dsn: str | None = None
    """URL of the database with ADK's sessions (schema ``adk``). None: in memory, for tests and benchmarks."""
    session_dsn_file: str | None = None
    """A file with that URL, read at each connect, so that a running job takes up a rotated password."""
    model_timeout_seconds: int = 300
    """The longest that one model call may take."""
    tool_threads: int = 0
    """Threads for a run's synchronous tools. 0: they run on the loop's thread one after the other, as ADK does it."""
    artifact_limit_mib: int = 10
    """The most that one version of one artifact may take, in MiB."""
    session_artifacts_limit_mib: int = 100
    """The most that all versions of a session's artifacts may take together, in MiB."""
    artifact_service_uri: str | None = field(default=None, repr=False)
    """Where artifacts are kept, as ADK's ``--artifact_service_uri``. None: in the session store. It may hold a secret."""
    memory_service_uri: str | None = field(default=None, repr=False)
    """Where memories are kept, as ADK's ``--memory_service_uri``. None: in the session store. It may hold a secret."""
    services_folder: str | None = None
    """The folder of ``services.yaml`` and ``services.py``, for services by URI. None: there is neither."""
    credential_key_file: str | None = None
    """A file with the keys that seal credentials of users. None: a credential lasts for one run."""
    tracebacks: bool = False
    """Whether the traceback of an error is printed whole: its source lines and other errors' texts may hold anything."""
    pool: str = "default"
    """The pool's name, for error messages."""
    local: bool = False
    """True: the run is one of ``agentjobs local``, where error messages speak of no image, pool and chart."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AgentSettings:
        return cls(**{**value, **{k: tuple(value.get(k, ())) for k in ("modules", "models", "preload")}})
