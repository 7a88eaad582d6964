"""What a process owes as PID 1 of a container: it inherits every orphan, and must take notice of its end.

Orphans come from `kubectl exec` and from probes that run commands. Without this each would stay as a zombie, and a
pod has a limit of processes. SIGTERM, the other duty, is handled by the parts themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Coroutine
from typing import TypeVar

from agentjobs.worker.process import linux

INTERVAL_SECONDS = 5.0
T = TypeVar("T")


class Reaper:
    """Reaps children that have been zombies for a whole interval.

    Whoever starts a child waits for it sooner than that, so its exit status is left to it.
    """

    def __init__(self) -> None:
        self._seen: frozenset[int] = frozenset()

    def step(self) -> list[int]:
        """Reap what was a zombie at the last step already; the pids."""
        zombies = frozenset(pid for pid in linux.children() if linux.is_zombie(pid))
        reaped = []
        for pid in zombies & self._seen:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
                reaped.append(pid)
        self._seen = zombies
        return reaped


async def with_pid1_duties(part: Coroutine[object, object, T], *, pid: int | None = None) -> T:
    """What ``part`` returns; while it runs, orphans are reaped where this process (``pid``) is number 1."""
    if (pid or os.getpid()) != 1:
        return await part
    reaper = Reaper()

    async def reap() -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            reaper.step()

    task = asyncio.ensure_future(reap())
    try:
        return await part
    finally:
        task.cancel()
