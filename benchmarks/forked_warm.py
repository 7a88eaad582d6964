"""What the fork server preloads: ADK and the agent, warmed by a run each in memory and, where there is one, in Postgres.

Without the run ADK imports most of itself in each child (1.5 s). Importing this module does it: the fork server has
no other way.
"""

from __future__ import annotations

import asyncio
import os

from google.adk.sessions import DatabaseSessionService

from benchmarks import bare_adk

DSN = "AGENTJOBS_BENCH_DSN"


async def warm() -> None:
    await bare_adk.run(bare_adk.service_of(None))
    if dsn := os.environ.get(DSN):
        service = bare_adk.service_of(dsn)
        await bare_adk.run(service)
        assert isinstance(service, DatabaseSessionService)
        await service.db_engine.dispose()


asyncio.run(warm())
