"""The reasons for which a run is stopped, and the steps of each. Pure.

A user's cancel and a deadline are final, so they begin with ADK's abort, which seals the conversation's
history. All other reasons begin with the cancellation of the run's task, which keeps the run resumable (H27).
"""

from __future__ import annotations

from enum import StrEnum


class Why(StrEnum):
    """Why a run is stopped, the heaviest reason first."""

    LOST = "lost"
    """The worker has expired, and others may have its jobs: the executor is killed, nothing is acked."""
    CANCEL = "cancel"
    DEADLINE = "deadline"
    MEMORY = "memory"
    LEASE = "lease"
    """The lease's grace is over: the executor cancelled its run, or the template killed it (H13)."""
    TIMEOUT = "timeout"
    SUSPEND = "suspend"
    DRAIN = "drain"


class Step(StrEnum):
    """One step of stopping a run, the mildest first."""

    ABORT = "abort"
    """A message to the executor: ADK ends the run cleanly and seals its history."""
    CANCEL = "cancel"
    """A message to the executor: it cancels the run's asyncio task."""
    TERMINATE = "terminate"
    """SIGTERM."""
    KILL = "kill"
    """SIGKILL. The template then kills the executor's process group and its orphans too."""


_WEIGHT = {why: index for index, why in enumerate(Why)}
_AT_ONCE = frozenset({Why.LOST, Why.MEMORY})
_SEALS = frozenset({Why.CANCEL, Why.DEADLINE})


def heavier(present: Why | None, asked: Why) -> bool:
    """True: ``asked`` replaces the present reason. A cancel outweighs a drain, never the reverse (H15)."""
    return present is None or _WEIGHT[asked] < _WEIGHT[present]


def ladder(why: Why, grace_seconds: float) -> list[tuple[float, Step]]:
    """The steps for a reason, each with the seconds after which it is taken unless the run has ended."""
    if why in _AT_ONCE:
        return [(0.0, Step.KILL)]
    half = grace_seconds / 2
    rungs = [(0.0, Step.CANCEL), (half, Step.TERMINATE), (half + grace_seconds, Step.KILL)]
    if why in _SEALS:
        return [(0.0, Step.ABORT), *((at + half, step) for at, step in rungs)]
    return rungs
