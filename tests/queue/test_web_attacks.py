"""``agentjobs web`` under users who mean ill, as the API server's front proxy hands their requests on."""

from __future__ import annotations

import asyncio
import json
from asyncio import sslproto
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import aiohttp
import psycopg
import pytest

from agentjobs.local.certificates import Authority
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import JobView
from agentjobs.values.json import JsonObject
from agentjobs.web import server, tls
from agentjobs.web.handlers.log import LOOK_SECONDS
from agentjobs.web.names import ROOT
from agentjobs.web.runs import LOOKS
from agentjobs.web.shares import STREAMS
from agentjobs.web.tls import READ_BYTES
from front_proxies import FrontProxy, front_proxy
from queue_builders import mirrored_job, new_job, shown, sql, until, waits_for_a_lock

FOLLOWED = "namespaces/team/agentruns/mine/log?follow=true"


async def test_one_users_streams_and_requests_shut_out_neither_discovery_nor_another_user(
    dsn: str, queue: Queue, tmp_path: Path
) -> None:
    await queue.enqueue([mirrored_job("mine")])
    async with front_proxy(dsn, tmp_path) as door, door.client("eve") as eve, door.client("alice") as alice:
        streams: list[aiohttp.ClientResponse] = []
        for _ in range(0, STREAMS + 40, 40):
            streams += await asyncio.gather(*(eve.get(FOLLOWED) for _ in range(40)))
        assert Counter(one.status for one in streams) == {200: STREAMS, 429: 40}
        flood = [asyncio.create_task(eve.get("namespaces/team/agentruns")) for _ in range(300)]
        async with alice.get(ROOT) as discovery, alice.get("namespaces/team/agentruns") as jobs:
            assert (discovery.status, jobs.status) == (200, 200)
        async with alice.get(FOLLOWED) as stream:
            assert stream.status == 200
        answers = Counter([one.status for one in await asyncio.gather(*flood)])
        assert answers.keys() <= {200, 429}
        for one in streams:
            one.close()

        async def comes_back() -> None:
            while True:
                async with eve.get(FOLLOWED) as stream:
                    if stream.status == 200:
                        return
                await asyncio.sleep(0.05)

        await asyncio.wait_for(comes_back(), 30)


LONG = "0" * 19 + "1" + "9" * 400
ODD: list[tuple[str, object, int]] = [
    (f"namespaces/team/runaudits?continue={LONG}", None, 400),
    ("namespaces/team/runaudits?queue=%00", None, 200),
    (f"namespaces/team/agentruns?watch=true&timeoutSeconds={LONG}", None, 400),
    ("namespaces/team/agentruns?watch=true&resourceVersion=%C2%B2", None, 410),
    (f"namespaces/team/agentruns?watch=true&resourceVersion={LONG}", None, 410),
    ("namespaces/team/agentruns?continue=1-" + "9" * 5000, None, 410),
    ("namespaces/team/agentruns?since=99999w", None, 400),
    ("namespaces/team/agentruns?since=0001-01-01T00:00:00Z", None, 400),
    ("namespaces/team/agentruns?since=2026-01-01T00:00:00", None, 400),
    ("namespaces/team/agentruns?watch=true&since=99999w", None, 400),
    ("namespaces/team/runseries?since=2026-01-01T00:00:00", None, 400),
    ("namespaces/team/runseries?since=31d&step=60", None, 400),
    ("namespaces/team/runseries?fieldSelector=metadata.name=mine", None, 400),
    ("namespaces/team/runaudits?fieldSelector=metadata.name=1", None, 400),
    ("namespaces/team/schedulestats?fieldSelector=metadata.name=mine", None, 400),
    (f"namespaces/team/agentruns/mine/log?attempt={LONG}", None, 400),
    ("namespaces/-/runactions", {"spec": {"verb": "retry", "filter": {"since": "99999w"}}}, 400),
    ("namespaces/-/runactions", {"spec": {"verb": "retry", "filter": {}, "continue": "1-x"}}, 410),
    ("namespaces/-/runactions", {"spec": {"verb": "retry", "filter": {}, "reason": "\0"}}, 201),
    ("namespaces/team/erasures", {"spec": {"user": "a\0b"}}, 201),
    ("queueactions", {"spec": {"verb": "pause", "queue": "a\0b"}}, 400),
    ("queueactions", {"spec": {"verb": "reset", "pool": "\0", "model": "\0"}}, 201),
]


async def test_a_request_with_odd_values_is_answered_with_what_is_wrong_with_them(
    dsn: str, queue: Queue, tmp_path: Path
) -> None:
    await queue.enqueue([mirrored_job("mine")])
    async with front_proxy(dsn, tmp_path, session_dsn=dsn) as door, door.client() as client:
        found = {}
        for path, body, _ in ODD:
            answer = client.get(path) if body is None else client.post(path, json=body)
            async with answer as got:
                found[path[:80], str(body)] = got.status
        assert found == {(path[:80], str(body)): code for path, body, code in ODD}
        # bytes that Latin-1 reads as digits
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", door.port, ssl=door.context(), server_hostname="localhost"
        )
        head = f"GET {ROOT}/{FOLLOWED} HTTP/1.1\r\nHost: x\r\nX-Remote-User: eve\r\nLast-Event-ID: "
        writer.write(head.encode() + b"\xb2\r\nAccept: text/event-stream\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize(
    ("path", "function"),
    [
        (FOLLOWED, "view"),
        (f"{FOLLOWED}&source=progress", "view"),
        ("namespaces/team/agentruns?watch=true", "list"),
        ("namespaces/team/queuestats?watch=true", "model_health"),
    ],
)
async def test_a_stream_that_cannot_go_on_ends_with_an_error_and_no_reset(
    dsn: str, queue: Queue, tmp_path: Path, path: str, function: str
) -> None:
    await queue.enqueue([mirrored_job("mine")])
    async with (
        front_proxy(dsn, tmp_path) as door,
        door.client() as client,
        client.get(path, headers={"Accept": "text/event-stream"}) as stream,
    ):
        assert (await stream.content.readline()).startswith(b": open")
        await sql(dsn, f"alter function agentjobs.{function} rename to gone")
        told = (await asyncio.wait_for(stream.text(), 30)).strip().split("\n\n")[-1]
        assert told.startswith("event: error\n")
        assert '"code":500' in told


async def test_a_hundred_streams_cost_few_reads_and_little_memory(
    dsn: str, queue: Queue, tmp_path: Path
) -> None:
    jobs = [mirrored_job(f"job-{n}") for n in range(10)]
    await queue.enqueue(jobs)
    assert sslproto.SSLProtocol.max_size == READ_BYTES  # else each has 256 KiB more
    shown: Counter[UUID] = Counter()
    with_runs: Counter[UUID] = Counter()
    at_once = most = 0
    show = Queue.show

    async def counted(self: Queue, uid: UUID, *, runs: bool = True) -> JobView | None:
        nonlocal at_once, most
        shown[uid] += 1
        with_runs[uid] += runs
        at_once += 1
        most = max(most, at_once)
        try:
            return await show(self, uid, runs=runs)
        finally:
            at_once -= 1

    async with front_proxy(dsn, tmp_path) as door, door.client() as client, AsyncExitStack() as open_streams:
        for job in jobs:
            assert job.ref is not None
            path = f"namespaces/team/agentruns/{job.ref.name}/log?follow=true"
            for _ in range(10):
                stream = await open_streams.enter_async_context(client.get(path))
                assert stream.status == 200
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Queue, "show", counted)
            before = asyncio.get_running_loop().time()
            await until(lambda: _true(len(shown) == 10 and min(shown.values()) >= 3))
            looks = (asyncio.get_running_loop().time() - before) / LOOK_SECONDS + 2
        assert most <= LOOKS
        assert max(shown.values()) <= 2 * looks, "ten follow each job"
        assert max(with_runs.values()) <= 10, (
            "each reads the ended runs once, and again when the job has changed"
        )


async def _true(value: bool) -> bool:
    return value


async def test_certificates_change_while_streams_are_open_and_the_earlier_authority_is_not_believed_any_more(
    dsn: str, queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REREAD_SECONDS", 0.2)
    jobs = f"{ROOT}/namespaces/team/agentruns"

    async def code(client: aiohttp.ClientSession) -> int:
        """0: TLS, or the connection, was refused."""
        try:
            async with client.get(jobs) as answer:
                return answer.status
        except aiohttp.ClientError:
            return 0

    job = mirrored_job("mine")
    await queue.enqueue([job])
    async with (
        front_proxy(dsn, tmp_path) as door,
        door.client() as earlier,
        earlier.get(f"{ROOT}/{FOLLOWED}&source=progress", headers={"Accept": "text/event-stream"}) as stream,
    ):
        assert await code(earlier) == 200  # by a connection that is kept
        await _served_anew(door)
        door.authority = Authority(tmp_path / "another")
        async with door.client() as later:

            async def believed() -> bool:
                return await code(later) == 200

            await until(believed)
            assert await code(earlier) == 0
            door.told = "-----BEGIN CERTIFICATE-----\nnone\u00fc"
            await _served_anew(door)
            assert await code(later) == 200
            await queue.cancel(job.uid)
            told = await asyncio.wait_for(stream.text(), 30)
        assert told.rstrip().endswith("event: end\ndata: {}"), "a stream that was open goes on to its end"


async def _served_anew(door: FrontProxy) -> None:
    """Gives the door another serving certificate, and waits until it shows it."""
    before = await door.served_certificate()
    door.new_certificate()

    async def changed() -> bool:
        return await door.served_certificate() != before

    await until(changed)


async def test_an_erasure_in_a_namespace_reaches_jobs_without_an_object_whose_payload_names_it_and_no_others(
    dsn: str, queue: Queue, tmp_path: Path
) -> None:
    def payload(namespace: str) -> JsonObject:
        return {"v": 1, "namespace": namespace, "userID": "max", "message": f"said in {namespace}"}

    jobs = {
        "bare": new_job(payload=payload("team")),
        "elsewhere": new_job(payload=payload("other")),
        "theirs": mirrored_job("a", "other", payload=payload("team")),
    }
    await queue.enqueue(list(jobs.values()))
    async with front_proxy(dsn, tmp_path) as door, door.client("admin") as client:
        asked = client.post("namespaces/team/erasures", json={"spec": {"user": "max"}})
        async with asked as answer:
            assert (await answer.json())["status"]["jobs"] == 1
        async with client.get("namespaces/team/runaudits") as answer:
            (row,) = (await answer.json())["items"]
    assert (row["verb"], row["actor"], json.loads(row["after"])["cancelled"]) == ("erase", "admin", 1)
    left = {name: (await shown(queue, job)).payload for name, job in jobs.items()}
    assert {name for name, found in left.items() if found and "message" in found} == {"elsewhere", "theirs"}


async def test_a_database_that_gives_no_answer_holds_up_neither_discovery_nor_the_requests_after_it(
    dsn: str, queue: Queue, tmp_path: Path
) -> None:
    await queue.enqueue([mirrored_job("mine")])
    async with front_proxy(dsn, tmp_path) as door, door.client() as client:
        path = "namespaces/team/agentruns"

        async def code(path: str) -> int:
            async with client.get(path) as answer:
                return answer.status

        async with await psycopg.AsyncConnection.connect(dsn) as holder:
            await holder.execute("lock table agentjobs.job in access exclusive mode")
            waiting = [asyncio.create_task(code(path)) for _ in range(30)]
            await until(lambda: waits_for_a_lock(dsn))
            for discovered in (ROOT, "/apis", "/openapi/v3"):
                assert await asyncio.wait_for(code(discovered), 25) == 200
            assert not any(one.done() for one in waiting)
        assert Counter(await asyncio.gather(*waiting)) == {200: 30}


async def test_an_api_server_that_is_away_takes_no_right_that_it_gave_and_gives_none(
    dsn: str, queue: Queue, tmp_path: Path
) -> None:
    await queue.enqueue([mirrored_job("mine")])
    count = {"spec": {"verb": "retry", "filter": {}}}
    log_of = "namespaces/team/agentruns/mine/log"
    async with front_proxy(dsn, tmp_path, session_dsn=dsn) as door, door.client("a", "g") as client:

        async def counted() -> int:
            async with client.post("namespaces/team/runactions?dryRun=All", json=count) as answer:
                return answer.status

        door.away = True
        async with client.get("namespaces/team/agentruns") as answer:
            assert answer.status == 200
        assert await counted() == 503
        door.away, door.allows = False, lambda asked: asked["groups"] == ["g"]
        assert await counted() == 201
        async with door.client("a") as same_user:  # not in the group: another's answer is not his
            async with same_user.post(
                "namespaces/team/runactions?dryRun=All", json=count, headers={"X-Remote-Extra-Scopes": "x"}
            ) as answer:
                assert answer.status == 403
            async with same_user.get(f"{log_of}?source=transcript") as answer:
                assert answer.status == 403
        reviewed = door.reviews[-1]
        assert reviewed["resourceAttributes"] == {
            "group": "runs.agentjobs.dev", "verb": "get", "resource": "agentruns", "subresource": "transcript", "namespace": "team",
            "name": "mine",
        }  # fmt: skip


async def test_after_sigterm_the_door_goes_on_for_a_while_and_then_every_stream_ends_as_one_that_is_whole(
    dsn: str, queue: Queue, tmp_path: Path
) -> None:
    await queue.enqueue([mirrored_job("mine")])
    paths = (
        FOLLOWED,
        f"{FOLLOWED}&source=progress",
        "namespaces/team/agentruns?watch=true",
        "namespaces/team/queuestats?watch=true",
    )
    async with front_proxy(dsn, tmp_path, linger_seconds=8.0) as door, door.client() as client:
        begun: asyncio.Queue[None] = asyncio.Queue()

        async def followed(path: str, accept: str) -> str:
            async with client.get(path, headers={"Accept": accept}) as stream:
                begun.put_nowait(None)
                return (
                    await stream.text()
                )  # raises where the connection is reset, or its last chunk is missing

        streams = [
            asyncio.create_task(followed(path, accept))
            for path in paths
            for accept in ("text/event-stream", "application/json")
        ]
        for _ in streams:
            await asyncio.wait_for(begun.get(), 30)
        assert door.web is not None
        door.web.stop()
        async with client.get(
            "namespaces/team/agentruns"
        ) as answer:  # the API server has not heard of it yet
            assert answer.status == 200
        assert all(not one.done() for one in streams)
        await asyncio.wait_for(asyncio.gather(*streams), 30)


@pytest.mark.parametrize(
    "sent",
    [
        [b""],
        [b"G", b"E", b"T"],
        [f"GET {ROOT} HTTP/1.1\r\nHost: x\r\n".encode(), b"A: b\r\n"],
        [f"GET {ROOT} HTTP/1.1\r\nHost: x\r\nX-Remote-User: a\r\n\r\n".encode(), b"GET "],
    ],
    ids=["nothing", "letter by letter", "header by header", "after a whole request"],
)
async def test_a_request_that_comes_too_slowly_keeps_no_connection(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: list[bytes]
) -> None:
    monkeypatch.setattr(tls, "HEAD_SECONDS", 1.0)
    async with front_proxy(dsn, tmp_path) as door:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", door.port, ssl=door.context(), server_hostname="localhost"
        )
        closed = asyncio.create_task(reader.read())
        for part in sent:
            writer.write(part)
            await asyncio.sleep(0.1)
        await asyncio.wait_for(closed, 30)
        writer.close()


async def test_a_stream_and_a_kept_connection_outlast_the_time_of_a_head(
    dsn: str, queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "HEAD_SECONDS", 6.0)
    job = mirrored_job("mine")
    await queue.enqueue([job])
    async with front_proxy(dsn, tmp_path) as door, door.client() as client:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", door.port, ssl=door.context(), server_hostname="localhost"
        )

        async def asked() -> None:
            writer.write(b"GET /apis HTTP/1.1\r\nHost: x\r\nX-Remote-User: a\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            assert head.startswith(b"HTTP/1.1 200")
            length = int(
                next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))[15:]
            )
            await reader.readexactly(length)

        await asked()
        async with client.get(FOLLOWED) as stream:
            await asyncio.sleep(1.25 * tls.HEAD_SECONDS)
            await asked()
            await queue.cancel(job.uid)
            await asyncio.wait_for(stream.read(), 30)
        writer.close()
