"""Why a run is stopped, and by which steps. Pure.

ADK's abort seals the conversation's history, so it is only for ends that are meant to be ends: a user's
cancel and the deadline. Everything else begins with the cancellation of the task, which keeps the run
resumable (H27).
"""

from __future__ import annotations

from enum import StrEnum


class Why(StrEnum):
    """Who wants the run to end. Written in the order of their weight."""

    LOST = "lost"
    """The run belongs to another worker now: no ack, and not a moment longer than it takes to kill."""
    CANCEL = "cancel"
    DEADLINE = "deadline"
    MEMORY = "memory"
    LEASE = "lease"
    """The worker's lease was not renewed: the run ended by itself, or was killed by the template (H13)."""
    TIMEOUT = "timeout"
    SUSPEND = "suspend"
    DRAIN = "drain"


class Step(StrEnum):
    ABORT = "abort"
    """A message: ADK ends the run cleanly and seals it."""
    CANCEL = "cancel"
    """A message: the run's asyncio task is cancelled."""
    TERMINATE = "terminate"
    """SIGTERM."""
    KILL = "kill"
    """SIGKILL, which takes the whole process group and its orphans along."""


_WEIGHT = {why: index for index, why in enumerate(Why)}
_AT_ONCE = frozenset({Why.LOST, Why.MEMORY})
_SEALS = frozenset({Why.CANCEL, Why.DEADLINE})


def heavier(present: Why | None, asked: Why) -> bool:
    """Does ``asked`` replace the present reason? A cancel outweighs a drain, never the other way round (H15)."""
    return present is None or _WEIGHT[asked] < _WEIGHT[present]


def ladder(why: Why, grace_seconds: float) -> list[tuple[float, Step]]:
    """The steps, each with the seconds after which it is taken if the run has not ended before."""
    if why in _AT_ONCE:
        return [(0.0, Step.KILL)]
    half = grace_seconds / 2
    rungs = [(0.0, Step.CANCEL), (half, Step.TERMINATE), (half + grace_seconds, Step.KILL)]
    if why in _SEALS:
        return [(0.0, Step.ABORT), *((at + half, step) for at, step in rungs)]
    return rungs
