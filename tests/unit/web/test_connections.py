"""How many connections to Postgres a web process takes: what the pages and the chart's notes count with."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool
from sizing import CONNECTIONS_OF_WEB

from agentjobs.local.process import free_port
from agentjobs.web.server import Web, WebConfig

ROOT = Path(__file__).parents[3]
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
OF_AN_ERASURE = 1
"""Conversations are erased on a connection of their own (agents/sessions/erase)."""


async def test_a_web_process_opens_pools_for_no_more_connections_than_the_pages_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[int] = []
    open_pool = AsyncConnectionPool.open

    async def counted(pool: AsyncConnectionPool[Any], *args: Any, **options: Any) -> None:
        opened.append(pool.max_size)
        await open_pool(pool, *args, **options)

    monkeypatch.setattr(AsyncConnectionPool, "open", counted)
    web = Web(WebConfig(NOWHERE, session_dsn=NOWHERE, port=free_port()))
    running = asyncio.create_task(web.run())
    await asyncio.wait_for(web.serving.wait(), 30)
    web.stop()
    await asyncio.wait_for(running, 30)
    assert sum(opened) + OF_AN_ERASURE == CONNECTIONS_OF_WEB


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("docs/install.md", "{} × web pods"),
        ("docs/install.md", "Each web pod takes up to {}"),
        ("docs/install.md", "up to {} connections to Postgres"),
        ("docs/production.md", "{} × web pods"),
        ("docs/sizing.md", "{} × web pods"),
        ("docs/metrics.md", "{} × web pods"),
        ("charts/agentjobs/templates/NOTES.txt", "(mul {} (int .Values.web.replicas))"),
        ("charts/agentjobs/templates/NOTES.txt", "+ web {{{{ int .Values.web.replicas }}}} x {}"),
    ],
)
def test_a_page_counts_a_web_pod_with_that_number(page: str, told: str) -> None:
    assert told.format(CONNECTIONS_OF_WEB) in (ROOT / page).read_text()
