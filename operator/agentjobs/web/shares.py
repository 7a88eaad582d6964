"""How much of the process one tenant may hold at once: no requests and no streams of one shut out another's.

A tenant is a user; of a ServiceAccount it is the namespace, since whoever owns one can make any number of accounts there.
Discovery takes no share: on it waits the deletion of every namespace of the cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from agentjobs.web.status import ApiError

REQUESTS = 16
"""Requests of a tenant that are answered at once; the next ones wait."""
WAITING = 64
"""Requests of a tenant that wait. Each holds a connection of the API server's."""
WAIT_SECONDS = 10.0
STREAMS = 200
"""Open streams of a tenant."""
ALL_STREAMS = 1000
"""Open streams of all tenants."""
ACCOUNT = "system:serviceaccount:"


def tenant_of(user: str) -> str:
    """The tenant that the user belongs to."""
    if not user.startswith(ACCOUNT):
        return user
    return ACCOUNT + user.removeprefix(ACCOUNT).partition(":")[0]


@dataclass(slots=True)
class _Tenant:
    """What one tenant holds now."""

    free: asyncio.Semaphore
    present: int = 0
    """Requests that are answered or wait, and streams."""
    waiting: int = 0
    streams: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """The shares."""

    requests: int = REQUESTS
    waiting: int = WAITING
    wait_seconds: float = WAIT_SECONDS
    streams: int = STREAMS
    all_streams: int = ALL_STREAMS


class Share:
    """What one request holds: one of its tenant's requests, until it is a stream."""

    def __init__(self, shares: Shares, tenant: _Tenant) -> None:
        self._shares, self._tenant = shares, tenant
        self._streams = False

    def becomes_stream(self) -> None:
        """Takes a stream, and gives the request back. Raises ApiError (429) where there are as many as may be."""
        mine, limits = self._tenant.streams, self._shares.limits
        # without Retry-After: kubectl would repeat the request ten times before it says a word
        if mine >= limits.streams:
            raise ApiError(429, f"you have {mine} streams open; close some: of yours {limits.streams} may be")
        if self._shares.streams >= limits.all_streams:
            raise ApiError(
                429,
                f"all {limits.all_streams} streams of this server are open, {mine} of them yours; try again later",
            )
        self._streams = True
        self._tenant.streams += 1
        self._shares.streams += 1
        self._tenant.free.release()

    def release(self) -> None:
        if self._streams:
            self._tenant.streams -= 1
            self._shares.streams -= 1
        else:
            self._tenant.free.release()


@dataclass(slots=True)
class Shares:
    """The shares of all tenants of one process."""

    limits: Limits = field(default_factory=Limits)
    streams: int = 0
    """Open streams of all tenants."""
    _tenants: dict[str, _Tenant] = field(default_factory=dict)

    @asynccontextmanager
    async def taken(self, user: str) -> AsyncIterator[Share]:
        """A share for one request, until its answer is sent. Raises ApiError (429) where too many wait, or for too long."""
        name = tenant_of(user)
        tenant = self._tenants.setdefault(name, _Tenant(asyncio.Semaphore(self.limits.requests)))
        tenant.present += 1
        try:
            await self._wait(tenant)
            share = Share(self, tenant)
            try:
                yield share
            finally:
                share.release()
        finally:
            tenant.present -= 1
            if not tenant.present:
                del self._tenants[name]

    async def _wait(self, tenant: _Tenant) -> None:
        too_many = ApiError(
            429, f"more than {self.limits.requests} requests of yours at once", retry_after_seconds=1
        )
        if tenant.waiting >= self.limits.waiting and tenant.free.locked():
            raise too_many
        tenant.waiting += 1
        try:
            async with asyncio.timeout(self.limits.wait_seconds):
                await tenant.free.acquire()
        except TimeoutError:
            raise too_many from None
        finally:
            tenant.waiting -= 1
