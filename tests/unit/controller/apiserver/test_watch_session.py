"""What is left of a watch's answer for kopf: how far it has come, and what is no object."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.aio.client import Configuration

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import Call
from agentjobs.controller.apiserver.watch_session import WithoutObjects, bookmark, watch_session


class Content:
    """A body that arrives in pieces."""

    def __init__(self, body: bytes, cuts: list[int]) -> None:
        edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
        self._pieces = [body[a:b] for a, b in itertools.pairwise(edges)]

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


async def at_once() -> None:
    """There is room."""


async def read(body: bytes, cuts: list[int]) -> tuple[list[tuple[dict[str, Any], str | None]], list[bytes]]:
    """The objects that were handed on, and the lines that are left."""
    seen: list[tuple[dict[str, Any], str | None]] = []
    content = cast(aiohttp.StreamReader, Content(body, cuts))
    left = [
        piece
        async for piece in WithoutObjects(
            content, lambda body, type_: seen.append((body, type_)), at_once
        ).iter_chunked(7)
    ]
    assert all(piece.endswith(b"\n") for piece in left), "kopf puts the pieces together"
    return seen, b"".join(left).splitlines()


def event(type_: str, version: int) -> dict[str, Any]:
    return {"type": type_, "object": {"metadata": {"resourceVersion": str(version), "name": "größe"}}}


ERROR = {"type": "ERROR", "object": {"code": 410, "metadata": {}}}
TYPES = st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"])


@given(
    types=st.lists(TYPES, max_size=12), cuts=st.lists(st.integers(0, 2000), max_size=12), last=st.booleans()
)
async def test_each_object_is_handed_on_once_in_order_and_kopf_learns_the_last_version_of_each(
    types: list[str], cuts: list[int], last: bool
) -> None:
    events = [ERROR if type_ == "ERROR" else event(type_, n) for n, type_ in enumerate(types, 1)]
    body = b"\n".join(json.dumps(one, ensure_ascii=False).encode() for one in events) + b"\n" * last
    seen, left = await read(body, cuts)
    assert seen == [
        (one["object"], one["type"]) for one in events if one["type"] not in ("BOOKMARK", "ERROR")
    ]
    told = [json.loads(line) for line in left]
    assert [one for one in told if one["type"] == "ERROR"] == [
        one for one in events if one["type"] == "ERROR"
    ]
    version = 0
    for one in told:  # each line says as much as all events up to it, and none goes back
        if one["type"] == "BOOKMARK":
            assert int(one["object"]["metadata"]["resourceVersion"]) > version
            version = int(one["object"]["metadata"]["resourceVersion"])
    expected = [n for n, type_ in enumerate(types, 1) if type_ != "ERROR"]
    assert version == (expected[-1] if expected else 0)


async def test_what_is_no_watch_event_is_left_for_kopf() -> None:
    lines = [
        b'{"type": "ADDED"}',
        b'{"type": "ADDED", "object": {"metadata": 7}}',
        b"nonsense",
        b'{"type": "NEW", "object": {}}',
    ]
    seen, left = await read(b"\n\n".join(lines), [3, 40])
    assert seen == []
    assert left == lines


async def test_an_answer_that_is_closed_before_its_end_is_closed_in_order() -> None:
    async def watch(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(json.dumps(event("ADDED", 7)).encode() + b"\n")
        await asyncio.sleep(60)
        return response

    app = web.Application()
    app.router.add_get("/", watch)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        seen: list[str | None] = []
        async with session.get(server.make_url("/")) as response:
            response.content = cast(
                aiohttp.StreamReader,
                WithoutObjects(response.content, lambda _, type_: seen.append(type_), at_once),
            )
            assert await anext(response.content.iter_chunked(1024)) == bookmark("7") + b"\n"
    assert seen == ["ADDED"]


class Reader:
    """Who takes the objects, and has room for them or not."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.free = asyncio.Event()
        self.asked = asyncio.Event()

    def take(self, body: dict[str, Any], type_: str | None) -> None:
        self.seen.append(body["metadata"]["name"])

    def answered(self, call: Call, status: int) -> None:
        assert status == 200

    def refused(self, call: Call, answer: ApiUnavailable) -> float:
        raise AssertionError(answer)

    async def room(self) -> None:
        self.asked.set()
        await self.free.wait()
        self.asked.clear()


async def test_no_page_is_asked_for_and_no_watch_read_on_before_there_is_room_for_its_objects() -> None:
    requests: list[str] = []

    async def serve(request: web.Request) -> web.StreamResponse:
        requests.append(request.query_string)
        if not request.query.get("watch"):
            return web.json_response({"kind": "JobList", "items": [{"metadata": {"name": "listed"}}]})
        response = web.StreamResponse()
        await response.prepare(request)
        for name in ("first", "second"):
            body = {"type": "ADDED", "object": {"metadata": {"name": name, "resourceVersion": "7"}}}
            await response.write(json.dumps(body).encode() + b"\n")
            await watched.wait()
        return response

    watched = asyncio.Event()
    app = web.Application()
    app.router.add_get("/", serve)
    reader = Reader()
    async with (
        TestServer(app) as server,
        watch_session(Configuration(host=str(server.make_url("/"))), reader, reader.take) as session,
    ):
        page = asyncio.create_task(session.get(server.make_url("/")))
        await reader.asked.wait()
        assert requests == []
        reader.free.set()
        assert (await (await page).json())["items"] == []
        assert reader.seen == ["listed"]

        reader.free.clear()
        reader.asked.clear()
        async with session.get(server.make_url("/"), params={"watch": "true"}) as response:
            pieces = response.content.iter_chunked(1024)
            await anext(pieces)
            further = asyncio.ensure_future(anext(pieces))
            watched.set()
            await reader.asked.wait()
            assert reader.seen == ["listed", "first"]
            reader.free.set()
            await further
            assert reader.seen == ["listed", "first", "second"]
