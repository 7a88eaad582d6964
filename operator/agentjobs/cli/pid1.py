"""PID 1 of a container: the process that inherits orphans, and has to reap them.

For example, ``kubectl exec`` starts a shell whose children outlive it. PID 1 inherits them, and if it does
not wait for their ends, each stays as a zombie until the pod reaches its limit of processes. The other duty
of PID 1 is SIGTERM: worker and operator handle it themselves.
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

    The code that started a child waits for it within less, so nobody's exit status is taken away.
    """

    def __init__(self) -> None:
        self._seen: frozenset[int] = frozenset()

    def step(self) -> list[int]:
        """Reaps the children that were zombies at the last step already. Returns their pids."""
        zombies = frozenset(pid for pid in linux.children() if linux.is_zombie(pid))
        reaped = []
        for pid in zombies & self._seen:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
                reaped.append(pid)
        self._seen = zombies
        return reaped


async def with_pid1_duties(part: Coroutine[object, object, T], *, pid: int | None = None) -> T:
    """Runs ``part``, and reaps orphans meanwhile if this process is PID 1. Returns the result of ``part``.

    :param pid: this process's pid, given by tests alone.
    """
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
