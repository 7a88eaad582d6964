"""A whole worker, and the connections of this process, while a real standby takes over and gives back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State
from databases import OPTIONS, migrate
from processes import until
from standbys import caught_up, follow, halt, promote, standby_of
from tcp_proxy import TcpProxy, tcp_proxy
from worker_agents import call, write_modules
from workers import WorkerProcess, job, state_of, step_of, submit

pytestmark = pytest.mark.timeout(240)

DATABASE = "app"


@pytest.fixture
def pair() -> Iterator[list[EmbeddedPostgres]]:
    """A primary, and its standby; who is what changes in the tests."""
    primary = EmbeddedPostgres(options=OPTIONS).start()
    servers = [primary]
    try:
        migrate(primary.create_database(DATABASE))
        servers.append(standby_of(primary))
        yield list(servers)
    finally:
        for server in reversed(servers):
            server.stop()


class Url:
    """What a worker is given: both hosts, or one name that leads to the primary."""

    def __init__(self, text: str, proxy: TcpProxy | None = None) -> None:
        self.text, self._proxy = text, proxy

    def lead_to(self, server: EmbeddedPostgres) -> None:
        if self._proxy is not None:
            self._proxy.lead_to(server.dsn(DATABASE))


@asynccontextmanager
async def url_of(kind: str, pair: list[EmbeddedPostgres]) -> AsyncIterator[Url]:
    url = pair[0].dsn(DATABASE)
    if kind == "two hosts":
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in pair)
        yield Url(url.replace(f"127.0.0.1:{pair[0].port}", hosts))
        return
    async with tcp_proxy(url) as proxy:
        yield Url(proxy.url, proxy)


def read_only(worker: WorkerProcess) -> bool:
    return any("read-only" in line.get("error", "") for line in worker.events("database.away"))


async def switch_over(
    order: str, old: EmbeddedPostgres, new: EmbeddedPostgres, url: Url, worker: WorkerProcess
) -> None:
    """The standby has all by then, and the old primary comes back as its standby."""
    await asyncio.to_thread(caught_up, old, new)
    await asyncio.to_thread(halt, old)
    if order == "promoted first":
        await asyncio.to_thread(promote, new)
        url.lead_to(new)
        await asyncio.to_thread(follow, old, new)
    else:
        await asyncio.to_thread(follow, old, new)
        await until(lambda: read_only(worker), "the worker says that nobody takes writes")
        await asyncio.to_thread(promote, new)
        url.lead_to(new)


@pytest.mark.parametrize("kind", ["two hosts", "one host"])
@pytest.mark.parametrize("order", ["promoted first", "standby first"])
async def test_a_worker_goes_on_by_itself_when_a_standby_takes_over_and_gives_back(
    pair: list[EmbeddedPostgres], order: str, kind: str, tmp_path: Path
) -> None:
    path = write_modules(tmp_path / "modules")
    async with url_of(kind, pair) as url:
        worker = WorkerProcess(url.text, path, tmp_path, health_port=0)
        try:
            await worker.event("worker.registered")
            old, new = pair
            for term in range(2):
                gate = tmp_path / f"gate-{term}"
                async with await Queue.open(old.dsn(DATABASE)) as queue:
                    (running,) = await submit(queue, job(call("wait_for", file=str(gate)), max_attempts=1))
                    await step_of(queue, running, "wait_for")
                    soon = datetime.now(UTC) + timedelta(seconds=2)
                    (waiting,) = await submit(queue, job(max_attempts=1, run_at=soon))
                await switch_over(order, old, new, url, worker)
                async with await Queue.open(new.dsn(DATABASE)) as queue:
                    (fresh,) = await submit(queue, job(max_attempts=1))
                    gate.touch()
                    for uid in (fresh, running, waiting):
                        view = await state_of(queue, uid)
                        assert (view.state, view.attempts) == (State.COMPLETE, 1), view
                old, new = new, old
            assert worker.process.poll() is None
            assert "Traceback" not in worker.text()
        finally:
            worker.end()
