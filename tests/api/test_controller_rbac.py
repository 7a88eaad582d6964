"""The operator does its whole work with the rights that docs/operator.md names, and no others."""

from __future__ import annotations

import asyncio
from functools import partial
from uuid import uuid4

from agentjobs.controller.config import LeaseSettings
from agentjobs.controller.metrics.counters import API_REQUESTS
from agentjobs.queue.records import AckKind
from clusters import Cluster
from operators import Bench, bench, eventually
from rbac import documented, role
from schedules import HOUR, Schedules, TestClock, child_name


async def a_schedule_replaces_and_forgets(b: Bench, clock: TestClock) -> None:
    """Everything that the scheduler asks of the API server: create, find, cancel, delete, status, Events, the sweep."""
    schedules = Schedules(b.objects.api, b.objects.namespace)
    worker = await b.worker(queues={"scheduled": 1})
    first = child_name("job", clock.before(HOUR))
    await schedules.create("job", {"concurrencyPolicy": "Replace", "failedJobsHistoryLimit": 0})
    job = await worker.one()
    clock.before(HOUR)
    await eventually(lambda: schedules.names("job"), lambda names: len(names) == 2)
    await worker.ack(job, AckKind.CANCEL)
    await eventually(lambda: schedules.names("job"), lambda names: first not in names)
    await schedules.until("job", lambda status: status.get("lastResult") == "Cancelled")


async def test_the_documented_rights_are_enough_and_none_is_refused(cluster: Cluster, dsn: str) -> None:
    user = f"operator-{uuid4().hex[:8]}"
    kubeconfig = cluster.require_own().kubeconfig_for(user)
    rules = documented()
    assert [rule["resources"][0] for rule in rules] == [
        "agentjobs", "agentjobs/status", "scheduledagentjobs", "scheduledagentjobs/status", "events",
        "configmaps", "namespaces", "leases",
    ]  # fmt: skip
    await asyncio.to_thread(cluster.apply, role(user, user))

    async def granted() -> str:
        """The API server grants a right some moments after it has stored it."""
        asked = ("auth", "can-i", "update", "leases.coordination.k8s.io", f"--as={user}")
        return await asyncio.to_thread(partial(cluster.kubectl, *asked, check=False))

    await eventually(granted, lambda said: said.strip() == "yes")
    clock = TestClock()
    async with bench(cluster, dsn, clock=clock) as b:
        lease = LeaseSettings(b.objects.namespace, "op", 15, 10, 1)
        async with b.running(kubeconfig=str(kubeconfig), lease=lease):
            worker = await b.worker()
            await b.objects.create("job", {"maxAttempts": 2, "ttlSecondsAfterFinished": 3600})
            await worker.ack(await worker.one(), AckKind.RETRY, reason="ModelServerError", message="500")
            await worker.ack(await worker.one())
            await b.objects.until("job", "Complete")
            await b.objects.patch("job", {"spec": {"ttlSecondsAfterFinished": 0}})
            await eventually(lambda: b.objects.exists("job"), lambda there: not there)
            await a_schedule_replaces_and_forgets(b, clock)
        asked = {
            (dict(labels)["verb"], dict(labels)["resource"], dict(labels)["result"])
            for (name, labels) in b.meter.counts
            if name == API_REQUESTS
        }
    assert not [request for request in asked if request[2] == "403"]
    assert ("PATCH", "leases", "200") in asked, "the lease was given back"
