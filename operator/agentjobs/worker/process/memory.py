"""The watchdog over what running jobs take, their descendants included.

RLIMIT_DATA stops one process's own allocations with a clean MemoryError; it sees neither shared maps nor the
sum over a job's processes. In a container one real out-of-memory kills every process of the pod, so the
watchdog has to be faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from agentjobs.worker.process.linux import Process


def members(roots: Iterable[int], processes: Mapping[int, Process]) -> dict[int, list[int]]:
    """The processes of each root, itself included. Exact: an executor is the sub-reaper of its descendants."""
    found: dict[int, list[int]] = {root: [] for root in roots}
    for pid in processes:
        at, seen = pid, 0
        while at in processes and at not in found and seen < 1000:
            at, seen = processes[at].parent, seen + 1
        if at in found and at in processes:
            found[at].append(pid)
    return found


def over_limit(
    roots: Iterable[int],
    processes: Mapping[int, Process],
    limit_bytes: int,
    measure: Callable[[int], int | None],
) -> dict[int, int]:
    """The roots whose processes take more than ``limit_bytes``, with what they take.

    Resident sizes count the template's shared pages in every process, so they only say who might be over;
    ``measure`` (Pss: milliseconds a process) decides.
    """
    over: dict[int, int] = {}
    for root, pids in members(roots, processes).items():
        if sum(processes[pid].resident_bytes for pid in pids) <= limit_bytes:
            continue
        taken = sum(processes[pid].resident_bytes if (pss := measure(pid)) is None else pss for pid in pids)
        if taken > limit_bytes:
            over[root] = taken
    return over
