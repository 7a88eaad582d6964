"""Queue access: which namespaces may use a queue, and at which priority at best. Decided here for every path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agentjobs.values.setting_names import both_names


@dataclass(frozen=True, slots=True)
class QueueAccess:
    """Who may use a queue. ``namespaces`` empty: all; ``best_priority`` 0: any priority may be asked for."""

    namespaces: tuple[str, ...] = ()
    best_priority: int = 0


def refusal(
    access: Mapping[str, QueueAccess], queue: str, priority: int, namespace: str, path: str = "spec"
) -> str:
    """Why this namespace may not use this queue at this priority; empty: it may.

    :param path: of the job's spec in its object.
    """
    rule = access.get(queue)
    if rule is None:
        return ""
    if rule.namespaces and namespace not in rule.namespaces:
        return (
            f"{path}.queue: {queue!r} is not open to namespace {namespace!r}: use another queue in a new "
            f"object, or ask for the namespace to be added to {both_names('queue_access.namespaces', queue=queue)} of the operator"
        )
    if priority < rule.best_priority:
        return (
            f"{path}.priority: {priority} is better than {rule.best_priority}, the best that queue "
            f"{queue!r} allows: set {path}.priority to {rule.best_priority} or more, or ask for a lower "
            f"{both_names('queue_access.best_priority', queue=queue)} of the operator"
        )
    return ""


def concerns_priority(why: str) -> bool:
    """Whether a refusal is about the priority, and not about the queue."""
    return why.partition(":")[0].endswith(".priority")
