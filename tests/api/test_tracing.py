"""Traces as Kubernetes users meet them: an annotation in, ``status.traceID`` out, and ends that no worker saw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agentjobs.api.meta import TRACEPARENT
from agentjobs.queue.records import AckKind
from clusters import Cluster
from collector import Collector
from operators import Bench, bench, eventually

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
async def b(cluster: Cluster, dsn: str) -> AsyncIterator[Bench]:
    async with bench(cluster, dsn) as made:
        yield made


async def test_the_annotation_reaches_the_worker_and_the_trace_reaches_the_status(b: Bench) -> None:
    given = f"00-{TRACE}-{SPAN}-01"
    async with b.running():
        worker = await b.worker()
        await b.objects.create("job", {"maxAttempts": 1}, annotations={TRACEPARENT: given})
        job = await worker.one()
        assert job.payload["traceparent"] == given
        await worker.ack(job, AckKind.RETRY, reason="ExecutorCrashed", trace_id=TRACE)
        assert (await b.objects.until("job", "Failed"))["traceID"] == TRACE


async def test_a_traceparent_that_is_none_is_told_by_an_event_and_harms_nothing(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("job", annotations={TRACEPARENT: "my-trace"})
        job = await worker.one()
        assert "traceparent" not in job.payload
        await worker.ack(job)
        status = await b.objects.until("job", "Complete")
        assert "traceID" not in status
        events = await eventually(lambda: b.objects.events("job"), lambda found: len(found) == 2)
    (ignored,) = [event for event in events if event["reason"] == "TraceparentIgnored"]
    assert ignored["type"] == "Warning"
    assert "'my-trace' is no W3C traceparent" in ignored["message"]


async def test_the_operator_traces_the_end_of_a_job_that_no_run_brought_about(
    b: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Collector() as collector:
        for name, value in collector.environ.items():
            monkeypatch.setenv(name, value)
        async with b.running():
            given = {TRACEPARENT: f"00-{TRACE}-{SPAN}-01"}
            await b.objects.create("job", {"suspend": True}, annotations=given)
            await b.objects.until("job", "Suspended")
            await b.objects.patch("job", {"spec": {"cancel": True}})
            await b.objects.until("job", "Cancelled")
            worker = await b.worker()
            await b.objects.create("other", annotations={TRACEPARENT: f"00-{TRACE}-{SPAN}-01"})
            await worker.ack(await worker.one())
            await b.objects.until("other", "Complete")
            span = await asyncio.to_thread(collector.wait_for, "job agents", TRACE)
    assert (span.parent_id, span.attributes["agentjobs.job.state"]) == (SPAN, "Cancelled")
    assert span.resource["service.name"] == "agentjobs-operator"
    assert len(collector.named("job agents")) == 1, "the other one is its worker's to tell"
