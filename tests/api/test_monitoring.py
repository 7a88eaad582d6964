"""The chart's alerts and dashboard against what an operator and a worker show of real jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentjobs.telemetry.metrics import Metric
from clusters import Cluster
from operators import bench, eventually
from promql import OF_THE_TARGET, labels, parsed, queries, selectors
from scrapes import Scrape, scrape
from worker_agents import call, write_modules
from workers import job, running_worker, state_of, submit, worker_config

UNSEEN = {
    Metric.MODEL_BREAKER_OPEN,
    Metric.MODEL_JOBS_HELD,
    Metric.LOOP_FAILING,
    Metric.TASK_FAILURES,
    Metric.SWEEP_FOUND,
    Metric.SCHEDULE_TICKS,
}
"""What is absent while nothing is wrong, or nothing is scheduled; their labels are those of their definition."""


async def test_each_query_finds_its_series_in_a_real_scrape(
    cluster: Cluster, dsn: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"health_port": 0, "health_host": "127.0.0.1"}
    config = worker_config(dsn, write_modules(tmp_path / "modules"), **settings)
    async with bench(cluster, dsn, **settings) as b, b.running(), running_worker(config) as worker:
        operator = b.operator
        assert operator is not None
        await b.objects.create("seen")
        done, crashed = await submit(b.queue, job(), job(call("crash"), max_attempts=1))
        for uid in (done, crashed):
            await state_of(b.queue, uid)

        async def both() -> Scrape:
            seen = [await scrape(port) for port in (operator.port, worker.health.port) if port]
            return Scrape({key: value for one in seen for key, value in one.samples.items()})

        wanted = {s.name for query in queries().values() for s in selectors(query)} - UNSEEN
        found: Scrape = await eventually(both, lambda s: wanted <= s.names(), within=60)
    there = {str(metric): frozenset(metric.labels) for metric in UNSEEN}
    for name, given in found.samples:
        there[name] = there.get(name, frozenset()) | {label for label, _ in given}
    for place, query in queries().items():
        labels(parsed(query), there)
        for selector in selectors(query):
            assert selector.matched <= there[selector.name] | OF_THE_TARGET, place
