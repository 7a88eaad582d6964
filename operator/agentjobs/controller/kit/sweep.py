"""The sweep: lists all objects of a kind, compares them with the database's rows, and heals both directions.

Example: an AgentJob was deleted while no operator watched. Its row has no object in the LIST, a GET
confirms that, and the job is cancelled. Each kind has an adapter, which says what is suspect and what is
to be done then.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.listing import CHUNK, Listed, list_objects, version_of
from agentjobs.controller.apiserver.refusals import SEVERAL, Call
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.controller.apiserver.resources import Resource
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.apiserver.writes import get_object
from agentjobs.controller.kit.backoff import Backoff, worth_a_line
from agentjobs.controller.kit.periodic import wait_for
from agentjobs.controller.metrics.counters import SWEEP_FOUND
from agentjobs.queue.errors import QueueError
from agentjobs.queue.records import Confirmed
from agentjobs.telemetry.loops import LoopHealth

log = logging.getLogger(__name__)

GETS_AT_ONCE = 8
"""In each namespace."""
UNREAD_SECONDS = 60.0
"""Until the next sweep of all namespaces where a GET was refused in some of them: each lists everything."""
DATABASE_SECONDS = 10.0
"""Until the next try, where the database does not answer."""
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
ALL = ""
"""The one scope where all namespaces are watched."""


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

    async def release(self, gone: list[R], rows: list[R]) -> list[R]:
        """Lets go of rows whose object is certainly gone; returns them, without those that it does not believe to be.
        ``rows``: all. Raises ApiUnavailable, QueueError."""


@dataclass(slots=True)
class Sweep(Generic[R]):
    """Sweeps at the start, after each listing of the watch, and every few minutes.

    A namespace that cannot be listed is left out, and tried again on its own.
    """

    adapter: SweepAdapter[R]
    api: ApiServer
    resource: Resource
    sink: Callable[[list[WatchEvent]], None]
    """Takes objects that the database does not know, or knows in an older generation, and deletes that were missed."""
    namespaces: frozenset[str] = frozenset()
    """Watched ones; empty: all."""
    interval_seconds: float = 300.0
    first_seconds: float = 5.0
    """Before the first sweep: what exists is the watch's to bring, in pages; the sweep only heals."""
    settle_seconds: float = 10.0
    """After a listing of the watch: what it has shown is taken in by then, and old enough to be judged."""
    watched_version: Callable[[str], int] = lambda uid: 0
    """The resourceVersion in which the watch has shown an object last; 0: in none."""
    listing: Callable[[], bool] = lambda: False
    """Whether the watch is still bringing what exists: until it has, a sweep waits, for so long as is between two at most."""
    chunk: int = CHUNK
    """Objects in a page of the LIST."""
    health: LoopHealth = field(init=False)
    _soon: asyncio.Event = field(default_factory=asyncio.Event)
    _failing: set[str] = field(default_factory=set)
    """Namespaces that could not be swept; ``ALL`` where all are one scope."""
    _unread: bool = False
    """Whether objects could not be read in the last sweep of all namespaces."""
    _backoff: Backoff[str] = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        self.health = LoopHealth(f"sweep of {self.resource.plural}")

    async def run(self) -> None:
        """Sweeps until cancelled."""
        whole_at = time.monotonic() + self.first_seconds
        swept_at = time.monotonic()
        while True:
            now = time.monotonic()
            seconds = whole_at - now
            if any(self._backoff.may_start(scope, scope, now) for scope in self._failing):
                seconds = 0.0
            elif self._failing:
                seconds = self._backoff.next_seconds(now, seconds)
            again = await wait_for(self._soon, max(0.0, min(seconds, whole_at - now)))
            while again:
                self._soon.clear()
                again = await wait_for(self._soon, min(self.settle_seconds, self.first_seconds))
                whole_at = 0.0
            now = time.monotonic()
            if now >= whole_at and self.listing() and now < swept_at + self.interval_seconds:
                whole_at = now + self.first_seconds
            whole = now >= whole_at
            scopes = self._scopes if whole else sorted(self._failing)
            try:
                with self.health.attempt():
                    await self.sweep(
                        [scope for scope in scopes if self._backoff.may_start(scope, scope, now)]
                    )
                if whole:
                    swept_at = now
                    seconds = UNREAD_SECONDS if self._unread else self.interval_seconds
                    whole_at = now + min(seconds, self.interval_seconds) * random.uniform(0.9, 1.1)
            except QueueError as error:
                log.warning("the sweep of %s is tried again: %s", self.resource.plural, error)
                whole_at = time.monotonic() + min(DATABASE_SECONDS, self.interval_seconds)

    def trigger(self) -> None:
        """Asks for a sweep before long: the watch has listed anew, and nobody tells what was deleted
        before."""
        self._soon.set()

    @property
    def _scopes(self) -> list[str]:
        return sorted(self.namespaces) or [ALL]

    async def sweep(self, scopes: Iterable[str] | None = None) -> Suspects[R]:
        """Compares once, and heals; nothing is concluded about a namespace that cannot be listed. Raises
        QueueError, ApiServerWentBack."""
        started = datetime.now(UTC)
        wanted = self._scopes if scopes is None else scopes
        listings = dict(await asyncio.gather(*(self._list(scope) for scope in wanted)))
        scoped = {scope: listed for scope, listed in listings.items() if listed is not None}
        if not scoped:
            return Suspects()
        for one in scoped.values():
            await self._look_back(one.values())
        rows = await self.adapter.rows()
        if ALL not in scoped:
            rows = [row for row in rows if row.namespace in scoped]
        listed = {uid: found for one in scoped.values() for uid, found in one.items()}
        suspects = self.adapter.suspects(rows, listed, started)
        for kind in ("vanished", "unknown", "behind", "contradicted"):
            found = len(getattr(suspects, kind))
            if found:
                self.api.meter.add(SWEEP_FOUND, found, kind=kind)
        gets = _Gets(self.api, self.resource)
        plain = (*suspects.unknown, *suspects.behind)
        await self._read(
            gets, ((one, None) for one in plain if not self.adapter.has(str(one.uid), one.generation))
        )
        await self._read(gets, suspects.contradicted)
        released = await self.adapter.release(await gets.gone(suspects.vanished), rows)
        if released:
            self.sink([self._deleted(row) for row in released])
        for scope in scoped:
            refused = [
                error for name, errors in gets.refused.items() if scope in (ALL, name) for error in errors
            ]
            self._unread = scope == ALL and bool(refused)
            if refused and scope != ALL:
                self._refused(scope, Call.GET, refused[0])
            else:
                self._failing.discard(scope)
                self._backoff.taken(scope, scope)
        return suspects

    def _deleted(self, row: R) -> WatchEvent:
        """What the watch would have brought: each part that remembers something of the object forgets it."""
        meta = {"uid": str(row.uid), "namespace": row.namespace, "name": row.name}
        return WatchEvent({"metadata": meta}, deleted=True, kind=self.resource, released=True)

    async def _list(self, scope: str) -> tuple[str, Mapping[UUID, Listed] | None]:
        """None: it was refused."""
        try:
            return scope, await list_objects(self.api, self.resource, scope or None, self.chunk)
        except ApiUnavailable as error:
            self._refused(scope, Call.LIST, error)
            return scope, None

    def _refused(self, scope: str, call: Call, error: ApiUnavailable) -> None:
        self._failing.add(scope)
        decision = self._backoff.decide(call, error, scope, scope, time.monotonic())
        if worth_a_line(self._backoff.refusals(scope, scope)):
            log.warning(
                "the sweep of %s in %s is tried again in %.1f s: %s",
                self.resource.plural,
                f"namespace {scope}" if scope else "all namespaces",
                decision.seconds,
                error,
            )

    async def _look_back(self, listed: Iterable[Listed]) -> None:
        """Raises ApiServerWentBack where a GET has an object in an older version than the watch has shown before."""
        older = (found for found in listed if 0 < found.version < self.watched_version(str(found.uid)))
        for found in islice(older, GETS_AT_ONCE):
            seen = self.watched_version(str(found.uid))
            try:
                reply = await get_object(
                    self.api, found.namespace, found.name, metadata_only=True, resource=self.resource
                )
            except ApiUnavailable:
                continue  # it did not say; the next sweep asks again
            meta = reply.body.get("metadata") or {}
            if reply.ok and meta.get("uid") == str(found.uid) and 0 < version_of(meta) < seen:
                raise ApiServerWentBack(
                    f"{self.resource.plural} {found.namespace}/{found.name} is of version {version_of(meta)}, and was "
                    f"of {seen} before: was etcd restored to a snapshot? Everything is listed anew"
                )

    async def _read(self, gets: _Gets, objects: Iterable[tuple[Listed, Confirmed | None]]) -> None:
        """Hands on objects, as the watch would have."""

        async def one(found: Listed, confirmed: Confirmed | None) -> None:
            read_at = time.monotonic()
            reply = await gets.get(found.namespace, found.name)
            if reply is not None and reply.ok and reply.body["metadata"]["uid"] == str(found.uid):
                event = WatchEvent(
                    reply.body, deleted=False, kind=self.resource, read_at=read_at, confirmed=confirmed
                )
                self.sink([event])

        await asyncio.gather(*(one(*pair) for pair in objects))


@dataclass(slots=True)
class _Gets:
    """The GETs of one sweep: a namespace that has refused several is asked for no more."""

    api: ApiServer
    resource: Resource
    refused: dict[str, list[ApiUnavailable]] = field(default_factory=dict)
    _slots: dict[str, asyncio.Semaphore] = field(default_factory=dict)

    async def get(self, namespace: str, name: str, *, metadata_only: bool = False) -> Reply | None:
        """None: the API server did not say."""
        async with self._slots.setdefault(namespace, asyncio.Semaphore(GETS_AT_ONCE)):
            if len(self.refused.get(namespace, ())) >= SEVERAL:
                return None
            try:
                return await get_object(
                    self.api, namespace, name, metadata_only=metadata_only, resource=self.resource
                )
            except ApiUnavailable as error:
                self.refused.setdefault(namespace, []).append(error)
                return None

    async def gone(self, rows: Iterable[R]) -> list[R]:
        """Rows of which a GET says that the object is gone, or that another one has its name."""

        async def one(row: R) -> R | None:
            reply = await self.get(row.namespace, row.name, metadata_only=True)
            if reply is None:
                return None
            return row if not reply.ok or reply.body["metadata"].get("uid") != str(row.uid) else None

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
