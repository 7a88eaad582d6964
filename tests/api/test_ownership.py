"""Two installations, each with a database of its own, that watch one namespace: an object belongs to one of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import pytest

import databases
from agentjobs.api.meta import MANAGED_BY
from agentjobs.controller.metrics.counters import MANAGED_ELSEWHERE
from agentjobs.controller.operator import Operator
from clusters import Cluster
from operators import Bench, bench, eventually, serving
from schedules import HOUR, Schedules, TestClock


@pytest.fixture
def other_dsn(postgres: Any, migrated_template: str) -> Iterator[str]:
    with databases.database(postgres, migrated_template) as dsn:
        yield dsn


@pytest.fixture
async def other(cluster: Cluster, b: Bench, other_dsn: str, clock: TestClock) -> AsyncIterator[Bench]:
    async with bench(cluster, other_dsn, namespace=b.objects.namespace, clock=clock) as made:
        yield made


async def runs(b: Bench, name: str) -> int:
    """How often the job ran in this database."""
    view = await b.queue.show(UUID((await b.objects.get(name))["metadata"]["uid"]))
    return 0 if view is None else view.run


def elsewhere(operator: Operator) -> int:
    return operator.meter.total(MANAGED_ELSEWHERE)


async def test_invariant_16_each_object_is_run_by_one_of_two_installations_and_the_other_says_so(
    b: Bench, other: Bench, s: Schedules, clock: TestClock
) -> None:
    names = [f"job-{n}" for n in range(12)]
    queues = {"agents": 20, "scheduled": 20}
    async with b.running() as first, other.running() as second:
        workers = await b.worker(queues=queues), await other.worker(queues=queues)
        async with serving(workers[0]), serving(workers[1]):
            for name in names:
                await b.objects.create(name)
            tick = clock.before(HOUR, seconds=5)
            await s.create("hourly")
            for name in names:
                await b.objects.until(name, "Complete")
            await eventually(lambda: s.names("hourly"), lambda found: len(found) == 1)
            (child,) = await s.names("hourly")
            assert child.endswith(str(int(tick.timestamp()) // 60))
            await b.objects.until(child, "Complete")
        ran = {name: await runs(b, name) + await runs(other, name) for name in [*names, child]}
        assert ran == dict.fromkeys([*names, child], 1)

        async def said() -> int:
            return elsewhere(first) + elsewhere(second)

        await eventually(said, lambda n: n == len(names) + 2)

        async def told() -> set[str]:
            return {event["reason"] for name in names for event in await b.objects.events(name)}

        await eventually(told, lambda reasons: "ManagedElsewhere" in reasons)
        # what the other one does not know it neither deletes nor cancels, nor writes
        marks = {name: await b.objects.get(name) for name in names}
        for bench_, operator in ((b, first), (other, second)):
            assert operator._leader is not None
            await operator._leader.job_sweep.sweep()
            assert bench_.operator is operator
        assert {name: await b.objects.get(name) for name in names} == marks


async def test_invariant_16_a_mark_survives_what_people_do_and_is_handed_over_by_taking_it_away(
    b: Bench, other: Bench, cluster: Cluster
) -> None:
    async with b.running():
        made = await b.objects.create("job", {"delaySeconds": 86_400})
        await b.objects.until("job", "Scheduled")
        installation = str(await b.queue.installation())
        mark = f"{installation}/{made['metadata']['uid']}"
        assert (await b.objects.get("job"))["metadata"]["annotations"][MANAGED_BY] == mark
        await b.objects.wipe_status("job")
        await b.objects.until("job", "Scheduled")
        async with other.running() as second:

            async def said() -> int:
                return elsewhere(second)

            await eventually(said)
            whole = {k: v for k, v in made.items() if k != "status"}
            whole["metadata"] = {"name": "job"}
            cluster.kubectl("replace", f"-n={b.objects.namespace}", "-f", "-", input=json.dumps(whole))
            await eventually(
                lambda: b.objects.get("job"),
                lambda o: (
                    (o["metadata"].get("annotations") or {})
                    .get(MANAGED_BY, "")
                    .endswith(made["metadata"]["uid"])
                ),
            )
    # the copy of an object is nobody's yet, whatever its annotations say
    async with other.running():
        await b.objects.patch("job", {"metadata": {"annotations": {MANAGED_BY: mark}}})
        copy = await b.objects.create("copy", {"delaySeconds": 86_400}, annotations={MANAGED_BY: mark})
        await b.objects.until("copy", "Scheduled")
        assert await other.queue.show(UUID(copy["metadata"]["uid"])) is not None
        await b.objects.patch("job", {"metadata": {"annotations": {MANAGED_BY: None}}})

        async def taken() -> object:
            return await other.queue.show(UUID(made["metadata"]["uid"]))

        await eventually(taken)
        theirs = str(await other.queue.installation())
        await eventually(
            lambda: b.objects.get("job"),
            lambda o: (o["metadata"].get("annotations") or {}).get(MANAGED_BY, "").startswith(theirs),
        )
    async with b.running() as first:

        async def told() -> int:
            return elsewhere(first)

        await eventually(told, lambda n: n == 2)

        async def released() -> str:
            view = await b.queue.show(UUID(made["metadata"]["uid"]))
            return view.state.value if view else ""

        await eventually(released, lambda state: state == "Cancelled")
        assert (await b.objects.status("job"))["state"] == "Scheduled", "theirs to show"
