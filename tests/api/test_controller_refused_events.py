"""Events that the API server refuses in one namespace change nothing for statuses, creations, or other
namespaces."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from statistics import median

import pytest

from agentjobs.controller.apiserver.resources import NAMESPACES
from api_proxy import ApiProxy, Fault, api_proxy
from clusters import Cluster
from operators import Bench, Objects, bench, eventually, serving
from schedules import HOUR, Schedules, TestClock, child_name

LIMITED = Fault(429, retry_after=1)
NOISY_JOBS = 40
QUIET_JOBS = 10


@pytest.fixture
async def proxy(cluster: Cluster, tmp_path: Path) -> AsyncIterator[ApiProxy]:
    async with api_proxy(cluster, tmp_path) as made:
        yield made


@pytest.fixture
async def both(cluster: Cluster, dsn: str, proxy: ApiProxy, clock: TestClock) -> AsyncIterator[Bench]:
    """A bench in a quiet namespace; its operator watches a noisy one, too, and asks through the proxy."""
    async with bench(cluster, dsn, clock=clock, kubeconfig=str(proxy.kubeconfig)) as b:
        noisy = f"{b.objects.namespace}-noisy"
        made = await b.objects.api.request(
            "POST", NAMESPACES.collection(), resource="test", body={"metadata": {"name": noisy}}
        )
        assert made.ok, made
        yield b
        await b.objects.api.request("DELETE", NAMESPACES.object(None, noisy), resource="test")


def noisy_of(b: Bench) -> Objects:
    return Objects(b.objects.api, f"{b.objects.namespace}-noisy")


def limit_events(proxy: ApiProxy, namespace: str) -> None:
    pattern = re.compile(rf"/api/v1/namespaces/{namespace}/events")
    proxy.fault = lambda method, path: LIMITED if method == "POST" and pattern.fullmatch(path) else None


async def until_complete(objects: Objects, name: str) -> float:
    """Seconds from the object's creation until it shows Complete."""
    started = time.monotonic()
    await objects.create(name)
    await objects.until(name, "Complete")
    return time.monotonic() - started


async def test_invariant_10_limited_events_of_one_namespace_leave_all_statuses_as_they_are(
    both: Bench, proxy: ApiProxy
) -> None:
    b, quiet, noisy = both, both.objects, noisy_of(both)
    namespaces = (quiet.namespace, noisy.namespace)
    noisy_writes = rf".*/namespaces/{noisy.namespace}/agentjobs/.*/status"
    async with b.running(namespaces=namespaces), serving(await b.worker()):
        usual = [await until_complete(quiet, f"usual-{n}") for n in range(QUIET_JOBS)]
        limit_events(proxy, noisy.namespace)
        for n in range(NOISY_JOBS):
            await noisy.create(f"job-{n}")
        for n in range(NOISY_JOBS):
            await noisy.until(f"job-{n}", "Complete")
        await eventually(lambda: b.queue.outbox(100, 0), lambda rows: not rows)
        written, posted = proxy.count("PATCH", noisy_writes), proxy.count("POST", r".*/events")
        beside = [await until_complete(quiet, f"beside-{n}") for n in range(QUIET_JOBS)]

        assert proxy.count("PATCH", noisy_writes) == written, (
            "what is finished and shown is not written again"
        )
        assert median(beside) < 10 * median(usual) + 0.5
        for n in range(QUIET_JOBS):
            await eventually(partial(quiet.events, f"beside-{n}"))
        assert not await noisy.events("job-0")
        assert proxy.count("POST", r".*/events") - posted < 10 * QUIET_JOBS, "refused Events are tried rarely"

        proxy.fault = lambda method, path: None
        for n in range(NOISY_JOBS):
            found = await eventually(partial(noisy.events, f"job-{n}"))
            assert [event["reason"] for event in found] == ["JobCompleted"]
        assert proxy.count("PATCH", noisy_writes) == written


async def test_limited_events_of_a_schedule_delay_no_child(
    both: Bench, proxy: ApiProxy, clock: TestClock
) -> None:
    b, noisy = both, noisy_of(both)
    schedules = Schedules(b.objects.api, noisy.namespace)
    limit_events(proxy, noisy.namespace)
    async with b.running(namespaces=(b.objects.namespace, noisy.namespace)):
        for n in range(3):
            await schedules.create(f"hourly-{n}")
        for n in range(3):
            await schedules.accepted(f"hourly-{n}")
        for _ in range(3):
            tick = clock.before(HOUR)
            wanted = {child_name(f"hourly-{n}", tick) for n in range(3)}
            started = time.monotonic()
            await eventually(schedules.names, wanted.issubset)
            assert time.monotonic() - started < 20.0
        assert not await schedules.events("hourly-0")
        assert proxy.count("POST", rf".*/{noisy.namespace}/events") < 30

        proxy.fault = lambda method, path: None
        told = await eventually(
            lambda: schedules.events("hourly-0"), lambda found: len(found.get("SuccessfulCreate", ())) == 3
        )
        assert "FailedCreate" not in told
