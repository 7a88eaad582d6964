"""The worker's part in retention: after a failure it tries again soon."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentjobs.queue.errors import QueueUnavailable
from agentjobs.worker.supervisor.ticking import Pruner


class _Away:
    """A queue whose database is away once."""

    def __init__(self) -> None:
        self.calls = 0
        self.pruned = asyncio.Event()

    async def prune(self) -> int:
        self.calls += 1
        if self.calls == 1:
            raise QueueUnavailable("away")
        self.pruned.set()
        return 0


async def test_a_pass_that_failed_is_not_waited_for_as_long_as_one_that_succeeded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rests = iter([0.0, 3600.0, 3600.0])
    monkeypatch.setattr(Pruner, "_rest", lambda self: next(rests))
    queue: Any = _Away()
    pruner = Pruner(queue)
    running = asyncio.create_task(pruner.run())
    async with asyncio.timeout(60):
        await queue.pruned.wait()
    running.cancel()
    assert not pruner.outage.on
