"""A bare ADK run: ``Runner.run_async`` over ADK's own session services, and nothing of ours around it.

``python -m benchmarks.bare_adk RUNS [DSN]`` runs them one after another in this process and prints the milliseconds of
each, the CPU milliseconds per run and what the process holds in memory, as one JSON line. ``--ours``: over our session
store instead. ``--anew``: each run over a connection of its own, as in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import time
from pathlib import Path
from uuid import uuid4

from google.adk.agents.run_config import RunConfig, ToolThreadPoolConfig
from google.adk.runners import Runner
from google.adk.sessions import BaseSessionService, InMemorySessionService
from google.genai import types

from benchmarks.agents import MESSAGE, root_agent

WARM_UP = 3


def service_of(dsn: str | None, *, ours: bool = False) -> BaseSessionService:
    if dsn is None:
        return InMemorySessionService()
    if ours:
        from agentjobs.agents.sessions.service import JobSessions

        return JobSessions(dsn)
    from google.adk.sessions import DatabaseSessionService  # brings SQLAlchemy

    return DatabaseSessionService(db_url="postgresql+asyncpg" + dsn[dsn.index("://") :])


async def disconnect(service: BaseSessionService) -> None:
    """What the service learned and compiled is kept."""
    if isinstance(service, InMemorySessionService):
        return
    if hasattr(service, "release"):
        await service.release()
    else:
        await service.db_engine.dispose()  # type: ignore[attr-defined]


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


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) / 256


async def main(runs: int, dsn: str | None, *, ours: bool = False, anew: bool = False) -> None:
    logging.disable(logging.WARNING)
    service = service_of(dsn, ours=ours)
    took = []
    cpu = 0.0
    for n in range(-WARM_UP, runs):
        if n == 0:
            cpu = time.process_time()
        if anew:
            await disconnect(service)
        begin = time.perf_counter()
        await run(service)
        if n >= 0:
            took.append((time.perf_counter() - begin) * 1000)
    cpu_ms = (time.process_time() - cpu) / runs * 1000
    await disconnect(service)
    print(json.dumps({"ms": took, "cpu_ms": cpu_ms, "resident_mib": resident_mib()}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int)
    parser.add_argument("dsn", nargs="?")
    parser.add_argument("--ours", action="store_true")
    parser.add_argument("--anew", action="store_true")
    args = parser.parse_args()
    asyncio.run(main(args.runs, args.dsn, ours=args.ours, anew=args.anew))
