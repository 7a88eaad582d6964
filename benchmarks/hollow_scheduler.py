"""An operator's start with 10,000 schedules: the scheduler over a hollow queue and hollow objects.

Both answer at once and nothing is due, so what is measured is the operator's own work on its event loop.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from agentjobs.controller.apiserver.resources import SCHEDULED_AGENT_JOBS
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.metrics.counters import Counters
from agentjobs.controller.scheduledagentjob.cluster_objects import ClusterObjects
from agentjobs.controller.scheduledagentjob.scheduler import Scheduler
from agentjobs.queue.schedules import Found, ScheduleRow, Schedules, SeenSchedule, Waiting
from benchmarks import report
from benchmarks.report import Options, Table, number

COMMAND = "python -m benchmarks.hollow_scheduler"
MANY = 10_000
PAGE = 500
TICKER_SECONDS = 0.001
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
TEXTS: tuple[tuple[str, Callable[[int], str]], ...] = (
    ("one text", lambda n: "0 6 1 1 *"),
    ("as many texts", lambda n: f"{n % 60} {n // 60 % 24} {1 + n // 1440 % 28} 1 *"),
    ("weekdays, as many texts", lambda n: f"{n % 60} {n // 60 % 24} 1-{1 + n // 1440 % 28} * mon-fri"),
)
"""What is measured, and the text of the n-th schedule."""


class HollowQueue:
    """What ``Schedules`` answers for objects that it has not seen before."""

    async def save_schedules(self, seen: Iterable[SeenSchedule], now: datetime) -> Found:
        await asyncio.sleep(0)
        return Found(NOW, {one.uid: _row(one) for one in seen})

    async def waiting_schedules(self, cluster_id: str) -> Waiting:
        return Waiting(NOW, (), ())


class HollowObjects:
    """What an API server answers to status writes."""

    async def write_status(self, *_: object) -> bool:
        await asyncio.sleep(0)
        return True


def _row(seen: SeenSchedule) -> ScheduleRow:
    return ScheduleRow(
        seen.uid, 1, seen.generation, seen.created_at, True, seen.created_at, None, False, None, None, None, None,
        None, None, 0, None, (),
    )  # fmt: skip


def _object(n: int, text: str) -> dict[str, Any]:
    template = {"spec": {"agent": {"module": "bench.agent"}, "message": "hello"}}
    return {
        "metadata": {
            "name": f"s-{n:05}",
            "namespace": "bench",
            "uid": str(UUID(int=n + 1)),
            "generation": 1,
            "creationTimestamp": NOW.isoformat(),
        },
        "spec": {"schedule": text, "timeZone": "Europe/Berlin", "jobTemplate": template},
    }


async def longest_turn(until: asyncio.Event) -> float:
    """How many seconds of CPU the event loop used at most before it came back to this task: others do not count."""
    longest = 0.0
    while not until.is_set():
        began = time.process_time()
        await asyncio.sleep(TICKER_SECONDS)
        longest = max(longest, time.process_time() - began)
    return longest


def once(what: int, count: int) -> tuple[float, float, float]:
    """One start, in this process."""
    _, text = TEXTS[what]
    return asyncio.run(start([text(n) for n in range(count)]))


async def start(texts: list[str]) -> tuple[float, float, float]:
    """Seconds until each schedule has its next time, CPU seconds of that, and the loop's longest turn."""
    queue, objects = cast(Schedules, HollowQueue()), cast(ClusterObjects, HollowObjects())
    scheduler = Scheduler(queue, objects, "bench", Counters(), lambda event: None, clock=lambda: NOW)
    done = asyncio.Event()
    for first in range(0, len(texts), PAGE):
        page = [_object(n, text) for n, text in enumerate(texts[first : first + PAGE], first)]
        scheduler.enqueue(
            WatchEvent(one, deleted=False, kind=SCHEDULED_AGENT_JOBS, listed=True) for one in page
        )
    gc.disable()  # its passes over all objects, 0.1 s each, would hide what is measured
    ticker = asyncio.create_task(longest_turn(done))
    began, cpu = time.perf_counter(), time.process_time()
    running = asyncio.create_task(scheduler.run())
    entries = list(scheduler.cache.entries.values())
    while entries and not running.done():
        await asyncio.sleep(0.005)
        while entries and entries[-1].next_tick is not None:
            entries.pop()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    done.set()
    longest = await ticker
    running.cancel()
    await asyncio.wait([running])
    if entries:
        raise RuntimeError("the scheduler has ended")
    return seconds, cpu, longest


def run(options: Options) -> list[Table]:
    count, rows = options.count(MANY, 20), []
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as new_process:
        for what, (name, _) in enumerate(TEXTS):
            rounds = [new_process.submit(once, what, count).result() for _ in range(options.rounds)]
            seconds, cpu, longest = (report.median(values) for values in zip(*rounds, strict=True))
            rows.append((f"{count:,}, {name}", number(seconds), number(cpu), number(longest * 1000)))
    return [
        Table(
            "The next times of many schedules",
            COMMAND,
            ("at an operator's start", "seconds", "CPU s", "the loop's longest turn, CPU ms"),
            rows,
            "a new process each time, the scheduler alone: queue and API server answer at once; a turn is how long all else waits",
        )
    ]


if __name__ == "__main__":
    report.main(run, __doc__)
