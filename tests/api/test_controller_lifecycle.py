"""One job's way through operator and database, on a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from clusters import Cluster
from operators import Bench, bench, condition, eventually


@pytest.fixture
async def b(cluster: Cluster, dsn: str) -> AsyncIterator[Bench]:
    async with bench(cluster, dsn) as made:
        yield made


async def test_a_job_goes_from_apply_to_its_answer(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        b.cluster.apply(
            {
                "apiVersion": "agentjobs.dev/v1alpha1",
                "kind": "AgentJob",
                "metadata": {"name": "hello"},
                "spec": {"agent": {"module": "agents.hello"}, "message": "hi"},
            },
            b.objects.namespace,
        )
        job = await worker.one()
        assert job.payload["message"] == "hi"
        await worker.ack(job, result="42")
        status = await b.objects.until("hello", "Complete")
    assert status["result"] == "42"
    assert status["attempts"] == 1
    assert condition(status, "Complete")["status"] == "True"  # type: ignore[index]
    events = await eventually(lambda: b.objects.events("hello"))
    assert [event["reason"] for event in events] == ["JobCompleted"]
