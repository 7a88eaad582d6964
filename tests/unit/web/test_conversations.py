"""A followed conversation outlives a store that is away for a while, however long nothing was said before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import cast

import pytest

from agentjobs.transcript.errors import TranscriptUnavailable
from agentjobs.transcript.jobs import SessionKey
from agentjobs.transcript.transcripts import Ended, Transcripts
from agentjobs.web.conversations import Conversations, Part
from agentjobs.web.status import ApiError
from agentjobs.web.watching import AWAY_SECONDS

PART = Part(SessionKey("team/agent", "alice", "s1"), None)


@dataclass(slots=True)
class Store:
    """Follows as ``Transcripts`` does, by a script: for each try, for how many seconds the store answers before it is away."""

    tries: list[float]
    now: float = 0.0
    begun: int = field(default=0)

    def clock(self) -> float:
        return self.now

    async def follow(self, *given: object) -> AsyncIterator[object]:
        ended = cast(Ended, given[-1])
        self.begun += 1
        if await ended():
            return
        for _ in range(int(self.tries.pop(0))):
            self.now += 1  # the read was answered, and a second has gone
            if await ended():
                return
        self.now += 1
        raise TranscriptUnavailable("session store: away")
        yield


async def told(store: Store, ends_at: float) -> list[str]:
    async def ended() -> bool:
        return store.now >= ends_at

    read = Conversations(cast(Transcripts, store), clock=store.clock, again_seconds=0)
    return [event.type async for event in read.follow(PART, None, ended)]


async def test_a_store_that_goes_after_a_long_silence_is_waited_for() -> None:
    store = Store([10 * AWAY_SECONDS, 0, 0, 30])
    assert await told(store, ends_at=10 * AWAY_SECONDS + 20) == ["end"]
    assert store.begun == 4


async def test_a_store_that_stays_away_ends_the_stream() -> None:
    store = Store([5, *[0.0] * 1000])
    with pytest.raises(ApiError) as refused:
        await told(store, ends_at=1e9)
    assert refused.value.code == 503
    assert AWAY_SECONDS < store.now - 5 <= AWAY_SECONDS + 2
