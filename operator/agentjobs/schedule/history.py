"""History limits: which finished children of a schedule are deleted, by outcome."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Child:
    """A child: one AgentJob of the schedule."""

    name: str
    uid: str
    tick: datetime | None
    """The child's scheduled-time annotation. None: absent or unreadable; such a child is never deleted."""
    succeeded: bool | None
    """Whether the child is complete. False: failed, cancelled or rejected. None: unfinished."""
    manual: bool = False


def surplus(
    children: Iterable[Child],
    *,
    successful_limit: int,
    failed_limit: int,
    last_tick: datetime | None,
    run_is_pending: bool = False,
) -> list[Child]:
    """The finished children to delete, the oldest first: those beyond the limits.

    While a child exists, nobody can create its tick a second time, since its name is taken (H29). So a child
    may go only once the database knows of its creation: the stored ``last_tick`` has reached its tick, or,
    for a manual child, no requested run is open. A child that may not go yet counts against the limit all the
    same.
    """
    finished = sorted(
        (child for child in children if child.succeeded is not None and child.tick is not None), key=_age
    )
    chosen: list[Child] = []
    for succeeded, limit in ((True, successful_limit), (False, failed_limit)):
        of_outcome = [child for child in finished if child.succeeded is succeeded]
        chosen += of_outcome[: max(0, len(of_outcome) - limit)]
    return sorted((child for child in chosen if _may_go(child, last_tick, run_is_pending)), key=_age)


def _age(child: Child) -> tuple[float, str]:
    return (child.tick.timestamp() if child.tick else 0.0, child.name)


def _may_go(child: Child, last_tick: datetime | None, run_is_pending: bool) -> bool:
    if child.manual:
        return not run_is_pending
    return last_tick is not None and child.tick is not None and child.tick <= last_tick
