"""What one tenant holds of the process is bounded, and nothing of it is lost."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from agentjobs.web.shares import Limits, Shares, tenant_of
from agentjobs.web.status import ApiError

FEW = Limits(requests=2, waiting=1, wait_seconds=0.05, streams=2, all_streams=3)


@pytest.mark.parametrize(
    ("user", "tenant"),
    [
        ("alice", "alice"),
        ("system:serviceaccount:team:robot", "system:serviceaccount:team"),
        ("system:serviceaccount:team:other", "system:serviceaccount:team"),
        ("system:serviceaccount:team2:robot", "system:serviceaccount:team2"),
        ("system:serviceaccount:", "system:serviceaccount:"),
        ("oidc:system:serviceaccount:team:robot", "oidc:system:serviceaccount:team:robot"),
    ],
)
def test_all_accounts_of_a_namespace_are_one_tenant(user: str, tenant: str) -> None:
    assert tenant_of(user) == tenant


async def test_a_request_too_many_waits_and_is_refused_and_another_tenants_is_not() -> None:
    shares = Shares(FEW)
    async with AsyncExitStack() as held:
        for _ in range(2):
            await held.enter_async_context(shares.taken("eve"))
        with pytest.raises(ApiError) as waited:
            await held.enter_async_context(shares.taken("eve"))
        assert (waited.value.code, waited.value.retry_after_seconds) == (429, 1)
        await held.enter_async_context(shares.taken("alice"))
    async with shares.taken("eve"):
        pass


async def test_of_those_that_wait_one_more_than_may_be_is_refused_at_once() -> None:
    shares = Shares(Limits(requests=1, waiting=1, wait_seconds=60))
    done = asyncio.Event()

    async def request() -> None:
        async with shares.taken("eve"):
            await done.wait()

    first, second = asyncio.create_task(request()), asyncio.create_task(request())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        with pytest.raises(ApiError):
            await request()
        done.set()
        await asyncio.gather(first, second)


async def test_a_stream_gives_its_request_back_and_is_counted_until_it_ends() -> None:
    shares = Shares(FEW)
    async with AsyncExitStack() as eve, AsyncExitStack() as others:
        for _ in range(2):
            (await eve.enter_async_context(shares.taken("eve"))).becomes_stream()
        third = await eve.enter_async_context(shares.taken("eve"))
        with pytest.raises(ApiError, match="2 streams open"):
            third.becomes_stream()
        (await others.enter_async_context(shares.taken("alice"))).becomes_stream()
        with pytest.raises(ApiError, match="all 3 streams of this server are open, 0 of them yours"):
            (await others.enter_async_context(shares.taken("bob"))).becomes_stream()
    assert shares.streams == 0
    async with shares.taken("eve") as share:
        share.becomes_stream()


async def test_nothing_is_kept_of_a_tenant_that_has_gone_however_it_went() -> None:
    shares = Shares(FEW)

    async def cancelled(user: str) -> None:
        async with shares.taken(user) as share:
            if user == "eve":
                share.becomes_stream()
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(cancelled(user)) for user in ("eve", "eve", "alice", "alice", "alice")]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (shares.streams, shares._tenants) == (0, {})
