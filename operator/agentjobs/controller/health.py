"""The health endpoint: ``/healthz`` (is the process alive), ``/readyz`` (does it reach database and API
server), ``/metrics``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from agentjobs.telemetry.exposition import CONTENT_TYPE

Checks = Callable[[], Mapping[str, str]]
"""Problems by name, each a sentence; an empty text: no problem."""


def nothing() -> Mapping[str, str]:
    """No problem."""
    return {}


@asynccontextmanager
async def health_server(
    host: str,
    port: int | None,
    *,
    alive: Checks,
    ready: Checks,
    metrics: Callable[[], Awaitable[str]],
    degraded: Checks = nothing,
) -> AsyncIterator[int | None]:
    """Serves while the block runs; gives the port. None: no server. ``degraded``: what of it does not work,
    while the process is ready."""
    if port is None:
        yield None
        return
    app = web.Application()
    app.router.add_get("/healthz", _answer(alive))
    app.router.add_get("/readyz", _answer(ready, degraded))

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(text=await metrics(), headers={"Content-Type": CONTENT_TYPE})

    app.router.add_get("/metrics", show_metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _answer(checks: Checks, degraded: Checks = nothing) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(_: web.Request) -> web.Response:
        problems = {name: text for name, text in checks().items() if text}
        body = {"ok": not problems, "problems": problems}
        if less := {name: text for name, text in degraded().items() if text}:
            body["degraded"] = less
        return web.Response(
            status=503 if problems else 200, text=json.dumps(body) + "\n", content_type="application/json"
        )

    return handler
