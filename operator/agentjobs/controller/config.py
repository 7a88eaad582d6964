"""The operator's settings, as values: made by the CLI, read by ``operator``."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from agentjobs.controller.agentjob.readable_kinds import ReadableKinds
from agentjobs.controller.kit.queue_access import QueueAccess
from agentjobs.controller.runs_api.settings import RunsApiSettings
from agentjobs.dsn import Dsn


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """The Lease that says which operator leads. Seconds; duration > renew deadline > 1.2 × retry period.

    15/10/2 are the values of Kubernetes' own controllers: a leader that dies is replaced within 17 s, one
    that ends properly gives the lease back and is replaced within 2 s.
    """

    namespace: str = "default"
    name: str = "agentjobs-operator"
    duration_seconds: int = 15
    renew_deadline_seconds: int = 10
    retry_seconds: int = 2


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often things happen, in seconds. What each protects from stands beside it."""

    coalesce: float = 1.0
    """A status that is not final waits this long, so that a short job costs one write."""
    progress: float = 60.0
    """A running job's progress is written at most this often: API writes are dear."""
    missing_input: float = 2.0
    """The first look again at what a job refers to and is not there; each further one after twice the time, up to a minute."""
    outbox_poll: float = 5.0
    """The outbox is read at least this often, where a notification was lost."""
    sweep: float = 300.0
    """Objects are compared with the database: deletes that the watch missed."""
    first_sweep: float = 5.0
    """After taking the lead: the watch has listed by then."""
    explain: float = 5.0
    """Why jobs wait (NoWorkers within 10 s)."""
    beat: float = 5.0
    orphans: float = 5.0
    """Ticks of schedules are looked for whose operator died before it created the child."""
    tick: float = 2.5
    """Deadlines, promotion and rescue where no worker runs."""


@dataclass(frozen=True, slots=True)
class OperatorConfig:
    """Everything that ``run_operator`` needs."""

    dsn: Dsn = field(repr=False)
    direct_dsn: Dsn | None = field(default=None, repr=False)
    """Without a pooler, for LISTEN; None: ``dsn``."""
    kubeconfig: str | None = None
    """None: the pod's own account, else the default kubeconfig."""
    namespaces: tuple[str, ...] = ()
    """Namespaces to watch; empty: all."""
    readable_kinds: ReadableKinds = field(default_factory=ReadableKinds)
    """What is read for jobs whose spec refers to it."""
    queue_access: Mapping[str, QueueAccess] = field(default_factory=dict)
    default_ttl_seconds: int | None = None
    """For objects without ``ttlSecondsAfterFinished``; None: they stay."""
    status_output: bool = False
    """Whether statuses show the end of what the last run printed: whoever reads the object reads it."""
    restored_label: str | None = "velero.io/restore-name"
    """Objects that carry it come from a backup; None: never."""
    lease: LeaseSettings | None = LeaseSettings()
    """None: lead at once, for one operator on a desk."""
    runs_api: RunsApiSettings | None = None
    """The runs API to register while a server of it is ready; None: none."""
    mass_vanish_limit: int = 20
    """The sweep stops when more jobs than this, and more than half of a namespace, vanish at once (H5)."""
    parallel_writes: int = 16
    """Status writes under way at once, for each namespace."""
    clock: Callable[[], datetime] | None = None
    """What time it is to schedules; None: what the database says."""
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    """Name of this process, in the Lease and in the database's rows of live processes."""
    health_host: str = "0.0.0.0"
    health_port: int | None = None
    """None: no endpoint; 0: any free port."""
    intervals: Intervals = Intervals()
