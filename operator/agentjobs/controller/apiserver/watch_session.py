"""The HTTP session of one watch: what is refused waits here, and objects leave here, so that kopf sees neither.

kopf by itself tries again for ever, in silence, after whatever ``Retry-After`` asks for, or ends as a whole. And it makes a queue, a
task and some hundred Python objects of each watch event, which is half of what the operator spends on a job, and keeps a memory of each
object. So it lists, follows the resource versions and begins anew where it must; of the objects it sees their versions alone. What it
would read ahead of those that store the objects is not asked for: 50,000 of them in memory are 500 MiB.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Protocol, cast

import aiohttp
import orjson
from kubernetes.aio.client import Configuration

from agentjobs.controller.apiserver.client import (
    ANSWER_SECONDS,
    UNREACHABLE,
    authorization_of,
    no_answer,
    object_of,
    reply_of,
    ssl_context_of,
)
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import Call
from agentjobs.values.json import JsonObject

LIST_SECONDS = 60.0
"""A page of a LIST that is not there by then is asked for again."""
START_ANEW = frozenset({401, 410})
"""Answers after which the watch begins anew: with other credentials, or with another listing."""


class Refusals(Protocol):
    """What is made of the answers; called in the watch's thread."""

    def answered(self, call: Call, status: int) -> None:
        """The API server does what it was asked."""

    def refused(self, call: Call, answer: ApiUnavailable) -> float:
        """For how many seconds to wait now."""

    async def room(self) -> None:
        """Returns once there is room for further objects."""


CHANGES = frozenset({"ADDED", "MODIFIED", "DELETED"})
"""Types of watch events that carry an object."""
Seen = Callable[[JsonObject, str | None], None]
"""Is given each object, and the type of its watch event; None: it was listed. Called in the watch's thread."""


Room = Callable[[], Awaitable[None]]
"""Returns once there is room for further objects."""


class WatchEnds(Exception):
    """The watch has to begin anew."""


def watch_session(configuration: Configuration, refusals: Refusals, seen: Seen) -> aiohttp.ClientSession:
    """A session for kopf; each request carries the present credentials."""

    async def wait_for_answer(
        request: aiohttp.ClientRequest,
        handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
    ) -> aiohttp.ClientResponse:
        call = Call.WATCH if request.url.query.get("watch") else Call.LIST
        while True:
            if call is Call.LIST:
                await refusals.room()
            if session.closed:  # kopf has ended while this request waited, and does not end it itself
                raise asyncio.CancelledError
            request.headers.update(await authorization_of(configuration))
            answer = await _ask(call, request, handler, seen, refusals.room)
            if isinstance(answer, aiohttp.ClientResponse):
                refusals.answered(call, answer.status)
                return answer
            seconds = refusals.refused(call, answer)
            if answer.status in START_ANEW:
                raise WatchEnds(str(answer))
            await asyncio.sleep(seconds)

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=ssl_context_of(configuration)),
        proxy=configuration.proxy or None,
        middlewares=(wait_for_answer,),
    )
    return session


async def _ask(
    call: Call,
    request: aiohttp.ClientRequest,
    handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
    seen: Seen,
    room: Room,
) -> aiohttp.ClientResponse | ApiUnavailable:
    """The answer of a watch once it begins, and that of any other request once it is whole; without the objects."""
    what = f"{call.value} {request.url.path}"
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            response = await handler(request)
            if response.status >= 400:
                return ApiUnavailable(
                    f"{what}: {(reply := reply_of(response, await response.read())).words}",
                    reply.retry_after_seconds,
                    status=reply.status,
                )
        if call is Call.WATCH:
            response.content = cast(aiohttp.StreamReader, WithoutObjects(response.content, seen, room))
            return response
        async with asyncio.timeout(LIST_SECONDS):
            body = object_of(await response.read())
    except UNREACHABLE as error:
        return no_answer(what, error)
    if not body:
        return ApiUnavailable(f"{what}: {response.status} without a JSON object")
    if isinstance(items := body.get("items"), list):
        kinds = {"kind": str(body.get("kind", "")).removesuffix("List"), "apiVersion": body.get("apiVersion")}
        for item in items:
            seen(kinds | item, None)
        response._body = orjson.dumps({**body, "items": []})  # what read() has kept, and json() gives
    return response


class WithoutObjects:
    """The body of a watch's answer, with a bookmark in place of the objects: their last resource version.

    It is read no faster than there is room for what it brings. An API server ends a watch that does not read, which then goes on from its
    last resource version.
    """

    def __init__(self, content: aiohttp.StreamReader, seen: Seen, room: Room) -> None:
        self._content = content
        self._seen = seen
        self._room = room

    def __getattr__(self, name: str) -> Any:
        """All else is the body's own: aiohttp asks it how it ended, when the answer is closed."""
        return getattr(self._content, name)

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """Whole lines, as they arrive."""
        begun: list[bytes] = []
        async for chunk in self._content.iter_chunked(n):
            *lines, rest = chunk.split(b"\n")
            if lines:
                lines[0] = b"".join((*begun, lines[0]))
                begun.clear()
                if left := self._left(lines):
                    yield left
                await self._room()
            if rest:
                begun.append(rest)
        if left := self._left([b"".join(begun)]):
            yield left

    def _left(self, lines: Iterable[bytes]) -> bytes:
        left, version = [], ""
        for line in filter(None, lines):
            event = object_of(line)
            body: Any = event.get("object")
            if (
                event.get("type") in CHANGES
                and isinstance(body, dict)
                and isinstance(body.get("metadata"), dict)
            ):
                self._seen(body, event["type"])
                version = str(body["metadata"].get("resourceVersion") or version)
                continue
            if version:
                left.append(bookmark(version))
                version = ""
            left.append(line)
        if version:
            left.append(bookmark(version))
        return b"".join(line + b"\n" for line in left)


def bookmark(version: str) -> bytes:
    """A line that says how far the watch has come."""
    return orjson.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version}}})
