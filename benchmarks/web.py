"""What the runs API and the dashboard take beside a million finished and 100,000 waiting jobs, and what open dashboards cost.

The real process (`agentjobs web`, the administrator's door) is asked over HTTP: each part of each page as the pages ask for it, for
all namespaces and for one; and each filter of a list. Then fifty readers keep pages open, with the pages' own pace.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from urllib.parse import urlencode

import aiohttp

from agentjobs.local.process import free_port
from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State
from agentjobs.web.names import ROOT
from agentjobs.web.runs import BOARD_SECONDS
from agentjobs.web.ui.pages import DASHBOARD
from benchmarks import lists, report
from benchmarks.machine import Meter
from benchmarks.report import Options, Table, number
from benchmarks.server import Server

PAGES = ("now", "jobs", "queues", "workers", "audit", "schedules", "approvals")
NAMESPACE = "team-7"
CALLS, SHARED_CALLS = 30, 5
READERS, SECONDS, REFRESH_SECONDS = 50, 30, 5.0
SLOWEST = 3
TRIED = 0.01
"""A run of a smaller scale measures nothing: it tries whether all of this still works."""
SHARED = re.compile(r"^(queuestats|workers|runseries|models)")
"""Routes whose numbers are read once for all readers: each call here waits until they are old."""
_REGION = re.compile(r'data-get="([^"]*)"[^>]*?(?: data-every="(\d+)")?>')
HTML, JSON, EVENTS = "text/html", "application/json", "text/event-stream"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a page: its route, and at every which refresh of the page it is asked for."""

    path: str
    every: int = 1


@dataclass(slots=True)
class Known:
    """What a page has of one part, and how often it asks: more rarely while nothing changes (``every`` in app.js)."""

    every: int
    tag: str = ""
    same: int = 0
    ticks: int = 0

    def due(self) -> bool:
        self.ticks += 1
        if self.tag and self.ticks < self.every * min(1 + self.same // 3, SLOWEST):
            return False
        self.ticks = 0
        return True


def parts(page: str) -> list[Part]:
    """The parts of a page, as the page itself has them."""
    asset = DASHBOARD.asset(f"{page}.html")
    assert asset is not None, page
    return [Part(unescape(path), int(every or 1)) for path, every in _REGION.findall(asset.content.decode())]


def query_of(which: JobFilter) -> str:
    """The filter as a route's query."""
    named = {name: getattr(which, name) for name in ("reason", "queue", "agent", "model", "user", "session")}
    pairs = [("state", str(state)) for state in which.states]
    pairs += [(name, str(value)) for name, value in named.items() if value]
    pairs += [("since", which.since.isoformat())] if which.since is not None else []
    return urlencode(pairs)


def routes(job: str) -> list[tuple[str, str, str]]:
    """What is asked: (words, path below the API's root, what is accepted)."""
    found: list[tuple[str, str, str]] = []
    for page in PAGES:
        for part in parts(page):
            found.append((f"{page}: {part.path}", part.path, HTML))
            found.append((f"{page}, one namespace: {part.path}", f"namespaces/{NAMESPACE}/{part.path}", HTML))
    for words, which in lists.pages().items():
        place = f"namespaces/{which.namespace}/" if which.namespace else ""
        found.append((f"list: {words}", f"{place}agentruns?limit=50&{query_of(which)}", JSON))
    for more in ("", "/attempts", "/log"):
        found.append((f"job{more}", f"namespaces/{NAMESPACE}/agentruns/{job}{more}", JSON))
    return [*found, ("static page", "ui/now.html", "*/*")]


@dataclass(slots=True)
class Api:
    """The running process, as its administrator reaches it."""

    base: str
    client: aiohttp.ClientSession
    pid: int
    spent: list[float] = field(default_factory=list)
    """Milliseconds of the calls of readers."""

    async def ask(self, path: str, accept: str) -> float:
        """Milliseconds of one request, with its answer. Raises AssertionError for any answer but 200."""
        begin = time.perf_counter()
        async with self.client.get(f"{self.base}/{path}", headers={"Accept": accept}) as answer:
            text = await answer.read()
            assert answer.status == 200, f"{path}: {answer.status} {text[:300]!r}"
        return (time.perf_counter() - begin) * 1000

    async def renew(self, part: Part, path: str, state: Known) -> float:
        """Milliseconds of one refresh of a part: with the tag of what the page has, as the page does."""
        begin = time.perf_counter()
        headers = {"Accept": HTML, **({"If-None-Match": state.tag} if state.tag else {})}
        async with self.client.get(f"{self.base}/{path}", headers=headers) as answer:
            text = await answer.read()
            assert answer.status in (200, 304), f"{path}: {answer.status} {text[:300]!r}"
            state.same = state.same + 1 if answer.status == 304 else 0
            state.tag = answer.headers.get("ETag", "")
        return (time.perf_counter() - begin) * 1000

    async def stream(self, path: str) -> None:
        """One stream, read for ever."""
        async with self.client.get(f"{self.base}/{path}", headers={"Accept": EVENTS}) as answer:
            assert answer.status == 200, f"{path}: {answer.status}"
            async for _ in answer.content:
                pass
        raise AssertionError(f"{path}: the stream has ended")

    async def open_page(self, page: str, namespace: str) -> None:
        """One page, open for ever: its parts at once, and then at their pace."""
        place = f"namespaces/{namespace}/" if namespace else ""
        await asyncio.sleep(random.uniform(0, REFRESH_SECONDS))
        known = {part: Known(every=part.every) for part in parts(page)}
        while True:
            wanted = [part for part, state in known.items() if state.due()]
            self.spent += await asyncio.gather(
                *(self.renew(part, place + part.path, known[part]) for part in wanted)
            )
            await asyncio.sleep(REFRESH_SECONDS)


@asynccontextmanager
async def process(dsn: str) -> AsyncIterator[Api]:
    """``agentjobs web`` on this database, until the block ends."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agentjobs.cli", "web", "--port", str(free_port()),
        env=os.environ | {"AGENTJOBS_DATABASE_URL": dsn}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert started.stdout is not None
        said = (await asyncio.wait_for(started.stdout.readline(), 60)).decode()
        link = said.removeprefix("Open ").strip()
        # no bound on connections: each reader is a browser of his own
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        jar = aiohttp.CookieJar(unsafe=True)  # it keeps no cookie of an IP address unless it is told to
        async with aiohttp.ClientSession(connector=connector, cookie_jar=jar, timeout=timeout) as client:
            (await client.get(link, allow_redirects=False)).release()
            yield Api(link.partition("/open/")[0] + ROOT, client, started.pid)
    finally:
        if started.returncode is None:
            started.terminate()
            await started.wait()


async def one_by_one(api: Api, job: str, options: Options) -> list[Sequence[str]]:
    """A row for each route, asked by one caller."""
    rows: list[Sequence[str]] = []
    calls = CALLS if options.scale >= TRIED else 2
    for words, path, accept in routes(job):
        shared = SHARED.match(path.removeprefix(f"namespaces/{NAMESPACE}/")) is not None
        await api.ask(path, accept)  # what is read first comes from the disk
        found = []
        for _ in range(min(calls, SHARED_CALLS) if shared else calls):
            if shared and options.scale >= TRIED:
                await asyncio.sleep(BOARD_SECONDS + 0.1)
            found.append(await api.ask(path, accept))
        rows.append((words, *(number(report.percentile(found, p)) for p in (0.5, 0.95))))
    return rows


async def opened(api: Api, server: Server, waiting: Sequence[str], options: Options) -> list[Sequence[str]]:
    """A row for each kind of page that all readers have open."""
    seconds = SECONDS if options.scale >= TRIED else 1.0
    log = "log?follow=true&source=output"
    kinds = {
        "Now, of all namespaces": [api.open_page("now", "") for _ in range(READERS)],
        "Now, each of another namespace": [
            api.open_page("now", f"team-{n % 40 + 1}") for n in range(READERS)
        ],
        "Jobs, each of another namespace": [
            api.open_page("jobs", f"team-{n % 40 + 1}") for n in range(READERS)
        ],
        "streams: a watch of a namespace's jobs": [
            api.stream(f"namespaces/team-{n % 40 + 1}/agentruns?watch=true") for n in range(READERS)
        ],
        "streams: a job's output, each of another job": [
            api.stream(f"{waiting[n % len(waiting)]}/{log}") for n in range(READERS)
        ],
    }
    rows: list[Sequence[str]] = []
    for words, readers in kinds.items():
        tasks = [asyncio.create_task(reader) for reader in readers]
        await asyncio.sleep(min(REFRESH_SECONDS + 1, seconds))  # all are open
        api.spent.clear()
        meter = Meter(web=api.pid, postgres=server.pid).start()
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        meter.stop()
        spent = list(api.spent)
        for task in tasks:
            task.cancel()
        for failed in [
            t for t in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(t, Exception)
        ]:
            raise failed
        web, postgres = (meter.cpu_seconds[name] / meter.wall_seconds for name in ("web", "postgres"))
        rows.append(
            (
                words,
                f"{web:.1%}",
                f"{postgres:.1%}",
                number(len(spent) / meter.wall_seconds) if spent else "–",
                number(report.percentile(spent, 0.95)) if spent else "–",
                report.share(meter.foreign_share),
            )
        )
    return rows


async def measured(
    dsn: str, server: Server, options: Options
) -> tuple[list[Sequence[str]], list[Sequence[str]]]:
    """The rows of both tables."""
    async with await Queue.open(dsn, connections=1) as queue:
        mine = (await queue.jobs(JobFilter(namespace=NAMESPACE), limit=1)).jobs
        states = frozenset({State.QUEUED, State.SUSPENDED})
        rows = (await queue.jobs(JobFilter(states=states), limit=READERS)).jobs
    waiting = [f"namespaces/{row.ref.namespace}/agentruns/{row.ref.name}" for row in rows if row.ref]
    assert mine[0].ref is not None
    async with process(dsn) as api:
        return (
            await one_by_one(api, mine[0].ref.name, options),
            await opened(api, server, waiting, options),
        )


def run(options: Options) -> list[Table]:
    finished, waiting = options.count(lists.FINISHED, least=400), options.count(lists.WAITING, least=100)
    with Server() as server, server.database() as dsn:
        lists.fill(dsn, finished, waiting)
        server.checkpoint()
        asked, dashboards = asyncio.run(measured(dsn, server, options))
    beside = f"beside {finished:,} finished and {waiting:,} waiting jobs"
    command = "python -m benchmarks.web"
    return [
        Table(
            f"The runs API {beside}",
            command,
            ("asked", "p50 ms", "p95 ms"),
            asked,
            "over HTTP by one caller, his own time included; numbers that readers share are read anew. Aim: p95 ≤ 50 ms",
        ),
        Table(
            f"{READERS} open dashboards {beside}",
            command,
            ("open", "web, of a core", "Postgres, of a core", "requests/s", "p95 ms", "foreign CPU"),
            dashboards,
            "at the pages' own pace. Aim: ≤ 10 % of a core",
        ),
    ]


if __name__ == "__main__":
    report.main(run, __doc__)
