"""The output of a running job: stored while somebody reads it, followed over a retry, gone afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest

from agentjobs.local.process import free_port
from agentjobs.queue.audit import Act
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, OutputTail, State
from agentjobs.web.names import ROOT
from agentjobs.web.server import Web, WebConfig
from queue_builders import TestWorker, new_job, shown, sql
from worker_agents import call, write_modules
from workers import job, running_worker, state_of, submit, worker_config


class Storing(Queue):
    """The real queue; remembers how often output was stored."""

    stored: int = 0

    async def store_output(self, worker: UUID, rows: Sequence[OutputTail]) -> int:
        Storing.stored += 1
        return await super().store_output(worker, rows)


@dataclass
class Reader:
    """A reader of the runs API, through the administrator's door."""

    base: str
    client: aiohttp.ClientSession

    async def text(self, path: str) -> str:
        async with self.client.get(self.base + path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.text()

    async def follow(self, path: str, told: list[tuple[str, str]], after: str = "") -> None:
        """The entries of a stream, (id, text), until its end."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        async with self.client.get(self.base + path, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            event: dict[str, str] = {}
            async for raw in answer.content:
                key, _, value = raw.decode().rstrip("\n").partition(": ")
                if key:
                    event[key] = value
                    continue
                if event.get("event") == "entry":
                    told.append((event["id"], event["data"].partition('"text":"')[2].partition('"')[0]))
                if event.get("event") == "end":
                    return
                event = {}
        raise AssertionError("the stream was cut")


@asynccontextmanager
async def reader(dsn: str) -> AsyncIterator[Reader]:
    web = Web(WebConfig(dsn, port=free_port()))
    running = asyncio.create_task(web.run())
    await asyncio.wait_for(web.serving.wait(), 30)
    try:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
            (await client.get(web.link, allow_redirects=False)).release()
            yield Reader(web.link.partition("/open/")[0] + ROOT, client)
    finally:
        web.stop()
        await asyncio.wait_for(running, 30)


async def heard(told: list[tuple[str, str]], text: str) -> None:
    async with asyncio.timeout(60):
        while text not in [one for _, one in told]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_running_job_is_followed_over_its_retry_each_line_once_and_from_any_place(
    dsn: str, tmp_path: Path
) -> None:
    Storing.stored = 0
    folder = tmp_path / "said"
    folder.mkdir()
    config = worker_config(dsn, write_modules(tmp_path / "modules"))
    told: list[tuple[str, str]] = []
    again: list[tuple[str, str]] = []
    async with await Queue.open(dsn) as queue, running_worker(config, Storing), reader(dsn) as web:
        (folder / "1.0").touch()
        (uid,) = await submit(queue, job(call("speak", folder=str(folder))))
        await state_of(queue, uid, State.RUNNING)
        await asyncio.sleep(1.5)  # as long as the worker would take to store it
        assert Storing.stored == 0, "nothing is stored while nobody reads"
        log = f"/namespaces/-/agentruns/{uid}/log"
        assert "run 1 line 0\n" in await web.text(log)
        first = asyncio.create_task(web.follow(f"{log}?follow=true", told))
        await heard(told, "run 1 line 0")
        (folder / "1.1").touch()
        await heard(told, "run 1 line 1")
        behind = next(id_ for id_, text in told if text == "run 1 line 0")
        second = asyncio.create_task(web.follow(f"{log}?follow=true", again, behind))
        await heard(again, "run 1 line 1")
        (folder / "1.die").touch()
        (folder / "2.0").touch()
        await heard(told, "run 2 line 0")
        (folder / "2.1").touch()
        (folder / "2.end").touch()
        await asyncio.wait_for(asyncio.gather(first, second), 60)
        view = await state_of(queue, uid)
        assert view.state is State.COMPLETE
        whole = await web.text(log)
    lines = [text for _, text in told]
    said = [text for text in lines if not text.startswith("===")]
    assert said == ["run 1 line 0", "run 1 line 1", "run 2 line 0", "run 2 line 1"]
    titles = [text for text in lines if text.startswith("===")]
    assert [title.split(" ended")[0] for title in titles] == [
        "=== run 1 (attempt 1) ===", "=== run 1 (attempt 1, round 1)", "=== run 2 (attempt 2) ===", "=== run 2 (attempt 2, round 1)",
    ]  # fmt: skip
    place = next(n for n, one in enumerate(told) if one[0] == behind)
    assert again == told[place + 1 :]
    assert [line for line in whole.splitlines() if not line.startswith("===")] == said


@pytest.fixture
async def other(queue: Queue) -> TestWorker:
    return await TestWorker(queue).register()


async def test_a_beat_names_what_is_read_and_only_its_run_stores_it(
    queue: Queue, worker: TestWorker, other: TestWorker, dsn: str
) -> None:
    one = new_job()
    await queue.enqueue([one])
    assert await queue.want_output(one.uid) is None
    claimed = await worker.one()
    key = (claimed.id, claimed.token)
    assert (await worker.beat()).wanted == {}
    asked = await queue.want_output(one.uid)
    assert asked is not None
    assert (asked.run, asked.at, asked.text) == (1, None, None)
    assert (await worker.beat()).wanted == {key: False}
    assert (await other.beat()).wanted == {}
    end = OutputTail(*key, "two\nthree\n", 1)
    assert await queue.store_output(other.id, [end]) == 0
    assert await queue.store_output(worker.id, [OutputTail(key[0], key[1] + 1, "forged", 0)]) == 0
    assert await queue.store_output(worker.id, [end]) == 1
    found = await queue.want_output(one.uid)
    assert found is not None
    assert (found.skipped, found.text) == (1, "two\nthree\n")
    assert (await worker.beat()).wanted == {key: True}
    known = await queue.want_output(one.uid, seen=found.at)
    assert known is not None
    assert (known.at, known.text) == (found.at, None)
    await worker.ack(claimed, AckKind.RETRY, log_tail="three\n", log_skipped=2, delay_seconds=0)
    assert (await worker.beat()).wanted == {}
    assert await queue.want_output(one.uid) is None
    (record,) = (await shown(queue, one)).attempts_log
    assert (record.log_tail, record.log_skipped) == ("three\n", 2)


async def test_what_an_earlier_reader_left_is_not_shown_and_retention_takes_it_away(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    one = new_job()
    await queue.enqueue([one])
    claimed = await worker.one()
    await queue.want_output(one.uid)
    await queue.store_output(worker.id, [OutputTail(claimed.id, claimed.token, "old\n", 0)])
    await sql(dsn, "update output_tail set wanted_until = now() - interval '10 s'")
    assert (await worker.beat()).wanted == {}
    found = await queue.want_output(one.uid)
    assert found is not None
    assert (found.at, found.text) == (None, None)
    assert list((await worker.beat()).wanted.values()) == [False]
    await sql(dsn, "update output_tail set wanted_until = now() - interval '2 minutes'")
    await sql(dsn, "select retention('7 days')")
    assert await sql(dsn, "select 1 from output_tail") == []


async def test_an_erasure_takes_the_output_with_it(queue: Queue, worker: TestWorker, dsn: str) -> None:
    one = new_job(payload={"v": 1, "namespace": "team", "userID": "max", "agent": {"module": "x"}})
    await queue.enqueue([one])
    claimed = await worker.one()
    await queue.want_output(one.uid)
    await queue.store_output(worker.id, [OutputTail(claimed.id, claimed.token, "secret\n", 0)])
    await worker.ack(claimed)
    await queue.erase("team", "max", Act("me"))
    assert await sql(dsn, "select 1 from output_tail") == []
