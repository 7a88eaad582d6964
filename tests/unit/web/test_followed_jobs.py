"""A follower of a job outlives a database that is away for a while, and hears of one that stays away."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from agentjobs.queue.errors import QueueUnavailable
from agentjobs.queue.records import JobView
from agentjobs.web.handlers.log import views
from agentjobs.web.status import ApiError


async def test_a_database_that_comes_back_is_waited_for() -> None:
    looks = 0

    async def recent(_: UUID) -> JobView | None:
        nonlocal looks
        looks += 1
        if looks < 4:
            raise QueueUnavailable("database: away")
        return None  # the job is gone

    assert [view async for view in views(recent, uuid4(), every_seconds=0)] == []
    assert looks == 4


async def test_a_database_that_stays_away_ends_the_stream_with_an_error() -> None:
    async def recent(_: UUID) -> JobView | None:
        raise QueueUnavailable("database: away")

    with pytest.raises(ApiError, match="the database is away") as refused:
        [view async for view in views(recent, uuid4(), every_seconds=0, away_seconds=0.01)]
    assert refused.value.code == 503
