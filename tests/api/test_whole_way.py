"""Invariant 4 on the whole product: whatever is killed in the middle of 200 jobs, each ends as it should."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.resources import AGENT_JOBS, NAMESPACES
from agentjobs.controller.metrics.counters import Counters
from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.values.json import JsonObject
from clusters import Cluster
from operators import Objects, eventually
from stack import Part, Stack, stack

pytestmark = pytest.mark.timeout(420)

JOBS = 200
NAMESPACE = "chaos"
WORKER_FLAGS = ("--queue=agents=6", "--model=echo", "--drain-seconds=20")


def spec_of(i: int) -> JsonObject:
    """Most answer at once, some take a while, some fail once, some share a session."""
    message = f"answer {i}"
    spec: JsonObject = {}
    if i % 10 == 3:
        message = f"echo:sleep 1\n{message}"
    elif i % 10 == 7:
        message = f"echo:fail 500 1\n{message}"
        spec["retryPolicy"] = {"initialDelaySeconds": 1}
    if i % 20 == 1:
        spec["sessionID"] = "shared"
    inline = {"type": "llm", "name": "echo", "model": "echo", "instruction": "Repeat."}
    return {"agent": {"inline": inline}, "message": message, **spec}


@pytest.fixture
async def objects(own_control_plane: Cluster) -> AsyncIterator[Objects]:
    async with ApiServer(str(own_control_plane.kubeconfig), Counters()) as api:
        made = await api.request(
            "POST", NAMESPACES.collection(), resource="test", body={"metadata": {"name": NAMESPACE}}
        )
        assert made.ok, made
        yield Objects(api, NAMESPACE)


async def statuses(objects: Objects) -> dict[str, JsonObject]:
    """By name. Raises ApiUnavailable also where a server that has just started refuses (403, 5xx)."""
    reply = await objects.api.request("GET", AGENT_JOBS.collection(NAMESPACE), resource="test")
    if not reply.ok:
        raise ApiUnavailable(f"{reply.status} {reply.message}")
    return {item["metadata"]["name"]: item.get("status") or {} for item in reply.body["items"]}


async def finished(objects: Objects, at_least: int) -> None:
    """Waits until that many objects show an end."""

    async def count() -> int:
        try:
            return sum(
                status.get("state") in ("Complete", "Failed") for status in (await statuses(objects)).values()
            )
        except ApiUnavailable:
            return -1

    await eventually(count, lambda n: n >= at_least, within=180)


async def kill_executor_of(worker: Part) -> None:
    """A process below the worker's template: the youngest one. It may end, or not yet have begun, while we look."""

    async def killed() -> bool:
        with suppress(IndexError, ProcessLookupError):
            os.kill(worker.descendants()[-1], signal.SIGKILL)
            return True
        return False

    await eventually(killed)


async def rows(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        return await (await conn.execute(statement.encode())).fetchall()


async def test_invariant_4_of_200_jobs_none_is_lost_whatever_is_killed_in_their_middle(
    own_control_plane: Cluster, own_postgres: EmbeddedPostgres, objects: Objects, tmp_path: Path
) -> None:
    dsn = own_postgres.dsn("agentjobs")
    with stack(own_control_plane, dsn, tmp_path) as parts:
        operator = parts.operator(NAMESPACE)
        first, _second = parts.worker("first", *WORKER_FLAGS), parts.worker("second", *WORKER_FLAGS)
        for i in range(JOBS):
            await objects.create(f"job-{i:03}", spec_of(i))

        await finished(objects, 15)
        await kill_executor_of(first)
        await finished(objects, 30)
        first.kill()
        parts.worker("third", *WORKER_FLAGS)
        await finished(objects, 60)
        operator.kill()
        parts.operator(NAMESPACE)
        await finished(objects, 90)
        await asyncio.to_thread(own_postgres.kill)
        await asyncio.to_thread(own_postgres.restart)
        await finished(objects, 120)
        await asyncio.to_thread(own_control_plane.require_own().kill_apiserver)
        await asyncio.to_thread(own_control_plane.require_own().restart_apiserver)
        await finished(objects, JOBS)

        shown = await statuses(objects)
        assert Counter(status["state"] for status in shown.values()) == {"Complete": JOBS}, explain(
            shown, parts
        )
        for i in range(JOBS):
            status = shown[f"job-{i:03}"]
            assert status["result"] == f"answer {i}"
            assert 1 <= status["attempts"] <= 3
        assert await rows(dsn, "select count(*) from agentjobs.outcome") == [(JOBS,)]
        assert await rows(dsn, "select count(*) from agentjobs.waiting") == [(0,)]
        assert await rows(dsn, "select count(*) from agentjobs.running") == [(0,)]
        # a lost worker held 6 jobs at most; killed templates and databases refund; nothing else runs twice
        extra = await rows(
            dsn, "select count(*) from agentjobs.attempt where kind = 'lost' or reason = 'ExecutorCrashed'"
        )
        assert extra[0][0] <= 20, extra
        # invariant 8: however often a job ran, its message stands once in its conversation
        twice = await rows(
            dsn,
            "select invocation_id, count(*) from adk.events where event_data->>'author' = 'user'"
            " group by 1 having count(*) > 1",
        )
        assert twice == []


def explain(shown: dict[str, JsonObject], parts: Stack) -> str:
    """What a person would look at first."""
    odd = {name: status for name, status in shown.items() if status.get("state") != "Complete"}
    logs = "\n".join(f"--- {part.log.name}\n{part.text()[-2000:]}" for part in parts.parts)
    return f"{odd}\n{logs}"
