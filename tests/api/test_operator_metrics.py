"""The operator's /metrics: on the leader the queue, on all what they did, and never a failed scrape."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agentjobs.controller.config import LeaseSettings
from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.telemetry.metrics import Metric
from clusters import Cluster
from operators import Bench, bench, eventually
from scrapes import Scrape, scrape

OF_THE_QUEUE = {
    Metric.QUEUE_DEPTH, Metric.QUEUE_READY, Metric.QUEUE_OLDEST, Metric.QUEUE_RUNNING, Metric.QUEUE_WANTED_SLOTS,
    Metric.QUEUE_SLOTS, Metric.QUEUE_PAUSED,
    Metric.WORKERS, Metric.OUTBOX_DEPTH, Metric.OUTBOX_LAG,
}  # fmt: skip
LOCAL: dict[str, Any] = {"health_port": 0, "health_host": "127.0.0.1"}


async def until(b: Bench, accept: Callable[[Scrape], object]) -> Scrape:
    assert b.operator is not None
    operator = b.operator

    async def look() -> Scrape:
        return await scrape(operator.port) if operator.port else Scrape({})

    found: Scrape = await eventually(look, lambda s: bool(accept(s)), within=60)
    return found


async def test_the_leader_shows_the_queue_and_one_that_stands_by_does_not(cluster: Cluster, dsn: str) -> None:
    async with bench(cluster, dsn, **LOCAL) as b:
        lease = LeaseSettings(b.objects.namespace, "op", 15, 10, 1)
        async with b.running(lease=lease):
            leader = b.operator
            worker = await b.worker()
            for n in range(3):
                await b.objects.create(f"job-{n}")
            await worker.claim(1)
            found = await until(
                b,
                lambda s: (
                    s.value("agentjobs_queue_depth", queue="agents", state="Queued") == 2
                    and s.value("agentjobs_queue_running", queue="agents") == 1
                ),
            )
            assert found.value("agentjobs_queue_ready", queue="agents") == 2
            assert found.value("agentjobs_queue_wanted_slots", queue="agents") == 3
            assert found.value("agentjobs_queue_slots", queue="agents") == 20
            assert found.value("agentjobs_queue_paused", queue="agents") == 0
            assert found.value("agentjobs_workers", pool="default") == 1
            assert found.value("agentjobs_operator_leading") == 1
            assert found.value("agentjobs_operator_database_up") == 1
            # each object once, and once more where answer and watch both bring its mark before it is stored
            assert found.value("agentjobs_operator_events_seen_total", taken="yes") in range(3, 7)
            async with b.running(lease=lease):
                standby = await until(b, lambda s: s.value("agentjobs_operator_database_up") == 1)
                assert standby.value("agentjobs_operator_leading") == 0
                assert not standby.names() & OF_THE_QUEUE
            b.operator = leader


async def test_a_scrape_succeeds_while_the_database_is_away(
    cluster: Cluster, own_postgres: EmbeddedPostgres
) -> None:
    async with bench(cluster, own_postgres.dsn("agentjobs"), **LOCAL) as b, b.running():
        # the database may be up before the operator leads and shows the queue
        up = await until(b, lambda s: s.names() >= {Metric.OUTBOX_DEPTH, Metric.OUTBOX_LAG})
        assert up.value("agentjobs_operator_database_up") == 1
        await asyncio.to_thread(own_postgres.kill)
        down = await until(b, lambda s: s.value("agentjobs_operator_database_up") == 0)
        assert not down.names() & OF_THE_QUEUE
        await asyncio.to_thread(own_postgres.restart)
        await until(b, lambda s: s.value("agentjobs_operator_database_up") == 1)
