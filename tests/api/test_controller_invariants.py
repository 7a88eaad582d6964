"""Invariants 1, 10, 11 and 13 on a real API server."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import UUID

import orjson
import pytest

from agentjobs.api.agentjob_status import AgentJobStatus
from agentjobs.controller.agentjob.input_reader import InputReader
from agentjobs.controller.agentjob.intake import Intake
from agentjobs.controller.agentjob.object_change import Gate
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.metrics.counters import API_REQUESTS, Counters
from agentjobs.queue.records import AckKind, Progress, State
from agentjobs.values.usage import Usage
from clusters import Cluster
from operators import QUICK, Bench, bench, eventually, serving


@pytest.fixture
async def b(cluster: Cluster, dsn: str) -> AsyncIterator[Bench]:
    async with bench(cluster, dsn) as made:
        yield made


async def settled(b: Bench) -> None:
    """The outbox is empty: everything that is known is shown."""
    await eventually(lambda: b.queue.outbox(10, 0), lambda rows: not rows)


# 1 -----------------------------------------------------------------------------------------------------


async def test_invariant_1_two_operators_that_apply_the_same_object_make_one_job(b: Bench) -> None:
    async with b.running(), b.running(name="second"):
        worker = await b.worker()
        for n in range(5):
            await b.objects.create(f"job-{n}")
        jobs = await worker.claim(5)
        assert len({job.uid for job in jobs}) == 5
        for job in jobs:
            await worker.ack(job)
        for n in range(5):
            await b.objects.until(f"job-{n}", "Complete")
        assert await worker.claim_ready() == []
        for n in range(5):  # an Event is posted after the status
            await eventually(partial(b.objects.events, f"job-{n}"))
        await settled(b)
        assert [len(await b.objects.events(f"job-{n}")) for n in range(5)] == [1] * 5


async def test_invariant_1_an_object_that_is_seen_again_and_again_runs_once(b: Bench) -> None:
    made = await b.objects.create("job")
    for _ in range(3):
        intake = Intake(b.queue, Gate("c"), Counters(), InputReader(ApiServer(None, Counters())))
        intake.enqueue([WatchEvent(made, deleted=False)] * 3)
        await intake.flush()
    worker = await b.worker()
    await worker.ack(await worker.one())
    intake = Intake(b.queue, Gate("c"), Counters(), InputReader(ApiServer(None, Counters())))
    intake.enqueue([WatchEvent(made, deleted=False)])
    await intake.flush()
    assert await worker.claim_ready() == []


# 10 ----------------------------------------------------------------------------------------------------


async def test_invariant_10_a_job_that_succeeds_at_once_costs_at_most_three_writes_and_one_event(
    b: Bench,
) -> None:
    async with b.running():
        worker = await b.worker()
        async with serving(worker):
            for n in range(10):
                await b.objects.create(f"job-{n}")
            for n in range(10):
                await b.objects.until(f"job-{n}", "Complete")
        for n in range(10):  # a status is confirmed one second after it, with or without its Event
            await eventually(partial(b.objects.events, f"job-{n}"))
        await settled(b)
        assert 10 <= b.writes() <= 30
        assert b.posts() == 10
        allowed = {"agentjobs", "agentjobs/status", "scheduledagentjobs", "events", "namespaces"}
        asked = {
            dict(labels)["resource"] for (name, labels), _ in b.meter.counts.items() if name == API_REQUESTS
        }
        assert asked <= allowed


async def test_invariant_10_nothing_is_written_when_nothing_changed(b: Bench) -> None:
    async with b.running():
        await b.objects.create("waits", {"delaySeconds": 3600})
        await b.objects.until("waits", "Scheduled")
        await settled(b)
        before = b.writes()
        version = (await b.objects.get("waits"))["metadata"]["resourceVersion"]
        await b.objects.patch("waits", {"metadata": {"labels": {"team": "x"}}})
        uid = UUID((await b.objects.get("waits"))["metadata"]["uid"])
        await b.queue.touch([uid])
        await settled(b)
        assert b.writes() == before
        assert version != (await b.objects.get("waits"))["metadata"]["resourceVersion"], (
            "only the label changed"
        )
    async with b.running():  # a new operator lists everything, and leaves it as it is
        await eventually(lambda: seen_events(b), lambda n: n > 0)
        await settled(b)
        assert b.writes() == 0


async def seen_events(b: Bench) -> int:
    return b.meter.total("agentjobs_operator_events_seen_total")


async def test_invariant_10_while_it_waits_each_change_of_reason_is_one_write(b: Bench) -> None:
    async with b.running():
        await b.objects.create("job", {"queue": "quiet"})
        await eventually(lambda: b.objects.status("job"), lambda s: s.get("reason") == "NoWorkers")
        await settled(b)
        before = b.writes()
        await b.worker(queues={"quiet": 1})
        await eventually(lambda: b.objects.status("job"), lambda s: s.get("reason") == "Queued")
        await settled(b)
        assert b.writes() == before + 1


# 11 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", [State.SCHEDULED, State.RUNNING, State.RETRYING, State.COMPLETE, State.FAILED]
)
async def test_invariant_11_a_wiped_status_is_rebuilt_byte_for_byte(b: Bench, state: State) -> None:
    async with b.running():
        await bring(b, state)
        before = await b.objects.until("job", state.value)
        await settled(b)
        before = await b.objects.status("job")
        await b.objects.wipe_status("job")
        after = await b.objects.until("job", state.value)
    assert after.pop("revision") > before.pop("revision")
    assert orjson.dumps(after) == orjson.dumps(before)


async def test_invariant_11_a_status_that_was_wiped_while_no_operator_ran_is_rebuilt(b: Bench) -> None:
    async with b.running():
        await bring(b, State.COMPLETE)
        before = await b.objects.until("job", "Complete")
        await settled(b)
    await b.objects.wipe_status("job")
    async with b.running():
        after = await b.objects.until("job", "Complete")
        worker = await b.worker()
        assert await worker.claim_ready() == []
    assert {**after, "revision": 0} == {**before, "revision": 0}


async def bring(b: Bench, state: State) -> None:
    """An object named job whose job is in this state."""
    await b.objects.create("job", {"delaySeconds": 3600} if state is State.SCHEDULED else {})
    if state is State.SCHEDULED:
        return
    worker = await b.worker()
    job = await worker.one()
    if state is State.COMPLETE:
        await worker.ack(job, result="ä" * 5000)
    elif state is State.FAILED:
        await worker.ack(job, AckKind.FAIL, reason="AgentFailed", message="no " * 500)
    elif state is State.RETRYING:
        await worker.ack(job, AckKind.RETRY, delay_seconds=3600, reason="ModelServerError", message="500")


# 13 ----------------------------------------------------------------------------------------------------


async def test_invariant_13_a_spec_that_cannot_run_ends_and_blocks_nobody(b: Bench) -> None:
    """The definition refuses such specs; an older one may have let them in."""
    good, bad = await b.objects.create("good"), await b.objects.create("bad")
    spoiled: dict[str, Any] = {**bad, "spec": {**bad["spec"], "priority": 77}}
    intake = Intake(b.queue, Gate("c"), Counters(), InputReader(ApiServer(None, Counters())))
    intake.enqueue([WatchEvent(spoiled, deleted=False), WatchEvent(good, deleted=False)])
    await intake.flush()
    worker = await b.worker()
    assert (await worker.one()).payload["name"] == "good"
    view = await b.queue.show(UUID(bad["metadata"]["uid"]))
    assert view is not None
    assert view.state is State.REJECTED
    assert "spec.priority" in view.message
    assert "77" in view.message


async def test_h6_text_that_postgres_cannot_store_spoils_nothing(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("nul", {"message": "a\x00b"})
        await b.objects.create("good")
        for job in await worker.claim(2):
            await worker.ack(job, result="c\x00d\ud800")
        for name in ("nul", "good"):
            status = await b.objects.until(name, "Complete")
            assert "\x00" not in status["result"]


async def test_the_largest_status_fits_into_the_definition(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("job", {"maxAttempts": 4})
        for _ in range(3):
            job = await worker.one()
            await worker.ack(job, AckKind.RETRY, reason="R" * 128, message="\u0001<é" * 50_000)
        await worker.ack(
            await worker.one(), result="<&>\u0002" * 200_000, session_id="s" * 128, trace_id="t" * 64
        )
        status = await b.objects.until("job", "Complete")
    AgentJobStatus.model_validate(status)
    assert status["resultTruncated"] is True
    assert len(status["result"].encode()) <= 4096


# two leaders --------------------------------------------------------------------------------------------


async def test_two_leaders_write_what_one_would(b: Bench) -> None:
    async with b.running(), b.running(name="second"):
        worker = await b.worker()
        async with serving(worker):
            await asyncio.gather(*(b.objects.create(f"job-{n}") for n in range(20)))
            found = [await b.objects.until(f"job-{n}", "Complete") for n in range(20)]
        assert all(status["attempts"] == 1 for status in found)
        await settled(b)


# progress -----------------------------------------------------------------------------------------------


async def test_the_progress_of_a_running_job_is_shown_now_and_then(cluster: Cluster, dsn: str) -> None:
    often = dataclasses.replace(QUICK, progress=1.0)
    async with bench(cluster, dsn, intervals=often) as b, b.running():
        worker = await b.worker()
        await b.objects.create("job")
        job = await worker.one()
        await b.objects.until("job", "Running")
        await settled(b)
        before, began = b.writes(), time.monotonic()
        for n in range(1, 6):
            rows = [Progress(job.id, job.token, "get_weather", n, Usage(total_tokens=n))]
            await b.queue.progress(worker.id, rows)
        status = await eventually(lambda: b.objects.status("job"), lambda s: s.get("eventCount") == 5)
        assert status["message"] == "at get_weather"
        assert status["usage"]["totalTokens"] == 5
        seconds = time.monotonic() - began  # one write in each
        assert b.writes() <= before + 2 + int(seconds)
    async with bench(cluster, dsn, b.objects.namespace, intervals=often) as b, b.running():
        await b.queue.progress(worker.id, [Progress(job.id, job.token, "answer", 9, Usage())])
        await eventually(lambda: b.objects.status("job"), lambda s: s.get("eventCount") == 9)
