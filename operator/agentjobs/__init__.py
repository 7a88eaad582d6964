"""Durable background runs of AI agents (Google ADK) on Kubernetes.

    from agentjobs import Job, Queue

The names below are imported where they are first used: ``import agentjobs`` alone imports nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentjobs.client.errors import (
        ActRefused,
        InvalidJob,
        JobCancelled,
        JobFailed,
        JobGone,
        JobNotComplete,
    )
    from agentjobs.client.handle import Handle
    from agentjobs.client.job import Input, Job
    from agentjobs.client.queue import Queue
    from agentjobs.client.sync import SyncHandle, SyncQueue
    from agentjobs.queue.awaiting import End
    from agentjobs.queue.errors import InvalidUrl, QueueError, QueueUnavailable
    from agentjobs.queue.records import AttemptRecord, JobView, State

__version__ = "0.1.0"

_HOMES = {
    "agentjobs.client.errors": (
        "ActRefused",
        "InvalidJob",
        "JobCancelled",
        "JobFailed",
        "JobGone",
        "JobNotComplete",
    ),
    "agentjobs.client.handle": ("Handle",),
    "agentjobs.client.job": ("Input", "Job"),
    "agentjobs.client.queue": ("Queue",),
    "agentjobs.client.sync": ("SyncHandle", "SyncQueue"),
    "agentjobs.queue.awaiting": ("End",),
    "agentjobs.queue.errors": ("InvalidUrl", "QueueError", "QueueUnavailable"),
    "agentjobs.queue.records": ("AttemptRecord", "JobView", "State"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ActRefused",
    "AttemptRecord",
    "End",
    "Handle",
    "Input",
    "InvalidJob",
    "InvalidUrl",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobGone",
    "JobNotComplete",
    "JobView",
    "Queue",
    "QueueError",
    "QueueUnavailable",
    "State",
    "SyncHandle",
    "SyncQueue",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'agentjobs' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
