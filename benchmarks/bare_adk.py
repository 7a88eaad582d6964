"""A bare ADK run: ``Runner.run_async`` over ADK's own session services, and nothing of ours around it.

``python -m benchmarks.bare_adk RUNS [DSN]`` runs them one after another in this process and prints the milliseconds of
each, and the CPU milliseconds per run, as one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from uuid import uuid4

from google.adk.agents.run_config import RunConfig, ToolThreadPoolConfig
from google.adk.runners import Runner
from google.adk.sessions import BaseSessionService, DatabaseSessionService, InMemorySessionService
from google.genai import types

from benchmarks.agents import MESSAGE, root_agent

WARM_UP = 3


def service_of(dsn: str | None) -> BaseSessionService:
    if dsn is None:
        return InMemorySessionService()
    return DatabaseSessionService(db_url="postgresql+asyncpg" + dsn[dsn.index("://") :])


async def run(service: BaseSessionService) -> int:
    """One run in a session of its own; how many events it had."""
    runner = Runner(app_name="bare", agent=root_agent, session_service=service)
    session = await service.create_session(app_name="bare", user_id="u", session_id=str(uuid4()))
    events = 0
    async for _ in runner.run_async(
        user_id="u",
        session_id=session.id,
        new_message=types.UserContent(parts=[types.Part(text=MESSAGE)]),
        run_config=RunConfig(tool_thread_pool_config=ToolThreadPoolConfig()),
    ):
        events += 1
    return events


async def main(runs: int, dsn: str | None) -> None:
    logging.disable(logging.WARNING)
    service = service_of(dsn)
    for _ in range(WARM_UP):
        await run(service)
    took = []
    cpu = time.process_time()
    for _ in range(runs):
        begin = time.perf_counter()
        await run(service)
        took.append((time.perf_counter() - begin) * 1000)
    cpu_ms = (time.process_time() - cpu) / runs * 1000
    if isinstance(service, DatabaseSessionService):
        await service.db_engine.dispose()
    print(json.dumps({"ms": took, "cpu_ms": cpu_ms}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
