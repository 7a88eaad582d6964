"""What an attempt costs over a bare ADK run, in one process: the same agent, the same echo model.

    python -m benchmarks.attempt_overhead [--runs 100] [--dsn postgresql://…]

Interleaved, so that a busy machine slows both alike. A bare run is: create the session, ``Runner.run_async`` to its
end, on a service and connection pool that live on. An attempt is ``run_attempt``, which besides resolves the agent,
takes the fence, looks for a stored answer, counts, judges, and closes its connections. Two model calls and one tool
each.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.run.attempt import run_attempt
from agentjobs.agents.verdict.outcome import Verdict

MESSAGE = 'Say it.\necho:call nothing {"word": "x"}'
INLINE = {"type": "llm", "name": "agent", "model": "echo", "instruction": "Answer."}


@dataclass(frozen=True)
class Figures:
    """Of one kind of run, in milliseconds."""

    p50: float
    p95: float
    cpu: float
    """Of this process, mean per run."""


@dataclass(frozen=True)
class Overhead:
    sessions: str
    bare: Figures
    attempt: Figures

    @property
    def p50(self) -> float:
        return self.attempt.p50 - self.bare.p50


async def measure(runs: int, dsn: str | None) -> Overhead:
    """Interleaves ``runs`` of each kind; ``dsn`` None: sessions in memory."""
    from benchmarks.bare_adk import disconnect, service_of

    settings = AgentSettings(session_dsn=dsn)
    await _attempt(settings)  # warm, and makes the tables
    bare = service_of(dsn)
    await _bare(bare)
    try:
        taken = await _interleave(runs, lambda: _bare(bare), lambda: _attempt(settings))
    finally:
        await disconnect(bare)
    return Overhead("memory" if dsn is None else "database", *taken)


async def _interleave(runs: int, *kinds: Callable[[], Awaitable[None]]) -> list[Figures]:
    walls: list[list[float]] = [[] for _ in kinds]
    cpus: list[float] = [0.0 for _ in kinds]
    for _ in range(runs):
        for number, kind in enumerate(kinds):
            wall, cpu = time.perf_counter(), time.process_time()
            await kind()
            walls[number].append((time.perf_counter() - wall) * 1000)
            cpus[number] += (time.process_time() - cpu) * 1000
    return [
        Figures(statistics.median(wall), statistics.quantiles(wall, n=20)[-1], cpu / runs)
        for wall, cpu in zip(walls, cpus, strict=True)
    ]


async def _attempt(settings: AgentSettings) -> None:
    spec = AttemptSpec(
        uid=str(uuid.uuid4()),
        namespace="bench",
        name="job",
        queue="agents",
        run=1,
        attempt=1,
        max_attempts=1,
        round=1,
        agent={"inline": INLINE},
        message=MESSAGE,
    )
    outcome = await run_attempt(spec, settings, on_event=lambda _: None, abort=asyncio.Event())
    if outcome.verdict is not Verdict.COMPLETE:
        raise RuntimeError(f"the attempt did not complete: {outcome}")


async def _bare(service: object) -> None:
    from google.adk.agents import LlmAgent
    from google.adk.agents.run_config import RunConfig, ToolThreadPoolConfig
    from google.adk.apps import App
    from google.adk.runners import Runner
    from google.genai import types

    agent = LlmAgent(name="agent", model="echo", instruction="Answer.")
    app = App.model_construct(name="bench", root_agent=agent, plugins=[])
    runner = Runner(app=app, app_name="bench", session_service=service)  # type: ignore[arg-type]
    session_id = str(uuid.uuid4())
    await runner.session_service.create_session(app_name="bench", user_id="u", session_id=session_id)
    async for _ in runner.run_async(
        user_id="u",
        session_id=session_id,
        new_message=types.UserContent(parts=[types.Part(text=MESSAGE)]),
        run_config=RunConfig(tool_thread_pool_config=ToolThreadPoolConfig()),
    ):
        pass


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--dsn", help="a database for sessions; without: an embedded one")
    args = parser.parse_args(arguments)
    print(f"{'sessions':10} {'':8} {'p50 ms':>8} {'p95 ms':>8} {'CPU ms':>8}")
    for overhead in _all(args.runs, args.dsn):
        for name, figures in (("bare", overhead.bare), ("attempt", overhead.attempt)):
            print(f"{overhead.sessions:10} {name:8} {figures.p50:8.1f} {figures.p95:8.1f} {figures.cpu:8.1f}")
        print(f"{overhead.sessions:10} {'overhead':8} {overhead.p50:8.1f}")


def _all(runs: int, dsn: str | None) -> list[Overhead]:
    memory = asyncio.run(measure(runs, None))
    if dsn is not None:
        return [memory, asyncio.run(measure(runs, dsn))]
    from agentjobs.local.postgres import EmbeddedPostgres

    with EmbeddedPostgres() as server:
        return [memory, asyncio.run(measure(runs, server.dsn()))]


if __name__ == "__main__":
    main()
