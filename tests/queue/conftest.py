"""What the queue's tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agentjobs.queue.queue import Queue
from queue_builders import TestWorker


@pytest.fixture
async def queue(dsn: str) -> AsyncIterator[Queue]:
    """The queue of a fresh database."""
    async with await Queue.open(dsn, application_name="test") as opened:
        yield opened


@pytest.fixture
async def worker(queue: Queue) -> TestWorker:
    """A registered worker with ten slots of queue ``agents``."""
    return await TestWorker(queue).register()
