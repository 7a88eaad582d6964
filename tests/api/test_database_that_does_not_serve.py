"""A whole operator while its database turns read-only, or a standby takes over: it waits, says why, and goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import psycopg
import pytest

from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.local.process import free_port
from clusters import Cluster
from databases import OPTIONS, migrate
from operators import bench, eventually, operator_process, serving
from standbys import caught_up, follow, halt, promote, standby_of

pytestmark = pytest.mark.timeout(500)

DATABASE = "app"


async def problems(port: int) -> dict[str, str]:
    """Of ``/readyz``."""
    try:
        url = f"http://127.0.0.1:{port}/readyz"
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            found: dict[str, str] = json.loads(await answer.text())["problems"]
            return found
    except aiohttp.ClientError:
        return {"process": "does not listen yet"}


def set_read_only(dsn: str, *, on: bool) -> None:
    """As a demotion does where connections live on."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("set default_transaction_read_only = off")
        conn.execute(f"alter system set default_transaction_read_only = {'on' if on else 'off'}".encode())
        conn.execute("select pg_reload_conf()")


async def test_an_operator_lives_through_a_database_that_is_read_only_for_a_while(
    cluster: Cluster, own_postgres: EmbeddedPostgres
) -> None:
    dsn, port = own_postgres.dsn("agentjobs"), free_port()
    async with (
        bench(cluster, dsn) as b,
        operator_process(b, AGENTJOBS_HEALTH_PORT=str(port), AGENTJOBS_HEALTH_HOST="127.0.0.1") as operator,
    ):
        worker = await b.worker()
        async with serving(worker):
            await b.objects.create("before")
            await b.objects.until("before", "Complete")
            await asyncio.to_thread(set_read_only, dsn, on=True)
            await eventually(lambda: problems(port), lambda found: "read-only" in found.get("database", ""))
            await b.objects.create("meanwhile")
            await asyncio.to_thread(set_read_only, dsn, on=False)
            await b.objects.until("meanwhile", "Complete")
            await eventually(lambda: problems(port), lambda found: not found)
        assert operator.returncode is None


@pytest.fixture
def pair() -> Iterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    primary = EmbeddedPostgres(options=OPTIONS).start()
    servers = [primary]
    try:
        migrate(primary.create_database(DATABASE))
        servers.append(standby_of(primary))
        yield servers[0], servers[1]
    finally:
        for server in reversed(servers):
            server.stop()


@pytest.mark.parametrize("order", ["promoted first", "standby first"])
async def test_an_operator_goes_on_by_itself_when_a_standby_takes_over_and_gives_back(
    cluster: Cluster, pair: tuple[EmbeddedPostgres, EmbeddedPostgres], order: str, tmp_path: Path
) -> None:
    old, new = pair
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in pair)
    url, port = old.dsn(DATABASE).replace(f"127.0.0.1:{old.port}", hosts), free_port()
    async with (
        bench(cluster, url) as b,
        operator_process(b, AGENTJOBS_HEALTH_PORT=str(port), AGENTJOBS_HEALTH_HOST="127.0.0.1") as operator,
    ):
        for term in range(2):
            worker = await b.worker()
            async with serving(worker):
                await b.objects.create(f"before-{term}")
                await b.objects.until(f"before-{term}", "Complete")
            await asyncio.to_thread(caught_up, old, new)
            await asyncio.to_thread(halt, old)
            if order == "promoted first":
                await asyncio.to_thread(promote, new)
                await asyncio.to_thread(follow, old, new)
            else:
                await asyncio.to_thread(follow, old, new)
                await eventually(
                    lambda: problems(port), lambda found: "read-only" in found.get("database", "")
                )
                await asyncio.to_thread(promote, new)
            await b.objects.create(f"after-{term}")
            worker = await b.worker()
            async with serving(worker):
                status = await b.objects.until(f"after-{term}", "Complete")
                assert status["attempts"] == 1
            await eventually(lambda: problems(port), lambda found: not found)
            old, new = new, old
        assert operator.returncode is None
