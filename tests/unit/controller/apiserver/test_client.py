"""Requests to the API server, on a small HTTP server: what one answer may do to other requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.metrics.counters import API_REQUESTS, Counters

OBJECT = {"metadata": {"name": "one"}}


class Server:
    """Answers by the path's last word; remembers who asked."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.hanging = 0
        self.release = asyncio.Event()
        self.good_token = ""

    async def answer(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "")
        self.tokens.append(token)
        what = request.path.rpartition("/")[2]
        if what == "hang":
            self.hanging += 1
            await self.release.wait()
        if what == "html":
            return web.Response(text="<html>", status=200)
        if what == "nothing":
            return web.json_response({"hello": "you"})
        if what.isdigit():
            return web.json_response(
                {"message": "no"}, status=int(what), headers={"Retry-After": request.query.get("after", "")}
            )
        if self.good_token and token != f"Bearer {self.good_token}":
            return web.json_response({"message": "who are you?"}, status=401)
        return web.json_response(OBJECT)


def kubeconfig(folder: Path, port: int, token: str = "old") -> Path:
    path = folder / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {"token": token}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            }
        )
    )
    return path


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[Server, ApiServer, int]]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = int(runner.addresses[0][1])
    async with ApiServer(str(kubeconfig(tmp_path, port)), Counters()) as api:
        yield made, api, port
    await runner.cleanup()


async def test_a_401_leaves_requests_under_way_alone(server: tuple[Server, ApiServer, int]) -> None:
    asked, api, _ = server
    hanging = asyncio.create_task(api.request("GET", "/hang", resource="x"))
    while not asked.hanging:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    for _ in range(5):
        assert (await api.request("GET", "/401", resource="x")).status == 401
    asked.release.set()
    assert (await hanging).ok
    assert len(asked.tokens) == 6, "nothing is asked again with credentials that were refused"


async def test_after_a_401_new_credentials_are_used_where_there_are_any(
    server: tuple[Server, ApiServer, int], tmp_path: Path
) -> None:
    asked, api, port = server
    asked.good_token = "old"
    assert (await api.request("GET", "/one", resource="x")).ok
    hanging = asyncio.create_task(api.request("GET", "/hang", resource="x"))
    while not asked.hanging:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    asked.good_token = "new"
    kubeconfig(tmp_path, port, "new")
    assert (await api.request("GET", "/one", resource="x")).ok
    assert asked.tokens[-2:] == ["Bearer old", "Bearer new"]
    asked.good_token = "old"
    asked.release.set()
    assert (await hanging).ok


@pytest.mark.parametrize("what", ["html", "nothing"])
async def test_a_success_without_an_object_is_no_answer(
    server: tuple[Server, ApiServer, int], what: str
) -> None:
    _, api, _ = server
    with pytest.raises(ApiUnavailable) as caught:
        await api.request("GET", f"/{what}", resource="x")
    assert not caught.value.unreachable
    assert api.meter.total(API_REQUESTS, result="200") == 1


@pytest.mark.parametrize(
    ("after", "seconds"),
    [("", None), ("7", 7.0), ("0.5", 0.5), ("nan", None), ("inf", None), ("-1", None), ("Fri, 31 Dec", None)],
)
async def test_retry_after_is_read_where_it_is_a_number_of_seconds(
    server: tuple[Server, ApiServer, int], after: str, seconds: float | None
) -> None:
    _, api, _ = server
    assert (await api.request("GET", f"/429?after={after}", resource="x")).retry_after_seconds == seconds


async def test_a_server_that_is_not_there_is_unreachable(
    server: tuple[Server, ApiServer, int], tmp_path: Path
) -> None:
    async with ApiServer(str(kubeconfig(tmp_path, 1)), Counters()) as nobody:
        with pytest.raises(ApiUnavailable) as caught:
            await nobody.request("GET", "/one", resource="x")
    assert caught.value.unreachable
