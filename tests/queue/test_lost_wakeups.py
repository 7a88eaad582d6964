"""A hunt for lost wake-ups: single jobs into an idle fleet whose workers are killed, stopped and drained at random.

Only calls tell this fleet of work, and the looks of the lookouts behind those that were called: a job whose wake-up is lost
is never started. Neither polls nor beats find it, nor the looks of workers without a seat.

The whole hunt, with all that finds work and the time that it takes, on a quiet machine:

    AGENTJOBS_HUNT_ROUNDS=1000 AGENTJOBS_HUNT_WORKERS=40 AGENTJOBS_HUNT_LATEST_MS=250 \
        .venv/bin/python -m pytest -s tests/queue/test_lost_wakeups.py
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from benchmarks.clients import Client

from agentjobs.queue.queue import Queue
from queue_builders import new_job, sql

ROUNDS = int(os.environ.get("AGENTJOBS_HUNT_ROUNDS", "60"))
WORKERS = int(os.environ.get("AGENTJOBS_HUNT_WORKERS", "20"))
LATEST_MS = float(os.environ.get("AGENTJOBS_HUNT_LATEST_MS", "0"))
"""The longest wait that a hunt allows; 0: only calls tell of work, and however late a job starts, its wake-up was not lost."""
SEED = int(os.environ.get("AGENTJOBS_HUNT_SEED", random.randrange(1 << 32)))
TROUBLE = 0.2
"""The chance that a round begins with a worker's end or stop."""
STOPPED_ROUNDS = 15
pytestmark = pytest.mark.timeout(600)


class Fleet:
    """Workers in processes of their own, each with two slots. Ended ones are replaced, stopped ones go on after some rounds."""

    def __init__(self, dsn: str, chance: random.Random) -> None:
        self._command = [sys.executable, "-m", "benchmarks.hollow_client", dsn, "--slots", "2"]
        if not LATEST_MS:
            self._command.append("--calls-alone")
        self._chance = chance
        self._starting: list[Client] = []
        self.running: list[Client] = []
        self._stopped: dict[Client, int] = {}
        self.troubles: dict[str, int] = {"killed": 0, "stopped": 0, "drained": 0}

    def start(self, n: int) -> None:
        self._starting += [Client(self._command) for _ in range(n)]

    def take(self) -> None:
        """Those that are connected by now begin to work."""
        for client in self._starting:
            client.wait_ready()
            client.go()
        self.running += self._starting
        self._starting = []

    def trouble(self, round_: int) -> None:
        """One worker is killed, stopped or drained."""
        client = self.running.pop(self._chance.randrange(len(self.running)))
        how = self._chance.choice(list(self.troubles))
        self.troubles[how] += 1
        match how:
            case "killed":
                client.process.kill()
                client.process.wait()
            case "stopped":
                client.process.send_signal(signal.SIGSTOP)
                self._stopped[client] = round_ + STOPPED_ROUNDS
            case "drained":
                client.stop()
        if how != "stopped":
            self.start(1)

    def go_on(self, round_: int) -> None:
        """Stopped workers whose time is over go on."""
        for client in [client for client, until in self._stopped.items() if until <= round_]:
            del self._stopped[client]
            client.process.send_signal(signal.SIGCONT)
            self.running.append(client)

    def end(self) -> None:
        for client in (*self._starting, *self.running, *self._stopped):
            client.process.kill()
            client.process.wait()


@contextmanager
def fleet(dsn: str, chance: random.Random) -> Iterator[Fleet]:
    made = Fleet(dsn, chance)
    try:
        made.start(WORKERS)
        made.take()
        yield made
    finally:
        made.end()


async def test_no_wake_up_is_lost_while_workers_are_killed_stopped_and_drained(dsn: str) -> None:
    chance = random.Random(SEED)
    async with await Queue.open(dsn) as queue:
        with fleet(dsn, chance) as workers:
            await _registered(dsn)
            for round_ in range(ROUNDS):
                workers.go_on(round_)
                if chance.random() < TROUBLE:
                    workers.trouble(round_)
                await queue.enqueue([new_job(payload={"v": 1, "s": 0.01})])
                await _started(dsn)
                workers.take()
                await asyncio.sleep(chance.uniform(0, 0.05))
    rows = await sql(
        dsn,
        "select extract(epoch from coalesce(o.started_at, r.started_at) - j.accepted_at) * 1000 from job j"
        " left join outcome o using (id) left join running r on r.id = j.id",
    )
    waits = sorted(float(row[0]) for row in rows)
    print(  # noqa: T201
        f"\n{len(waits)} jobs, {WORKERS} workers, {workers.troubles}: started after p50 {waits[len(waits) // 2]:.1f},"
        f" p99 {waits[len(waits) * 99 // 100]:.1f}, at most {waits[-1]:.1f} ms (seed {SEED})"
    )
    assert len(waits) == ROUNDS
    assert not LATEST_MS or waits[-1] < LATEST_MS, f"seed {SEED}"


async def _registered(dsn: str) -> None:
    await _until(dsn, f"select count(*) >= {WORKERS} from worker", "the fleet registers")


async def _started(dsn: str) -> None:
    await _until(dsn, "select not exists (select from waiting)", "the job starts")


async def _until(dsn: str, query: str, what: str) -> None:
    deadline = time.monotonic() + 60
    while not (await sql(dsn, query))[0][0]:
        if time.monotonic() > deadline:
            pytest.fail(f"not within 60 s: {what} (seed {SEED})")
        await asyncio.sleep(0.005)
