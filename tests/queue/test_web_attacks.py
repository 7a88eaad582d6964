"""``agentjobs web`` under users who mean ill, as the API server's front proxy hands their requests on."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import aiohttp

from agentjobs.queue.queue import Queue
from agentjobs.web.names import ROOT
from agentjobs.web.shares import STREAMS
from front_proxies import front_proxy
from queue_builders import mirrored_job

FOLLOWED = "namespaces/team/agentruns/mine/log?follow=true"


async def test_one_users_streams_and_requests_shut_out_neither_discovery_nor_another_user(
    dsn: str, queue: Queue, tmp_path: Path
) -> None:
    await queue.enqueue([mirrored_job("mine")])
    async with front_proxy(dsn, tmp_path) as door, door.client("eve") as eve, door.client("alice") as alice:
        streams: list[aiohttp.ClientResponse] = []
        for _ in range(0, STREAMS + 40, 40):
            streams += await asyncio.gather(*(eve.get(FOLLOWED) for _ in range(40)))
        assert Counter(one.status for one in streams) == {200: STREAMS, 429: 40}
        flood = [asyncio.create_task(eve.get("namespaces/team/agentruns")) for _ in range(300)]
        async with alice.get(ROOT) as discovery, alice.get("namespaces/team/agentruns") as jobs:
            assert (discovery.status, jobs.status) == (200, 200)
        async with alice.get(FOLLOWED) as stream:
            assert stream.status == 200
        answers = Counter([one.status for one in await asyncio.gather(*flood)])
        assert answers.keys() <= {200, 429}
        for one in streams:
            one.close()

        async def comes_back() -> None:
            while True:
                async with eve.get(FOLLOWED) as stream:
                    if stream.status == 200:
                        return
                await asyncio.sleep(0.05)

        await asyncio.wait_for(comes_back(), 30)
