"""The servers and processes of a chaos run, each of which a fault may stop, kill, or put another in the place of."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import textwrap
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.resources import NAMESPACES
from agentjobs.controller.metrics.counters import Counters
from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.queue.queue import Queue
from api_proxy import ApiProxy, api_proxy
from clusters import Cluster
from databases import migrate
from stack import Part, Stack, stack
from standbys import caught_up, follow, halt, promote, standby_of
from tcp_proxy import TcpProxy, tcp_proxy

DATABASE = "agentjobs"
NAMESPACES_USED = ("calm", "stormy")
"""Faults of one namespace are those of the second."""
LIMIT = 2
"""Of the queue ``limited``."""
WORKERS, OPERATORS = 3, 2

AGENT = '''
"""The agent of the chaos run. Each tool notes when it began, in which run of which job."""
import asyncio, json, os, time
from google.adk.agents import LlmAgent
from google.adk.tools import FunctionTool
from agentjobs.agents.context import current_job

def stamp(tool: str) -> int:
    job = current_job()
    line = json.dumps({"at": time.clock_gettime(time.CLOCK_BOOTTIME), "uid": str(job.uid), "run": job.run, "tool": tool})
    with open(os.environ["CHAOS_STAMPS"], "ab", buffering=0) as out:
        out.write(line.encode() + b"\\n")
    return job.run

async def work(seconds: float) -> str:
    "Takes that long."
    stamp("work")
    await asyncio.sleep(seconds)
    return "worked"

async def fail_first() -> str:
    "Fails in the first run."
    if stamp("fail_first") == 1:
        raise RuntimeError("the first run fails")
    return "worked"

def die_first() -> str:
    "Kills its process in the first run."
    if stamp("die_first") == 1:
        os._exit(3)
    return "worked"

def pay(euros: int) -> str:
    "Asks a person first."
    stamp("pay")
    return f"paid {euros}"

root_agent = LlmAgent(name="chaos", model="echo", instruction="Do what is asked.",
                      tools=[work, fail_first, die_first, FunctionTool(pay, require_confirmation=True)])
'''


@dataclass
class World:
    """What runs, by what name it is reached, and what has happened so far."""

    rng: random.Random
    folder: Path
    cluster: Cluster
    api: ApiServer
    """The load's own way to the API server, without the proxy's faults."""
    api_proxy: ApiProxy
    primary: EmbeddedPostgres
    standby: EmbeddedPostgres
    database: TcpProxy
    stack: Stack
    queue: Queue
    """The load's own way to the queue, by the URL that everybody has."""
    workers: list[Part] = field(default_factory=list)
    operators: list[Part] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)
    began_at: float = field(default_factory=time.monotonic)

    def note(self, text: str) -> None:
        """Adds a line to the journal, which a failed run prints."""
        self.journal.append(f"{time.monotonic() - self.began_at:7.2f} {text}")

    @property
    def stamps(self) -> Path:
        return self.folder / "stamps.jsonl"

    def start_worker(self) -> Part:
        part = self.stack.worker(
            f"worker-{uuid4().hex[:4]}",
            "--queue=agents=6,limited=4,scheduled=2",
            "--model=echo",
            "--module=chaos_agent",
            "--drain-seconds=3",
            environment={"AGENTJOBS_PATH": str(self.folder / "modules"), "CHAOS_STAMPS": str(self.stamps)},
        )
        self.workers.append(part)
        return part

    def start_operator(self) -> Part:
        part = self.stack.operator(
            ",".join(NAMESPACES_USED), {"AGENTJOBS_LEASE_NAMESPACE": NAMESPACES_USED[0]}
        )
        self.operators.append(part)
        return part

    def ended_by_itself(self) -> list[str]:
        """The logs' ends of processes that nobody told to end."""
        return [
            f"{part.arguments[:2]} ended with {part.process.returncode}:\n{part.text()[-3000:]}"
            for part in [*self.workers, *self.operators]
            if part.process.poll() is not None
        ]

    async def switch_over(self) -> None:
        """A planned one: the primary ends in order, the standby has all of it and takes over, the other follows."""
        former, new = self.primary, self.standby
        await asyncio.to_thread(caught_up, former, new)
        await asyncio.to_thread(halt, former)
        await asyncio.to_thread(promote, new)
        self.primary, self.standby = new, former
        self.database.lead_to(new.dsn(DATABASE))
        await asyncio.to_thread(follow, former, new)

    async def rows(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """Of the primary, past the proxy."""
        async with await psycopg.AsyncConnection.connect(
            self.primary.dsn(DATABASE), autocommit=True, options="-c search_path=agentjobs"
        ) as conn:
            return await (await conn.execute(statement.encode(), params)).fetchall()


@asynccontextmanager
async def world(
    cluster: Cluster, primary: EmbeddedPostgres, folder: Path, rng: random.Random
) -> AsyncIterator[World]:
    """Everything started; at the end everything that was started is stopped."""
    dsn = primary.create_database(DATABASE)
    migrate(dsn)
    (folder / "modules").mkdir()
    (folder / "modules" / "chaos_agent.py").write_text(textwrap.dedent(AGENT))
    standby = await asyncio.to_thread(standby_of, primary)
    try:
        async with (
            ApiServer(str(cluster.kubeconfig), Counters()) as api,
            api_proxy(cluster, folder) as before_api,
            tcp_proxy(dsn) as database,
            await Queue.open(database.url, application_name="chaos") as queue,
        ):
            for name in NAMESPACES_USED:
                body = {"metadata": {"name": name}}
                made = await api.request("POST", NAMESPACES.collection(), resource="test", body=body)
                assert made.ok, made
            behind_proxy = replace(cluster, kubeconfig=before_api.kubeconfig)
            with stack(behind_proxy, database.url, folder) as parts:
                made_world = World(
                    rng, folder, cluster, api, before_api, primary, standby, database, parts, queue
                )
                await queue.set_queue("limited", max_running=LIMIT)
                for _ in range(OPERATORS):
                    made_world.start_operator()
                for _ in range(WORKERS):
                    made_world.start_worker()
                try:
                    yield made_world
                finally:
                    for part in parts.parts:  # one that was stopped could not be killed with its children
                        if part.process.poll() is None:
                            os.kill(part.process.pid, signal.SIGCONT)
    finally:
        await asyncio.to_thread(standby.stop)


def stamped(world: World) -> list[dict[str, Any]]:
    """What the tools have noted, in the order of their writing."""
    if not world.stamps.exists():
        return []
    return [json.loads(line) for line in world.stamps.read_text().splitlines()]
