"""Watches: what changed in a list from one look to the next. A read that several watchers share is done once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from agentjobs.queue.errors import QueueUnavailable
from agentjobs.web.call import Event
from agentjobs.web.objects.meta import KubeObject
from agentjobs.web.status import ApiError

T = TypeVar("T", bound=KubeObject)
V = TypeVar("V")
LOOK_SECONDS = 1.0
SIGN_OF_LIFE_SECONDS = 15.0
AWAY_SECONDS = 60.0
"""How long a watch waits for a database that is away, before it ends with an error."""


@dataclass(frozen=True, slots=True)
class Seen(Generic[T]):
    """A list at one moment: objects by a key, each with its place; the highest place is the newest."""

    objects: Mapping[str, tuple[int, T]]
    from_place: int = 0
    """The page is full: what has a lower place may still be there, below it."""


def differences(before: Seen[T], now: Seen[T]) -> list[tuple[str, T]]:
    """The events that make of one look the other: (added | modified | deleted, object). Pure."""
    events: list[tuple[str, T]] = []
    for key, (place, item) in before.objects.items():
        if key not in now.objects and place >= now.from_place:
            events.append(("deleted", item))
    for key, (place, item) in sorted(now.objects.items(), key=lambda pair: pair[1][0]):
        known = before.objects.get(key)
        if known is None:
            if place >= before.from_place or not before.objects:
                events.append(("added", item))
        elif known[1] is not item and known[1] != item:
            events.append(("modified", item))
    return events


def since(now: Seen[T], version: str) -> list[tuple[str, T]]:
    """The first events of a watch: with a version of a list, what changed after it; without, all there is. Pure."""
    if version in ("", "0"):
        return [("added", item) for _, item in sorted(now.objects.values(), key=lambda pair: pair[0])]
    later = [item for _, item in now.objects.values() if _version(item) > int(version)]
    return [("modified", item) for item in sorted(later, key=_version)]


def _version(item: KubeObject) -> int:
    metadata = getattr(item, "metadata", None)
    text = getattr(metadata, "resource_version", None) or "0"
    return int(text) if text.isdigit() else 0


async def changes(
    look: Callable[[], Awaitable[Seen[T]]], version: str, *, every_seconds: float = LOOK_SECONDS
) -> AsyncIterator[Event]:
    """The events of a watch, for ever; an error where the database stays away."""
    seen: Seen[T] | None = None
    last = answered = time.monotonic()
    while True:
        try:
            now = await look()
        except QueueUnavailable as error:
            if time.monotonic() - answered > AWAY_SECONDS:
                yield Event("error", error=ApiError(503, f"the database is away: {error}"))
                return
            await asyncio.sleep(every_seconds)
            continue
        answered = time.monotonic()
        found = since(now, version) if seen is None else differences(seen, now)
        seen = now
        for kind, item in found:
            last = answered
            yield Event(kind, item, id=str(_version(item)))
        if answered - last > SIGN_OF_LIFE_SECONDS:
            last = answered
            yield Event("bookmark")
        await asyncio.sleep(every_seconds)


async def with_signs_of_life(
    events: AsyncIterator[Event], seconds: float = SIGN_OF_LIFE_SECONDS
) -> AsyncIterator[Event]:
    """The events, and a bookmark wherever none came for so long."""
    step: asyncio.Task[Event | None] | None = None
    try:
        while True:
            step = step or asyncio.ensure_future(_next(events))
            done, _ = await asyncio.wait({step}, timeout=seconds)
            if not done:
                yield Event("bookmark")
                continue
            event, step = step.result(), None
            if event is None:
                return
            yield event
    finally:
        if step is not None:
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


async def _next(events: AsyncIterator[Event]) -> Event | None:
    return await anext(events, None)


class Shared:
    """Reads that watchers share: one at a time for each key, and its answer serves all for a moment."""

    def __init__(
        self,
        keep_seconds: float = 0.8,
        clock: Callable[[], float] = time.monotonic,
        *,
        at_once: int = 1 << 30,
    ) -> None:
        """``at_once``: reads at once, of all keys; further ones wait."""
        self._keep, self._clock = keep_seconds, clock
        self._gate = asyncio.Semaphore(at_once)
        self._reads: dict[Hashable, tuple[float, asyncio.Task[Any]]] = {}

    async def read(self, key: Hashable, make: Callable[[], Awaitable[V]]) -> V:
        """The answer of ``make``, at most ``keep_seconds`` old. Its error is every waiting reader's."""
        now = self._clock()
        for other in [k for k, (at, task) in self._reads.items() if task.done() and at + self._keep < now]:
            del self._reads[other]
        kept = self._reads.get(key)
        if kept is None:
            kept = (now, asyncio.ensure_future(self._made(make)))
            self._reads[key] = kept
        try:
            return cast(V, await asyncio.shield(kept[1]))
        except asyncio.CancelledError:
            raise
        except BaseException:
            if self._reads.get(key) is kept:
                del self._reads[key]
            raise

    async def _made(self, make: Callable[[], Awaitable[V]]) -> V:
        async with self._gate:
            return await make()


def by_identity(items: Sequence[T]) -> Seen[T]:
    """A whole list, whose objects are known by their names; two of one name, as workers may be, by their uids."""
    metadata = [getattr(item, "metadata") for item in items]  # noqa: B009
    return Seen({f"{one.name}/{one.uid}": (0, item) for one, item in zip(metadata, items, strict=True)})
