"""Hundreds of failed jobs, retried by one command that is interrupted: with a real operator and database, one audit row each."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentjobs.cli.kubectl.apiserver import JOBS, ApiServer
from agentjobs.cli.kubectl.where import Where
from agentjobs.queue.audit import AuditRow
from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import Ack, AckKind, State
from agentjobs.values.reasons import Reason
from clusters import Cluster
from plugins import Plugin
from queue_builders import TestWorker, sql, until
from stack import stack

pytestmark = pytest.mark.timeout(600)

JOBS_OF_TEST = 600
"""More than a page of the audit has rows."""
SPEC = {
    "agent": {"inline": {"name": "helper", "model": "echo", "instruction": "Say it."}},
    "message": "Hello",
    "maxAttempts": 1,
}


@pytest.fixture
def namespace(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PATH", f"{cluster.kubectl_path.parent}{os.pathsep}{os.environ['PATH']}")
    with cluster.namespace() as name:
        yield name


def created(cluster: Cluster, namespace: str) -> None:
    with ApiServer.open(Where(namespace, kubeconfig=str(cluster.kubeconfig))) as server:
        for n in range(JOBS_OF_TEST):
            body = {
                "apiVersion": "agentjobs.dev/v1alpha1",
                "kind": "AgentJob",
                "metadata": {"name": f"j{n:04}"},
                "spec": SPEC,
            }
            server.done(server.request("POST", server.path_of(JOBS), None, body), JOBS)


async def failed(queue: Queue, namespace: str) -> None:
    """Lets all jobs fail as a worker does that reaches no model."""
    worker = await TestWorker(queue, {"agents": 100}).register()
    ended = JobFilter(namespace, frozenset({State.FAILED}))

    async def all_ended() -> bool:
        if not (await worker.beat()).alive:
            await worker.register()
        jobs = await worker.claim()
        acks = [Ack(job.id, job.token, AckKind.FAIL, reason=Reason.MODEL_UNAVAILABLE) for job in jobs]
        await worker.step(acks, {})
        await queue.tick(worker.id)
        worker.held.clear()
        # not what was claimed: on a busy machine a worker that was thought dead gets a job twice
        return await queue.count_jobs(ended) == JOBS_OF_TEST

    await until(all_ended, 240)
    await queue.unregister(worker.id)


async def retries(queue: Queue, namespace: str) -> list[AuditRow]:
    """All rows of the namespace's retries."""
    rows: list[AuditRow] = []
    before = None
    while page := await queue.audit(namespace, before=before, limit=500):
        rows += [row for row in page if row.verb == "retry"]
        before = page[-1].id
    return rows


async def counted(dsn: str, rows: str) -> int:
    """How many rows there are; cheap enough to ask again and again."""
    return int((await sql(dsn, f"select count(*) from agentjobs.{rows}"))[0][0])


async def test_one_audit_row_for_each_of_hundreds_of_jobs_through_an_interruption(
    cluster: Cluster, namespace: str, dsn: str, tmp_path: Path
) -> None:
    plugin = Plugin(cluster, namespace, None)
    with stack(cluster, dsn, tmp_path) as parts:
        parts.operator(namespace)
        async with await Queue.open(dsn) as queue:
            await asyncio.to_thread(created, cluster, namespace)
            await failed(queue, namespace)

            async def projected() -> bool:
                return await counted(dsn, "outbox") == 0

            await until(projected, 120)
            listed = await asyncio.to_thread(lambda: plugin("list", "--state=Failed", "-o", "name").stdout)
            assert len(listed.splitlines()) == JOBS_OF_TEST
            command = plugin.command(
                "retry", "--state=Failed", "--reason=ModelUnavailable", "--yes", "--because=it is back"
            )
            first = await asyncio.create_subprocess_exec(
                *command, "--spread=60s",
                env=plugin.environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert first.stderr is not None
            while not (line := await first.stderr.readline()).startswith(b"200 of 600"):
                assert line, "it has ended"
            first.send_signal(signal.SIGINT)
            out, _ = await asyncio.wait_for(first.communicate(), 60)
            assert first.returncode == 130
            found = re.match(rb"(\d+) of 600 agentjobs: retry requested\.", out)
            assert found is not None, out
            second = await asyncio.create_subprocess_exec(
                *command, env=plugin.environment, stdout=asyncio.subprocess.PIPE
            )
            out, _ = await asyncio.wait_for(second.communicate(), 120)
            left = JOBS_OF_TEST - int(found[1])
            assert f"{left:,} of {left:,} agentjobs: retry requested." in out.decode()

            async def all_told() -> bool:
                return await counted(dsn, "audit where verb = 'retry'") >= JOBS_OF_TEST

            await until(all_told, 120)
            rows = await retries(queue, namespace)
            assert set(Counter(row.uid for row in rows).values()) == {1}
            assert len(rows) == JOBS_OF_TEST
            who = json.loads(cluster.kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"][
                "username"
            ]
            assert {(row.actor, row.reason, row.source) for row in rows} == {(who, "it is back", "kubectl")}
            waiting = JobFilter(namespace, frozenset({State.QUEUED}))
            assert await queue.count_jobs(waiting) == JOBS_OF_TEST
