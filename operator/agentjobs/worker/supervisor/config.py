"""What a worker is told. The command line makes it from its settings; tests make it by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.dsn import Dsn, current
from agentjobs.queue import numbers
from agentjobs.telemetry.tracing import SECRETS
from agentjobs.values.names import is_dns_label


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Raises ValueError, naming field and value, for what cannot work."""

    dsn: Dsn = field(repr=False)
    """The queue's database; never shown to an executor."""
    queues: Mapping[str, int]
    """Slots by queue: how many of its jobs run here at once."""
    settings: AgentSettings = field(repr=False)
    direct_dsn: Dsn | None = field(default=None, repr=False)
    """The same database without a pooler, for LISTEN; None: ``dsn``."""
    name: str = "worker"
    """Shown in statuses and logs: the pod's name."""
    pool: str = "default"
    drain_seconds: float = 300.0
    """After the first SIGTERM: how long running jobs may take to finish by themselves."""
    stop_grace_seconds: float = 5.0
    """The unit of the stopping ladders (H27): the longest takes two of it."""
    poll_seconds: float = numbers.POLL_SECONDS
    """How long a lost notification can delay work."""
    health_port: int | None = None
    """None: no health endpoint. 0: any free port."""
    health_host: str = "0.0.0.0"
    model_health: bool = True
    """False: no breakers (docs/model-health.md); a refused key fails its job at once. For runs that somebody watches."""
    memory_limit_mib: int | None = None
    """Per running job; None: no limit."""
    standbys: int = 1
    path: tuple[str, ...] = ()
    """Put before sys.path in the template: where the pool's modules are."""
    signal_modules: tuple[str, ...] = ()
    """Imported in the supervisor; they subscribe to signals. They must not import google-adk."""
    own_process: bool = True
    """True: this process is the worker alone: SIGTERM and SIGINT drain it, and other processes of its user
    cannot read its memory. False inside a bigger program, which calls ``Worker.drain`` itself."""
    version: str = ""
    heartbeat_seconds: float = numbers.HEARTBEAT_SECONDS
    expiry_seconds: float = numbers.EXPIRY_SECONDS
    lease_grace_seconds: float = 120.0
    """How long runs wait for a heartbeat that gets through, after ``expiry_seconds`` without one (H13). Longer than
    a failover of Postgres takes: runs that end for it begin again elsewhere."""
    tick_seconds: float = numbers.TICK_SECONDS

    def __post_init__(self) -> None:
        if not self.queues:
            raise ValueError("queues is empty; name at least one queue with its slots")
        for queue, slots in self.queues.items():
            if not is_dns_label(queue):
                raise ValueError(f"queues: {queue!r} is not a DNS label (a-z, 0-9 and '-', at most 63)")
            if not 1 <= slots <= 1000:
                raise ValueError(f"queues: {queue} has {slots} slots; 1 to 1000 are possible")
        if not 0 <= self.standbys <= 2:
            raise ValueError(f"standbys is {self.standbys}; it must be 0, 1 or 2")
        for name in ("stop_grace_seconds", "poll_seconds", "heartbeat_seconds", "tick_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; more than 0 is wanted")
        if self.lease_grace_seconds < 0:
            raise ValueError(f"lease_grace_seconds is {self.lease_grace_seconds}; 0 or more is wanted")
        if self.expiry_seconds < 2 * self.heartbeat_seconds:
            raise ValueError(
                f"expiry_seconds is {self.expiry_seconds}; at least twice heartbeat_seconds"
                f" ({self.heartbeat_seconds}) is wanted, or a late beat would be a death"
            )


def executor_environment(environment: Mapping[str, str], config: WorkerConfig) -> dict[str, str]:
    """What of the worker's environment executors may see: all but our own settings, the queue's secrets, and what only
    the supervisor needs, which alone talks to the collector of traces.

    The session store's DSN, which executors are granted, goes another way (through the control socket).
    """
    given = [current(dsn) for dsn in (config.dsn, config.direct_dsn) if dsn]
    secrets = [_Secret(dsn, _password(dsn)) for dsn in given]
    return {
        key: value
        for key, value in environment.items()
        if not key.startswith("AGENTJOBS_")
        and key not in SECRETS
        and not any(secret.shown_in(value) for secret in secrets)
    }


@dataclass(frozen=True, slots=True)
class _Secret:
    dsn: str
    password: str

    def shown_in(self, value: str) -> bool:
        """A password counts where it stands alone or in a URL: as a mere part of a word it may be innocent."""
        if self.dsn in value:
            return True
        written = {self.password, unquote(self.password)} - {""}
        return any(value == p or f":{p}@" in value or f"password={p}" in value for p in written)


def _password(dsn: str) -> str:
    if "://" in dsn:
        return urlsplit(dsn).password or ""
    match = re.search(r"\bpassword\s*=\s*('(?:[^'\\]|\\.)*'|\S+)", dsn)
    return match[1].strip("'") if match else ""
