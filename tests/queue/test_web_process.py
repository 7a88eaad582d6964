"""``agentjobs web`` as an administrator starts it (the link, the door, streams of a running job, and the end), and behind an
ingress."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from agentjobs.local.process import free_port
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, ClaimedJob
from agentjobs.web.answers import CSP
from agentjobs.web.names import ROOT
from queue_builders import TestWorker, mirrored_job, new_job

BAD_HOST = {"Host": "evil.example"}


@dataclass
class Started:
    """The process, and a client that has opened its link."""

    process: asyncio.subprocess.Process
    base: str
    link: str
    health: str
    client: aiohttp.ClientSession

    async def code(self, path: str, method: str = "GET", **options: object) -> int:
        async with self.client.request(method, self.base + path, **options) as answer:  # type: ignore[arg-type]
            return answer.status

    @asynccontextmanager
    async def stream(self, path: str, accept: str) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of a stream, as they come."""
        async with self.client.get(self.base + path, headers={"Accept": accept}) as answer:
            assert answer.status == 200, await answer.text()

            async def lines() -> AsyncIterator[str]:
                async for line in answer.content:
                    yield line.decode().rstrip("\n")

            yield lines()


@pytest.fixture
async def web(dsn: str) -> AsyncIterator[Started]:
    port, health = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agentjobs.cli", "web", "--port", str(port), "--health-port", str(health),
        env=os.environ | {"AGENTJOBS_DATABASE_URL": dsn}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        link = re.fullmatch(r"Open (http://127\.0\.0\.1:\d+/open/[\w-]{43})\n", said)
        assert link, said
        # aiohttp's own jar keeps no cookie of an IP address unless it is told to
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
            base = f"http://127.0.0.1:{port}"
            yield Started(process, base, link[1], f"http://127.0.0.1:{health}", client)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def queue(dsn: str) -> AsyncIterator[Queue]:
    async with await Queue.open(dsn) as made:
        yield made


async def test_the_link_opens_the_dashboard_for_its_own_pages_and_for_nobody_else(
    web: Started, queue: Queue
) -> None:
    runs = f"{ROOT}/agentruns"
    assert await web.code(runs) == 401
    assert await web.code("/open/guessed") == 401
    assert await web.code(web.link.removeprefix(web.base), headers=BAD_HOST) == 421
    async with web.client.get(web.link, allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.headers["Location"] == f"{ROOT}/ui/now.html"
        cookie = answer.headers["Set-Cookie"].lower()
        assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/", "max-age"))
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    async with aiohttp.ClientSession() as another, another.get(web.link, allow_redirects=False) as answer:
        assert answer.status == 401, "the link lets in once"
    async with web.client.get(f"{web.base}{ROOT}/ui/now.html") as page:
        assert (page.status, page.headers["Content-Security-Policy"]) == (200, CSP)

    own = {"Origin": web.base}
    pause = {"json": {"spec": {"verb": "pause", "queue": "agents", "reason": "deploy"}}}
    for headers, code in (
        ({}, 200), (own, 200), (BAD_HOST, 421), ({"Origin": "https://evil.example"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403),
    ):  # fmt: skip
        assert await web.code(runs, headers=headers) == code, headers
    for headers, code in (
        ({}, 403), ({"Origin": "null"}, 403), ({"Origin": "http://127.0.0.1:1"}, 403), (BAD_HOST | own, 421), (own, 201),
    ):  # fmt: skip
        assert await web.code(f"{ROOT}/queueactions", "POST", headers=headers, **pause) == code, headers
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        assert await web.code(runs, method, headers=own) == 405
    (row,) = await queue.audit()
    assert (row.actor, row.verb, row.reason, row.source) == ("administrator", "pause", "deploy", "web")
    async with web.client.get(f"{web.health}/readyz") as ready:
        assert ready.status == 200


async def test_a_watch_an_sse_stream_and_a_followed_log_tell_of_a_running_job_and_end_with_the_process(
    web: Started, queue: Queue
) -> None:
    async with web.client.get(web.link) as page:
        assert page.status == 200
    worker = await TestWorker(queue).register()
    await queue.enqueue([mirrored_job("mine")])

    async def watched(accept: str, found: list[str]) -> None:
        """The states of the job in the order in which a watch tells them, until the stream ends."""
        async with web.stream(f"{ROOT}/namespaces/team/agentruns?watch=true", accept) as lines:
            async for line in lines:
                text = line.removeprefix("data: ")
                if text.startswith("{") and "status" in text:
                    event = json.loads(text)
                    found.append(event.get("object", event)["status"]["state"])

    told: list[str] = []

    async def followed() -> None:
        async with web.stream(
            f"{ROOT}/namespaces/team/agentruns/mine/log?follow=true", "text/plain"
        ) as lines:
            async for line in lines:
                told.append(line)

    plain: list[str] = []
    events: list[str] = []
    streams = [
        asyncio.create_task(watched("application/json", plain)),
        asyncio.create_task(watched("text/event-stream", events)),
    ]

    async def heard(state: str) -> None:
        async with asyncio.timeout(30):
            while not (plain[-1:] == events[-1:] == [state]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    await heard("Queued")
    log = asyncio.create_task(followed())
    job = await worker.one()
    await heard("Running")
    await worker.ack(job, AckKind.RETRY, reason="AgentFailed", log_tail="first words\n", delay_seconds=0)
    again = await _claimed(worker)
    await worker.ack(again, log_tail="last words\n")
    await heard("Complete")
    await asyncio.wait_for(log, 30)
    assert [line for line in told if not line.startswith("===")] == ["first words", "last words"]
    assert plain[0] == events[0] == "Queued"

    web.process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(asyncio.gather(*streams), 20)
    assert await asyncio.wait_for(web.process.wait(), 20) == 0


async def _claimed(worker: TestWorker) -> ClaimedJob:
    async with asyncio.timeout(30):
        while True:
            await worker.queue.tick(worker.id)
            jobs = await worker.claim(1)
            if jobs:
                return jobs[0]
            await asyncio.sleep(0.05)


async def test_forged_identities_and_two_readings_of_a_path_are_refused(web: Started, queue: Queue) -> None:
    await queue.enqueue([new_job()])
    forged = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters", "Impersonate-User": "admin"}
    assert await web.code(f"{ROOT}/agentruns", headers=forged) == 401
    async with web.client.get(web.link) as page:
        assert page.status == 200
    for path in (
        "/ui/",
        "/ui/..",
        "//agentruns",
        "/agentruns/",
        "/namespaces//agentruns",
        "/namespaces/a%2fb/agentruns",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(web.base.rpartition(":")[2]))
        cookie = "; ".join(f"{one.key}={one.value}" for one in web.client.cookie_jar)
        host = web.base.removeprefix("http://")
        writer.write(
            f"GET {ROOT}{path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n".encode()
        )
        answer = (await reader.read()).decode()
        assert answer.startswith("HTTP/1.1 404 "), (path, answer[:80])
        writer.close()


@pytest.fixture
async def ingress(dsn: str, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a process behind an ingress, with a token and a proxy, and no cluster."""
    port, health = free_port(), free_port()
    told = {"WEB_INGRESS_PORT": str(port), "WEB_INGRESS_RIGHTS": "all", "DATABASE_URL": dsn, "HEALTH_PORT": str(health)}  # fmt: skip
    for name in ("TOKEN", "PROXY_SECRET"):
        (tmp_path / name).write_text(name * 8)
        told[f"WEB_INGRESS_{name}_FILE"] = str(tmp_path / name)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agentjobs.cli", "web", env=os.environ | {f"AGENTJOBS_{key}": value for key, value in told.items()},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as client:
            while True:
                try:
                    async with client.get(f"http://127.0.0.1:{health}/readyz") as ready:
                        if ready.status == 200:
                            break
                except aiohttp.ClientError:
                    assert process.returncode is None
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        said, _ = await asyncio.wait_for(process.communicate(), 60)
        assert said == b""  # the administrator's link is for no pod's log
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_behind_an_ingress_the_token_and_the_proxys_people_read_and_nobody_acts(
    ingress: str, queue: Queue
) -> None:
    await queue.enqueue([mirrored_job("mine")])
    token = {"Authorization": aiohttp.encode_basic_auth("me", "TOKEN" * 8)}
    proxy = {"X-Agentjobs-Proxy-Secret": "PROXY_SECRET" * 8, "X-Forwarded-User": "alice"}
    act = {"spec": {"verb": "pause", "queue": "agents"}}
    async with aiohttp.ClientSession() as client:
        async with client.get(f"{ingress}/", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, f"{ROOT}/ui/now.html".lstrip("/"))
        for headers in ({}, {"X-Forwarded-User": "alice"}, {"X-Remote-User": "alice"}):
            async with client.get(f"{ingress}{ROOT}/agentruns", headers=headers) as answer:
                assert answer.status == 401
                assert ("WWW-Authenticate" in answer.headers) is True
        for headers in (token, proxy):
            page = headers | {"Accept": "text/html"}
            async with client.get(f"{ingress}{ROOT}/ui/jobs.html", headers=headers) as answer:
                assert answer.status == 200
            async with client.get(f"{ingress}{ROOT}/namespaces/team/agentruns", headers=page) as answer:
                text = await answer.text()
                assert (answer.status, "mine" in text, 'name="pick"' in text) == (200, True, False)
            async with client.post(f"{ingress}{ROOT}/queueactions", headers=headers, json=act) as answer:
                assert answer.status == 403
                assert "read-only" in await answer.text()
            for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
                async with client.request(method, f"{ingress}{ROOT}/agentruns", headers=headers) as answer:
                    assert answer.status == 405
            stream = headers | {"Accept": "text/event-stream"}
            async with client.get(f"{ingress}{ROOT}/agentruns?watch=true", headers=stream) as answer:
                assert answer.headers["X-Accel-Buffering"] == "no"
                async with asyncio.timeout(30):
                    while b"event: added" not in await answer.content.readline():
                        pass
    assert await queue.audit() == []
