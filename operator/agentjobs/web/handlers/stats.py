"""queuestats, workers, models: lists, watches and single objects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from agentjobs.web.call import Answer, Call, Object, Watch
from agentjobs.web.objects.meta import KubeObject
from agentjobs.web.status import not_found
from agentjobs.web.watching import Seen, by_identity, changes

STATS_LOOK_SECONDS = 2.0
T = TypeVar("T", bound=KubeObject)
Read = Callable[[Call], Awaitable[tuple[KubeObject, Sequence[T]]]]


async def queuestats(call: Call) -> tuple[KubeObject, Sequence[KubeObject]]:
    """The queues."""
    found = await call.runs.queues(call.target.namespace)
    return found, found.items


async def workers(call: Call) -> tuple[KubeObject, Sequence[KubeObject]]:
    """The live workers."""
    found = await call.runs.workers(call.target.namespace)
    return found, found.items


async def models(call: Call) -> tuple[KubeObject, Sequence[KubeObject]]:
    """The models with a breaker."""
    found = await call.runs.models(call.target.namespace)
    return found, found.items


def listing(read: Read[KubeObject]) -> Callable[[Call], Awaitable[Answer]]:
    """The handler that lists what ``read`` reads."""

    async def handler(call: Call) -> Answer:
        whole, items = await read(call)
        wanted = [item for item in items if call.target.name in (None, _name(item))]
        return Object(whole.model_copy(update={"items": wanted}), wanted)

    return handler


def getting(read: Read[KubeObject]) -> Callable[[Call], Awaitable[Answer]]:
    """The handler that finds one of what ``read`` reads."""

    async def handler(call: Call) -> Answer:
        _, items = await read(call)
        for item in items:
            if _name(item) == call.name:
                return Object(item, [item])
        raise not_found(f"{call.target.resource}.runs.agentjobs.dev", call.name)

    return handler


def watching(read: Read[KubeObject]) -> Callable[[Call], Awaitable[Answer]]:
    """The handler that watches what ``read`` reads."""

    async def handler(call: Call) -> Answer:
        async def look() -> Seen[KubeObject]:
            _, items = await read(call)
            return by_identity([item for item in items if call.target.name in (None, _name(item))])

        version = "" if call.parameter("resourceVersion") in (None, "", "0") else "1"
        return Watch(changes(look, version, every_seconds=STATS_LOOK_SECONDS), call.watch_seconds)

    return handler


def _name(item: KubeObject) -> str:
    metadata = getattr(item, "metadata", None)
    return str(getattr(metadata, "name", ""))
