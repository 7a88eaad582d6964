"""The configuration of one worker. The command line makes it from its settings, tests make it by hand."""

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
    """The configuration of one worker. Raises ValueError, naming field and value, where it cannot work."""

    dsn: Dsn = field(repr=False)
    """The URL of the queue's database; no executor ever gets it."""
    queues: Mapping[str, int]
    """Slots by queue: the most jobs of the queue that run here at once."""
    settings: AgentSettings = field(repr=False)
    direct_dsn: Dsn | None = field(default=None, repr=False)
    """The URL of the same database without a pooler, for LISTEN; None: ``dsn``."""
    name: str = "worker"
    """The worker's name in statuses and logs; in a cluster the pod's."""
    pool: str = "default"
    drain_seconds: float = 300.0
    """How long running jobs may take to end by themselves after the first SIGTERM."""
    stop_grace_seconds: float = 5.0
    """The unit of the steps that stop a run (`stopping.ladder`); they take two of it at most (H27)."""
    poll_seconds: float = numbers.POLL_SECONDS
    """The pause between two looks for work where no notification comes."""
    health_port: int | None = None
    """The port of /healthz, /readyz and /metrics. None: none. 0: any free port."""
    health_host: str = "0.0.0.0"
    model_health: bool = True
    """Whether breakers count (docs/model-health.md). False: a refused key fails its job at once."""
    memory_limit_mib: int | None = None
    """The memory limit of each running job; None: no limit."""
    standbys: int = 1
    """Forked executors that wait for a run: 0 to 2."""
    path: tuple[str, ...] = ()
    """Folders of the pool's modules, put before sys.path in the template."""
    signal_modules: tuple[str, ...] = ()
    """Modules that the supervisor imports: they subscribe to signals, and must not import google-adk."""
    own_process: bool = True
    """True: SIGTERM and SIGINT drain the worker, and other processes of its user cannot read its memory.
    False: the worker is part of a bigger program, which calls ``Worker.drain`` itself."""
    version: str = ""
    heartbeat_seconds: float = numbers.HEARTBEAT_SECONDS
    expiry_seconds: float = numbers.EXPIRY_SECONDS
    lease_grace_seconds: float = 120.0
    """The grace: how long runs wait for the lease's renewal when it is over (H13). Longer than a failover of
    Postgres takes, since a run that ends for this reason begins again elsewhere."""
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
    """The worker's environment without what executors must not see: our own settings, the queue's secrets,
    and the credentials for the collector of traces, which only the supervisor talks to.

    Executors get the session store's DSN through the control socket.
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
    """A database URL and its password."""

    dsn: str
    password: str

    def shown_in(self, value: str) -> bool:
        """True: the value has the URL, or the password alone or in a URL. Elsewhere it may be a mere word."""
        if self.dsn in value:
            return True
        written = {self.password, unquote(self.password)} - {""}
        return any(value == p or f":{p}@" in value or f"password={p}" in value for p in written)


def _password(dsn: str) -> str:
    if "://" in dsn:
        return urlsplit(dsn).password or ""
    match = re.search(r"\bpassword\s*=\s*('(?:[^'\\]|\\.)*'|\S+)", dsn)
    return match[1].strip("'") if match else ""
