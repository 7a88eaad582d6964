"""The same bare run in a process of its own per job, as the standard library does it: ``multiprocessing``.

``python -m benchmarks.forked_adk spawn|forkserver RUNS [DSN]``; with ``forkserver`` ADK and the agent are preloaded.
From ``Process.start`` to the result, as one JSON line like ``bare_adk``'s.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
import time
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext


def job(dsn: str | None, result: Connection) -> None:
    """In the child."""
    from benchmarks import bare_adk

    async def once() -> int:
        service = bare_adk.service_of(dsn)
        return await bare_adk.run(service)

    result.send(asyncio.run(once()))


def main(method: str, runs: int, dsn: str | None) -> None:
    context: SpawnContext | ForkServerContext = (
        multiprocessing.get_context("spawn")
        if method == "spawn"
        else multiprocessing.get_context("forkserver")
    )
    if method == "forkserver":
        os.environ["AGENTJOBS_BENCH_DSN"] = dsn or ""
        context.set_forkserver_preload(["benchmarks.forked_warm"])
    took: list[float] = []
    before = _cpu()
    for n in range(-1 if method == "forkserver" else 0, runs):
        if n == 0:  # the first one started the fork server
            before = _cpu()
            took.clear()
        begin = time.perf_counter()
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=job, args=(dsn, theirs))
        process.start()
        theirs.close()
        ours.recv()
        took.append((time.perf_counter() - begin) * 1000)
        process.join()
    print(json.dumps({"ms": took, "cpu_ms": (_cpu() - before) / runs * 1000}))


def _cpu() -> float:
    from benchmarks.machine import tree_cpu_seconds

    return tree_cpu_seconds(os.getpid())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
