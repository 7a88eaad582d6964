"""Fixtures of tests of the runs API: a control plane with its roles, a queue with a worker, and the process between them.

A file that needs more overrides one of them: ``plane`` for further rights, ``web_config`` for settings of the process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentjobs.local.assets import Assets
from agentjobs.queue.queue import Queue
from clusters import Cluster
from queue_builders import TestWorker
from runs_apis import Served, served, with_roles


@pytest.fixture(scope="module")
def plane(own_assets: Assets) -> Iterator[Cluster]:
    """A control plane with the users of ``with_roles``, and without the CRDs."""
    with with_roles(own_assets) as found:
        yield found


@pytest.fixture
async def queue(dsn: str) -> AsyncIterator[Queue]:
    """The queue of a fresh database."""
    async with await Queue.open(dsn) as made:
        yield made


@pytest.fixture
async def worker(queue: Queue) -> TestWorker:
    """A registered worker with ten slots of queue ``agents``."""
    return await TestWorker(queue).register()


@pytest.fixture
def web_config() -> Mapping[str, Any]:
    """Fields of the process's WebConfig besides those of ``served``."""
    return {}


@pytest.fixture
async def api(
    plane: Cluster, dsn: str, tmp_path: Path, web_config: Mapping[str, Any]
) -> AsyncIterator[Served]:
    """The runs API on the database of ``queue``, registered in the control plane."""
    async with served(plane, dsn, tmp_path, **web_config) as found:
        yield found
