"""How long after the SIGKILL of a worker its job runs again on another one.

Two real worker processes with the default heartbeat (5 s) and expiry (15 s). Killed at different moments between two
heartbeats, since the expiry counts from the last one.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID, uuid4

from agentjobs.queue import numbers
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import NewJob, State
from benchmarks import report
from benchmarks.parts import Part, part
from benchmarks.report import Options, Table, number
from benchmarks.server import Server
from benchmarks.waiting import until

_FLAGS = ("--queue=agents=2", "--model=echo", "--drain-seconds=0")
_ENV = {"AGENTJOBS_STOP_GRACE_SECONDS": "1"}


async def start_job(queue: Queue) -> UUID:
    agent = {"inline": {"type": "llm", "name": "echo", "model": "echo", "instruction": "Wait."}}
    uid = uuid4()
    payload = {
        "v": 1,
        "namespace": "bench",
        "name": f"rescue-{uid.hex[:6]}",
        "agent": agent,
        "message": "echo:sleep 600",
        "userID": "system",
        "appName": "agentjobs",
    }
    await queue.enqueue([NewJob(uid, payload)])
    return uid


async def kill_and_wait(
    dsn: str, victim: Part, start_other: Callable[[], Awaitable[None]], wait: float
) -> float:
    """Seconds from SIGKILL until the job's second run is claimed."""
    async with await Queue.open(dsn) as queue:
        uid = await start_job(queue)

        async def runs(n: int) -> bool:
            view = await queue.show(uid)
            return view is not None and view.state is State.RUNNING and view.run == n

        await until(lambda: runs(1), "the first run begins")
        await start_other()
        await asyncio.sleep(wait)
        victim.kill()
        killed = time.perf_counter()
        return await until(lambda: runs(2), "the second run begins") - killed


def measure(server: Server, wait: float) -> float:
    """``wait``: seconds between the other worker's readiness and the kill."""
    with ExitStack() as stack:
        dsn = stack.enter_context(server.database())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentjobs-bench-")))

        def worker(name: str) -> Part:
            return stack.enter_context(
                part("worker", *_FLAGS, f"--name={name}", dsn=dsn, folder=folder, env=_ENV)
            )

        async def start_other() -> None:
            await asyncio.to_thread(worker, "other")

        return asyncio.run(kill_and_wait(dsn, worker("victim"), start_other, wait))


def run(options: Options) -> list[Table]:
    waits = [numbers.HEARTBEAT_SECONDS * n / options.rounds for n in range(options.rounds)]
    with Server() as server:
        took = [measure(server, wait) for wait in waits]
    return [
        Table(
            "Rescue after the SIGKILL of a worker",
            "python -m benchmarks.rescue",
            ("kills", "shortest s", "median s", "longest s"),
            [(str(len(took)), number(min(took)), number(report.median(took)), number(max(took)))],
            f"Heartbeat {numbers.HEARTBEAT_SECONDS:.0f} s, expiry {numbers.EXPIRY_SECONDS:.0f} s."
            " Aim: at most the expiry + 2 s",
        )
    ]


if __name__ == "__main__":
    report.main(run, __doc__)
