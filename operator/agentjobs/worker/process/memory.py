"""The memory watchdog's decision, which runs take too much. Pure; `ExecutorPool` measures and stops.

For example, a tool starts ten processes of 100 MB. RLIMIT_DATA does not see it: it bounds the data of each
process alone (with a clean MemoryError), and no shared maps. The kernel would kill every process of the pod,
so the watchdog has to be faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from agentjobs.worker.process.linux import Process


def members(roots: Iterable[int], processes: Mapping[int, Process]) -> dict[int, list[int]]:
    """The processes below each root, with the root. Exact: executors are sub-reapers of their descendants."""
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
    """The roots whose processes take more than ``limit_bytes``, with the bytes that they take.

    Resident sizes count the template's shared pages in every process, so they only say which roots might be
    over; ``measure`` (Pss, which takes milliseconds a process) decides.
    """
    over: dict[int, int] = {}
    for root, pids in members(roots, processes).items():
        if sum(processes[pid].resident_bytes for pid in pids) <= limit_bytes:
            continue
        taken = sum(processes[pid].resident_bytes if (pss := measure(pid)) is None else pss for pid in pids)
        if taken > limit_bytes:
            over[root] = taken
    return over
