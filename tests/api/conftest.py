"""What tests of schedules share, and those of the runs API; other tests have a bench ``b`` of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from clusters import Cluster
from operators import Bench, bench
from runs_api_fixtures import api, plane, queue, web_config, worker  # noqa: F401  # fixtures
from schedules import Schedules, TestClock


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
async def b(cluster: Cluster, dsn: str, clock: TestClock) -> AsyncIterator[Bench]:
    async with bench(cluster, dsn, clock=clock) as made:
        yield made


@pytest.fixture
def s(b: Bench) -> Schedules:
    return Schedules(b.objects.api, b.objects.namespace)
