"""Invariant 4 from the operator's side: whatever goes away, nothing is lost and nobody restarts anything by hand."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from agentjobs.api.meta import INSTALLATION_LABEL, WATCHED_NAMESPACES
from agentjobs.controller.apiserver import watch
from agentjobs.controller.apiserver.client import JSON_PATCH
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.resources import LEASES
from agentjobs.controller.config import LeaseSettings
from agentjobs.controller.operator import Operator
from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.queue.errors import QueueError
from agentjobs.queue.records import State
from clusters import Cluster
from operators import Bench, bench, eventually, operator_process, serving

JOBS = 30

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
async def b(cluster: Cluster, dsn: str) -> AsyncIterator[Bench]:
    async with bench(cluster, dsn) as made:
        yield made


async def known(b: Bench) -> int:
    return sum((await b.queue.counts()).values())


async def complete(b: Bench, n: int = JOBS) -> None:
    """All are Complete after one attempt each."""
    for i in range(n):
        status = await b.objects.until(f"job-{i}", "Complete")
        assert status["attempts"] == 1


async def create(b: Bench, n: int = JOBS) -> list[UUID]:
    made = [await b.objects.create(f"job-{i}") for i in range(n)]
    return [UUID(found["metadata"]["uid"]) for found in made]


# the operator dies ---------------------------------------------------------------------------------------


async def test_invariant_4_an_operator_killed_between_upsert_and_status_loses_nothing(b: Bench) -> None:
    async with operator_process(b) as first:
        await create(b)
        await eventually(lambda: known(b), lambda n: n == JOBS)
        first.send_signal(signal.SIGKILL)
        await first.wait()
    async with b.running():
        worker = await b.worker()
        async with serving(worker):
            await complete(b)
        assert await worker.claim_ready() == []


async def test_invariant_4_an_operator_killed_while_answers_come_in_posts_each_event_once(b: Bench) -> None:
    async with operator_process(b) as first:
        worker = await b.worker()
        async with serving(worker):
            await create(b)

            async def some() -> bool:
                return bool((await b.objects.status("job-3")).get("result"))

            await eventually(some)
            first.send_signal(signal.SIGKILL)
            await first.wait()
            async with b.running():
                await complete(b)
                await eventually(lambda: b.queue.outbox(10, 0), lambda rows: not rows)
                for i in range(JOBS):  # a status is confirmed one second after it, with or without its Event
                    assert len(await eventually(partial(b.objects.events, f"job-{i}"))) == 1


async def test_sigterm_ends_the_operator_in_good_order_and_gives_the_lease_back(b: Bench) -> None:
    lease = LEASES.object(b.objects.namespace, "agentjobs-operator")

    async def held() -> dict[str, Any]:
        return dict((await b.objects.api.request("GET", lease, resource="test")).body)

    async def holder() -> str:
        return str(((await held()).get("spec") or {}).get("holderIdentity", ""))

    async with operator_process(b) as process:
        await b.objects.create("job")
        await b.objects.until("job", "Queued")  # it leads: the Lease is stored a moment before it knows that
        assert await holder()
        told = (await held())["metadata"]
        assert told["labels"][INSTALLATION_LABEL] == str(await b.queue.installation())
        assert told["annotations"][WATCHED_NAMESPACES] == b.objects.namespace
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(120):
            assert await process.wait() == 0
    assert await holder() == ""


# the API server goes away --------------------------------------------------------------------------------


async def test_the_api_server_is_killed_and_restarted_with_jobs_in_flight(
    own_control_plane: Cluster, dsn: str
) -> None:
    plane = own_control_plane.require_own()
    lease = LeaseSettings("default", duration_seconds=5, renew_deadline_seconds=3, retry_seconds=1)
    async with bench(own_control_plane, dsn, lease=lease) as b, b.running():
        worker = await b.worker()
        await create(b)
        jobs = await worker.claim(JOBS)
        await b.objects.until("job-0", "Running")
        await asyncio.to_thread(plane.kill_apiserver)
        with pytest.raises(ApiUnavailable):
            await b.objects.get("job-0")
        for job in jobs:
            assert await worker.ack(job) == "ok"
        assert b.operator is not None
        leadership = b.operator.leadership
        assert leadership is not None
        await eventually(lambda: value(leadership.leading), lambda leading: not leading)
        await asyncio.to_thread(plane.restart_apiserver)
        await complete(b)
        await b.objects.create("afterwards")
        await worker.ack(await worker.one())
        await b.objects.until("afterwards", "Complete")


async def test_an_operator_that_starts_before_its_api_server_waits_for_it(
    own_control_plane: Cluster, dsn: str
) -> None:
    plane = own_control_plane.require_own()
    async with bench(own_control_plane, dsn) as b:
        await create(b, 3)
        await asyncio.to_thread(plane.kill_apiserver)
        async with b.running():
            await eventually(lambda: unavailable(b), lambda n: n > 2)
            await asyncio.to_thread(plane.restart_apiserver)
            worker = await b.worker()
            async with serving(worker):
                await complete(b, 3)


async def unavailable(b: Bench) -> int:
    return b.meter.total("agentjobs_operator_api_requests_total", result="unavailable")


async def value(found: bool) -> bool:
    return found


async def test_a_definition_that_is_installed_later_is_noticed(bare_control_plane: Cluster, dsn: str) -> None:
    async with bench(bare_control_plane, dsn) as b, b.running():
        await eventually(lambda: missing(b), lambda n: n > 0)
        await asyncio.to_thread(bare_control_plane.install_crds)
        await create(b, 2)
        worker = await b.worker()
        async with serving(worker):
            await complete(b, 2)


async def missing(b: Bench) -> int:
    return b.meter.total("agentjobs_operator_api_requests_total", resource="agentjobs", result="404")


# the database goes away ----------------------------------------------------------------------------------


async def test_the_database_is_killed_and_restarted_and_every_object_seen_meanwhile_is_kept(
    cluster: Cluster, own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MOST_WAITING", 5)  # the watch reads no further while so many wait
    async with bench(cluster, own_postgres.dsn("agentjobs")) as b, b.running():
        await create(b, 3)
        await eventually(lambda: known(b), lambda n: n == 3)
        await asyncio.to_thread(own_postgres.kill)
        with pytest.raises(QueueError):
            await b.queue.counts()
        for i in range(3, JOBS):
            await b.objects.create(f"job-{i}")
        await b.objects.delete("job-0")
        await asyncio.to_thread(own_postgres.restart)
        worker = await b.worker()
        async with serving(worker):
            for i in range(1, JOBS):
                await b.objects.until(f"job-{i}", "Complete")


async def test_an_operator_that_starts_before_its_database_waits_for_it(
    cluster: Cluster, own_postgres: EmbeddedPostgres
) -> None:
    async with bench(cluster, own_postgres.dsn("agentjobs")) as b:
        await create(b, 3)
        await asyncio.to_thread(own_postgres.kill)
        async with b.running(health_host="127.0.0.1", health_port=0):
            await eventually(lambda: readiness(b), lambda status: status == 503)
            await asyncio.to_thread(own_postgres.restart)
            worker = await b.worker()
            async with serving(worker):
                await complete(b, 3)
            await eventually(lambda: readiness(b), lambda status: status == 200)


async def readiness(b: Bench, path: str = "/readyz") -> int:
    import aiohttp

    if b.operator is None or not b.operator.port:
        return 0
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{b.operator.port}{path}") as reply,
    ):
        return reply.status


# leaders -------------------------------------------------------------------------------------------------


async def test_the_next_in_line_takes_over_when_the_leader_ends(b: Bench) -> None:
    lease = LeaseSettings(
        b.objects.namespace, "op", duration_seconds=600, renew_deadline_seconds=400, retry_seconds=1
    )
    async with b.running(lease=lease, name="second"):
        second = b.operator
        assert second is not None
        await leads(second)
        async with b.running(lease=lease, name="first"):
            first = b.operator
            assert first is not None
            await b.objects.create("job")
            await b.objects.until("job", "Queued")
            assert first.leadership is not None
            assert not first.leadership.leading
            second.stop()
            await leads(first)  # within 90 s: the lease was given back, not waited out
            worker = await b.worker()
            await worker.ack(await worker.one())
            await b.objects.until("job", "Complete")


async def leads(operator: Operator) -> None:
    async def leading() -> bool:
        return operator.leadership is not None and operator.leadership.leading

    await eventually(leading)


async def test_whoever_loses_the_lease_stops_writing(b: Bench) -> None:
    # a thief that this machine lets wait for 15 s would lose it again
    lease = LeaseSettings(b.objects.namespace, "op", 15, 10, 1)
    async with b.running(lease=lease):
        assert b.operator is not None
        await leads(b.operator)
        await b.objects.create("one")
        await b.objects.until("one", "Queued")
        path = LEASES.object(b.objects.namespace, "op")

        async def stolen() -> bool:
            """Another holds it, and renews it all the time."""
            await b.objects.api.request(
                "PATCH", path, resource="test", content_type=JSON_PATCH,
                body=[{"op": "replace", "path": "/spec/holderIdentity", "value": f"thief-{time.monotonic_ns()}"}],
            )  # fmt: skip
            assert b.operator is not None
            assert b.operator.leadership is not None
            return not b.operator.leadership.leading

        await eventually(stolen)
        before = b.writes()
        made = await b.objects.create("two")
        for _ in range(20):
            assert await stolen()
        assert b.writes() == before
        assert await b.queue.show(UUID(made["metadata"]["uid"])) is None
        await leads(b.operator)  # the thief has gone
        await b.objects.until("two", "Queued")


async def test_the_operator_is_seen_as_a_live_process_that_may_rescue(b: Bench) -> None:
    async with b.running():
        found = await eventually(b.queue.workers)
        assert [dict(worker.queues) for worker in found] == [{}]
    assert await b.queue.workers() == []


async def test_h11_an_operator_rescues_the_jobs_of_a_worker_that_died(cluster: Cluster, dsn: str) -> None:
    async with bench(cluster, dsn) as b, b.running():
        worker = await b.worker()
        await b.objects.create("job")
        job = await worker.one()
        b.lives[worker.id].cancel()
        await asyncio.wait([b.lives[worker.id]])
        await b.queue._db.fetch(
            "update agentjobs.worker set beat_at = beat_at - interval '1 hour' where id = %s returning 1",
            (worker.id,),
        )
        status = await eventually(
            lambda: b.objects.status("job"),
            lambda s: s.get("reason") in ("WorkerLost", "NoWorkers"),
            within=90,
        )
        assert status["attempts"] == 0
        events = await eventually(lambda: b.objects.events("job"))
        assert [event["reason"] for event in events] == ["WorkerLost"]
        view = await b.queue.show(job.uid)
        assert view is not None
        assert view.state is State.QUEUED
