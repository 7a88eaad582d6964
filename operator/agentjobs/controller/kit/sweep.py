"""The sweep: lists all objects of a kind, compares them with the database's rows, and heals both directions.

Example: an AgentJob was deleted while no operator watched. Its row has no object in the LIST, a GET
confirms that, and the job is cancelled. Each kind has an adapter, which says what is suspect and what is
to be done then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.listing import CHUNK, Listed, ListFailed, list_objects, version_of
from agentjobs.controller.apiserver.resources import Resource
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.apiserver.writes import get_object
from agentjobs.controller.kit.periodic import run_periodically
from agentjobs.controller.metrics.counters import SWEEP_FOUND
from agentjobs.queue.errors import QueueError
from agentjobs.queue.records import Confirmed

FAILURES = (ApiUnavailable, QueueError, ListFailed)
GETS_AT_ONCE = 8
MARGIN = timedelta(seconds=5)
"""A row's time is the database's, the LIST's is this machine's: they may differ by so much."""


class ApiServerWentBack(Exception):
    """etcd was restored to a snapshot under a running watch, which waits for versions that are still to come: all parts
    have to begin anew."""


class Row(Protocol):
    """A row of the database that stands for an object."""

    @property
    def uid(self) -> UUID: ...
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Suspects(Generic[R]):
    """Rows and objects that disagree. A GET has to confirm each, or to read it."""

    vanished: tuple[R, ...] = ()
    """In the database, not in the list."""
    unknown: tuple[Listed, ...] = ()
    """In the list, not in the database."""
    behind: tuple[Listed, ...] = ()
    """The database has an older generation, or does not know that the object is being deleted."""
    contradicted: tuple[tuple[Listed, Confirmed], ...] = ()
    """The database has a newer generation, or has it that the object is gone: the row is a lost world's, where etcd
    was restored to a snapshot. What a GET says now is the truth."""


class SweepAdapter(Protocol[R]):
    """One kind of objects, as the sweep sees it."""

    async def rows(self) -> list[R]:
        """All rows of this cluster whose object is not known to be gone. Raises QueueError."""

    def suspects(
        self, rows: list[R], listed: Mapping[UUID, Listed], list_started_at: datetime
    ) -> Suspects[R]:
        """Compares them; pure."""

    def has(self, uid: str, generation: int) -> bool:
        """Whether the object, in this generation or a later one, was taken in already."""

    async def release(self, gone: list[R], rows: list[R]) -> None:
        """Lets go of rows whose object is certainly gone. ``rows``: all. Raises ApiUnavailable,
        QueueError."""


@dataclass(slots=True)
class Sweep(Generic[R]):
    """Sweeps at the start, after each listing of the watch, and every few minutes."""

    adapter: SweepAdapter[R]
    api: ApiServer
    resource: Resource
    sink: Callable[[list[WatchEvent]], None]
    """Takes objects that the database does not know, or knows in an older generation."""
    namespaces: frozenset[str] = frozenset()
    """Watched ones; empty: all."""
    interval_seconds: float = 300.0
    first_seconds: float = 5.0
    """Before the first sweep: what exists is the watch's to bring, in pages; the sweep only heals."""
    settle_seconds: float = 10.0
    """After a listing of the watch: what it has shown is taken in by then, and old enough to be judged."""
    watched_version: Callable[[str], int] = lambda uid: 0
    """The resourceVersion in which the watch has shown an object last; 0: in none."""
    chunk: int = CHUNK
    """Objects in a page of the LIST."""
    _soon: asyncio.Event = field(default_factory=asyncio.Event)
    _gets: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(GETS_AT_ONCE))

    async def run(self) -> None:
        """Sweeps until cancelled."""
        what = f"the sweep of {self.resource.plural}"
        seconds = (self.first_seconds, self.interval_seconds, self.settle_seconds)
        await run_periodically(what, self.sweep, FAILURES, self._soon, seconds)

    def trigger(self) -> None:
        """Asks for a sweep before long: the watch has listed anew, and nobody tells what was deleted
        before."""
        self._soon.set()

    async def sweep(self) -> Suspects[R]:
        """Compares once, and heals. Raises ApiUnavailable, QueueError, ListFailed: nothing was concluded; and
        ApiServerWentBack."""
        started = datetime.now(UTC)
        listed = await list_objects(self.api, self.resource, self.namespaces, self.chunk)
        await self._look_back(listed.values())
        rows = await self.adapter.rows()
        suspects = self.adapter.suspects(rows, listed, started)
        for kind in ("vanished", "unknown", "behind", "contradicted"):
            found = len(getattr(suspects, kind))
            if found:
                self.api.meter.add(SWEEP_FOUND, found, kind=kind)
        plain = (*suspects.unknown, *suspects.behind)
        await self._read(
            (found, None) for found in plain if not self.adapter.has(str(found.uid), found.generation)
        )
        await self._read(suspects.contradicted)
        await self.adapter.release(await self._confirmed(suspects.vanished), rows)
        return suspects

    async def _look_back(self, listed: Iterable[Listed]) -> None:
        """Raises ApiServerWentBack where a GET has an object in an older version than the watch has shown before."""
        older = (found for found in listed if 0 < found.version < self.watched_version(str(found.uid)))
        for found in islice(older, GETS_AT_ONCE):
            seen = self.watched_version(str(found.uid))
            reply = await get_object(
                self.api, found.namespace, found.name, metadata_only=True, resource=self.resource
            )
            meta = reply.body.get("metadata") or {}
            if reply.ok and meta.get("uid") == str(found.uid) and 0 < version_of(meta) < seen:
                raise ApiServerWentBack(
                    f"{self.resource.plural} {found.namespace}/{found.name} is of version {version_of(meta)}, and was "
                    f"of {seen} before: was etcd restored to a snapshot? Everything is listed anew"
                )

    async def _read(self, objects: Iterable[tuple[Listed, Confirmed | None]]) -> None:
        """Hands on objects, as the watch would have."""

        async def one(found: Listed, confirmed: Confirmed | None) -> None:
            async with self._gets:
                read_at = time.monotonic()
                reply = await get_object(self.api, found.namespace, found.name, resource=self.resource)
            if reply.ok and reply.body["metadata"]["uid"] == str(found.uid):
                event = WatchEvent(
                    reply.body, deleted=False, kind=self.resource, read_at=read_at, confirmed=confirmed
                )
                self.sink([event])

        await asyncio.gather(*(one(*pair) for pair in objects))

    async def _confirmed(self, rows: Iterable[R]) -> list[R]:
        """Rows of which a GET says that the object is gone."""

        async def one(row: R) -> R | None:
            async with self._gets:
                reply = await get_object(
                    self.api, row.namespace, row.name, metadata_only=True, resource=self.resource
                )
            uid = (reply.body.get("metadata") or {}).get("uid") if reply.ok else None
            return row if is_gone(reply.status, reply.object_missing, uid, row.uid) else None

        return [row for row in await asyncio.gather(*(one(row) for row in rows)) if row is not None]


def vanished_rows(
    rows: Iterable[R],
    listed: Mapping[UUID, Listed],
    *,
    known_since: Callable[[R], datetime],
    list_started_at: datetime,
    namespaces: Set[str],
) -> tuple[R, ...]:
    """Rows without an object in the list, of watched namespaces, that were there before the LIST by a
    margin."""
    return tuple(
        row
        for row in rows
        if row.uid not in listed
        and (not namespaces or row.namespace in namespaces)
        and known_since(row) < list_started_at - MARGIN
    )


def is_gone(status: int, object_missing: bool, found_uid: str | None, uid: UUID) -> bool | None:
    """What a GET says of an object: gone (404, or another uid under its name), there, or None: no answer."""
    if object_missing:
        return True
    if status == 200 and found_uid:
        return found_uid != str(uid)
    return None
