"""Invariant 9 under attack: each tick one child at most, whoever decides, whatever dies, whatever the clock does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from agentjobs.api.meta import format_time
from agentjobs.controller.scheduledagentjob import apiserver_objects as scheduler_cluster
from agentjobs.controller.scheduledagentjob.apiserver_objects import ApiServerObjects
from agentjobs.controller.scheduledagentjob.cluster_objects import Created, Refused
from clusters import Cluster
from operators import QUICK, Bench, bench, eventually, operator_process, serving
from rbac import documented, role
from schedules import HOUR, MINUTE, Schedules, TestClock, child_name


async def created_ever(b: Bench) -> Counter[str]:
    """How many jobs of each object's name the queue was ever told of; a child that is deleted stays in it."""
    return Counter(dict(await b.queue._db.fetch("select name, count(*) from agentjobs.job group by 1")))


async def pending_ticks(b: Bench) -> int:
    [(n,)] = await b.queue._db.fetch("select count(*) from agentjobs.schedule_tick where child_uid is null")
    return int(n)


# two operators -------------------------------------------------------------------------------------------


async def test_invariant_9_two_operators_without_an_election_make_one_child_per_tick(
    b: Bench, s: Schedules, clock: TestClock
) -> None:
    ticks: list[datetime] = []
    async with b.running(), b.running(name="second"):
        for n in range(5):
            await s.create(f"job-{n}", {"successfulJobsHistoryLimit": 100, "concurrencyPolicy": "Allow"})
            await s.accepted(f"job-{n}")
        for _ in range(4):
            ticks.append(clock.before(HOUR))
            expected = {child_name(f"job-{n}", tick) for n in range(5) for tick in ticks}
            await eventually(s.names, expected.issubset)
        assert await s.names() == expected
        for n in range(5):
            status = await s.until(f"job-{n}", lambda found: found.get("activeCount") == 4)
            assert "missedRuns" not in status
        # one of the two created each: the other one did not even try
        assert all(n == 1 for n in (await created_ever(b)).values())


# deaths --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def dying(monkeypatch: pytest.MonkeyPatch, where: str, died: asyncio.Event) -> AsyncIterator[None]:
    """The next creation dies ``before`` the request, or ``after`` it, before anybody hears the answer."""
    real = ApiServerObjects.create

    async def create(self: ApiServerObjects, manifest: dict[str, Any], schedule: UUID) -> Created | Refused:
        if where == "after":
            await real(self, manifest, schedule)
        died.set()
        await asyncio.Event().wait()  # until the operator is ended
        raise AssertionError

    monkeypatch.setattr(scheduler_cluster.ApiServerObjects, "create", create)
    try:
        yield
    finally:
        monkeypatch.setattr(scheduler_cluster.ApiServerObjects, "create", real)


@pytest.mark.parametrize("where", ["before", "after"])
async def test_invariant_9_an_operator_that_dies_around_a_creation_leaves_one_child(
    b: Bench, s: Schedules, clock: TestClock, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Its claim runs out, and another operator creates the child, or finds it."""
    tick = clock.before(HOUR, seconds=3)
    died = asyncio.Event()
    async with dying(monkeypatch, where, died), b.running():
        await s.create("job")
        await asyncio.wait_for(died.wait(), 90)
    assert await pending_ticks(b) == 1
    async with b.running(name="successor"):
        await eventually(lambda: s.names("job"), lambda names: names == {child_name("job", tick)})
        await eventually(lambda: pending_ticks(b), lambda n: n == 0)
        status = await s.until("job", lambda found: found.get("activeCount") == 1)
        assert status["lastScheduleTime"] == format_time(tick)
    assert await created_ever(b) == {child_name("job", tick): 1}


async def test_invariant_9_a_sigkill_between_decision_and_creation_leaves_one_child(
    cluster: Cluster, dsn: str
) -> None:
    """The first operator, a process of its own, may not create AgentJobs: its decision stands, its child does not."""
    user = f"operator-{uuid4().hex[:8]}"
    kubeconfig = cluster.require_own().kubeconfig_for(user)
    rules = documented()
    rules[0] = {**rules[0], "verbs": [verb for verb in rules[0]["verbs"] if verb != "create"]}
    await asyncio.to_thread(cluster.apply, role(user, user, rules))
    async with bench(cluster, dsn) as b:
        s = Schedules(b.objects.api, b.objects.namespace)
        tick = datetime.now(UTC).replace(microsecond=0)
        async with operator_process(b, AGENTJOBS_KUBECONFIG=str(kubeconfig)) as first:
            await s.create("once", {"scheduledTime": format_time(tick)})
            events = await eventually(lambda: s.events("once"), lambda found: "FailedCreate" in found)
            assert "403" in events["FailedCreate"][0]
            assert await pending_ticks(b) == 1
            first.kill()
            await first.wait()
        assert await s.names() == set()
        async with b.running():
            await eventually(s.names, lambda names: names == {child_name("once", tick)})
            await eventually(lambda: pending_ticks(b), lambda n: n == 0)
            await s.until("once", lambda found: found.get("activeCount") == 1)
        assert await created_ever(b) == {child_name("once", tick): 1}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("how", ["ttl", "history", "user"])
async def test_invariant_9_a_child_that_is_gone_before_its_creation_was_confirmed_is_not_made_again(
    b: Bench, s: Schedules, clock: TestClock, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """H29: the operator dies after the request; the child runs, ends and is deleted before anybody has noted it."""
    tick = clock.before(HOUR, seconds=3)
    name = child_name("job", tick)
    died = asyncio.Event()
    worker = await b.worker(queues={"scheduled": 5})
    async with dying(monkeypatch, "after", died), b.running():
        await s.create("job")
        await asyncio.wait_for(died.wait(), 90)
        await worker.ack(await worker.one())
        await b.objects.until(name, "Complete")
        if how == "user":
            await b.objects.delete(name)
        elif how == "ttl":
            await b.objects.patch(name, {"spec": {"ttlSecondsAfterFinished": 0}})
        else:
            await s.patch("job", {"spec": {"successfulJobsHistoryLimit": 0}})
    async with b.running(name="successor"):
        await eventually(lambda: pending_ticks(b), lambda n: n == 0)
        if how != "user":
            await eventually(s.names, lambda names: not names)
        status = await s.until("job", lambda found: found.get("lastResult") == "Complete")
        assert status["activeCount"] == 0
        assert await s.names() == set()
    assert await created_ever(b) == {name: 1}


@pytest.mark.timeout(400)
async def test_invariant_9_operators_that_die_all_the_time_lose_and_double_nothing(
    b: Bench, s: Schedules, clock: TestClock
) -> None:
    """Ended at every moment of their work, with children that end and go at once: each tick is one child."""
    names, rounds = [f"job-{n}" for n in range(4)], 8
    worker = await b.worker(queues={"scheduled": 50})
    ticks: list[datetime] = []
    async with serving(worker):
        async with b.running():
            for n, name in enumerate(names):
                limits = {"successfulJobsHistoryLimit": n % 2, "job": {"ttlSecondsAfterFinished": n}}
                await s.create(name, limits)
                await s.accepted(name)
        for round_ in range(rounds):
            ticks.append(clock.before(HOUR, seconds=0.8))
            async with b.running(name=f"round-{round_}"):
                # not a wait for anything: it dies at another moment of its work each time
                await asyncio.sleep(0.6 + 0.1 * round_)
        async with b.running(name="last"):

            async def unaccounted() -> dict[str, int]:
                """Ticks that are neither created nor counted as missed, by schedule."""
                known = await created_ever(b)
                made = {n: sum(known[child_name(n, tick)] for tick in ticks) for n in names}
                missed = {n: (await s.status(n)).get("missedRuns", 0) for n in names}
                return {n: rounds - made[n] - missed[n] for n in names if made[n] + missed[n] != rounds}

            await eventually(unaccounted, lambda found: not found, within=120)
            await eventually(lambda: pending_ticks(b), lambda n: n == 0)
    known = await created_ever(b)
    assert set(known.values()) == {1}, known
    assert set(known) <= {child_name(n, tick) for n in names for tick in ticks}
    assert all(known[child_name(n, ticks[-1])] for n in names)


# the API server is away ----------------------------------------------------------------------------------


@pytest.mark.timeout(400)
async def test_invariant_9_an_api_server_that_is_away_over_several_ticks_gives_one_child_after_it(
    own_control_plane: Cluster, dsn: str, clock: TestClock
) -> None:
    plane = own_control_plane.require_own()
    async with bench(own_control_plane, dsn, clock=clock) as b, b.running():
        s = Schedules(b.objects.api, b.objects.namespace)
        first = clock.before(HOUR, seconds=4)
        await s.create("latest")
        await s.create("skip", {"missedRunPolicy": "Skip"})
        await s.accepted("latest")
        await s.accepted("skip")
        await eventually(s.names, lambda names: len(names) == 2)
        await asyncio.to_thread(plane.kill_apiserver)
        for _ in range(4):
            last = clock.before(HOUR, seconds=0.5)
            await passed(clock, last)
        clock.advance(5 * MINUTE)
        await asyncio.to_thread(plane.restart_apiserver)
        kept = {child_name("latest", first), child_name("skip", first)}
        names = await eventually(s.names, lambda names: child_name("latest", last) in names, within=120)
        assert names == kept | {child_name("latest", last)}
        status = await s.until("latest", lambda found: found.get("missedRuns") == 3)
        status = await s.until("skip", lambda found: found.get("missedRuns") == 4)
        assert status["lastScheduleTime"] == format_time(last)
        events = await eventually(lambda: s.events("latest"), lambda found: "MissSchedule" in found)
        assert events["MissSchedule"]


async def passed(clock: TestClock, moment: datetime) -> None:
    """That time has come, and the scheduler has looked at it."""

    async def late() -> timedelta:
        return clock() - moment

    await eventually(late, lambda by: by > timedelta(seconds=2 * QUICK.orphans))


# clocks --------------------------------------------------------------------------------------------------


async def test_invariant_9_a_clock_that_is_set_forward_and_back_repeats_no_tick(
    b: Bench, s: Schedules, clock: TestClock
) -> None:
    async with b.running():
        first = clock.before(HOUR)
        await s.create("job", {"successfulJobsHistoryLimit": 100})
        await eventually(s.names, lambda names: names == {child_name("job", first)})
        clock.advance(5 * HOUR)
        latest = first + 5 * HOUR
        await eventually(
            s.names, lambda names: names == {child_name("job", first), child_name("job", latest)}
        )
        for moment in (first - 30 * MINUTE, first - timedelta(seconds=1)):
            clock.set(moment)
            await passed(clock, moment)
        status = await s.until("job", lambda found: found.get("missedRuns") == 4)
        assert status["lastScheduleTime"] == format_time(latest)
        # the schedule waits until its last tick is passed again
        clock.set(latest + HOUR - timedelta(seconds=1))
        await eventually(s.names, lambda names: child_name("job", latest + HOUR) in names)
        assert len(await s.names()) == 3


# the same name again -------------------------------------------------------------------------------------


@pytest.mark.timeout(400)
async def test_h29_a_schedule_that_is_created_again_waits_for_the_old_ones_child_to_be_collected(
    b: Bench, s: Schedules, clock: TestClock, cluster: Cluster
) -> None:
    if cluster.own is not None and cluster.own.assets.controller_manager is None:
        pytest.skip("without kube-controller-manager nothing collects garbage")
    async with b.running():
        tick = clock.before(MINUTE, seconds=3)
        shot = {"scheduledTime": format_time(tick)}
        old = await s.create("once", shot)
        await eventually(s.names, lambda names: names == {child_name("once", tick)})
        await s.delete("once")
        new = await s.create("once", shot)

        async def owner() -> str:
            job = (await s.jobs()).get(child_name("once", tick))
            return str(job["metadata"]["ownerReferences"][0]["uid"]) if job else ""

        await eventually(owner, lambda uid: uid == new["metadata"]["uid"], within=240)
        assert old["metadata"]["uid"] != new["metadata"]["uid"]
        await eventually(lambda: pending_ticks(b), lambda n: n == 0)


async def test_invariant_9_a_schedule_created_again_within_its_minute_does_not_repeat_the_tick(
    b: Bench, s: Schedules, clock: TestClock
) -> None:
    async with b.running():
        await s.create("job", {"schedule": "* * * * *"})
        await s.accepted("job")
        # real time: a creation's time is the API server's
        clock.set(datetime.now(UTC))
        names = await eventually(lambda: s.names("job"), bool, within=90)
        await s.delete("job")
        again = await s.create("job", {"schedule": "* * * * *"})
        status = await s.accepted("job")
        assert "lastScheduleTime" not in status
        mine = [
            j
            for j in (await s.jobs()).values()
            if j["metadata"]["ownerReferences"][0]["uid"] == again["metadata"]["uid"]
        ]
        assert mine == []
        assert len(names) == 1


async def test_a_foreign_object_of_the_childs_name_is_told_and_left_alone(
    b: Bench, s: Schedules, clock: TestClock
) -> None:
    async with b.running():
        tick = clock.before(HOUR, seconds=4)
        name = child_name("job", tick)
        await b.objects.create(name, {"message": "mine"})
        await s.create("job", {"startingDeadlineSeconds": 600})
        events = await eventually(lambda: s.events("job"), lambda found: "FailedCreate" in found)
        assert "is not this schedule's" in events["FailedCreate"][0]
        assert (await s.jobs())[name]["spec"]["message"] == "mine"
        clock.advance(timedelta(seconds=601))
        await s.until("job", lambda found: found.get("missedRuns") == 1)
        assert await pending_ticks(b) == 0


# crowds --------------------------------------------------------------------------------------------------


@pytest.mark.timeout(900)
async def test_500_schedules_due_in_one_second_each_get_their_child(
    b: Bench, s: Schedules, clock: TestClock
) -> None:
    """How long that takes is the benchmark's to say (benchmarks/schedules.py)."""
    n = 500
    async with b.running():
        slots = asyncio.Semaphore(16)

        async def create(i: int) -> None:
            async with slots:
                await s.create(f"job-{i:03}")

        await asyncio.gather(*(create(i) for i in range(n)))
        await eventually(lambda: rows(b), lambda found: found == n, within=300)
        tick = clock.before(HOUR, seconds=5)
        expected = {child_name(f"job-{i:03}", tick) for i in range(n)}
        await eventually(s.names, lambda names: names == expected, within=420)


async def rows(b: Bench) -> int:
    [(n,)] = await b.queue._db.fetch("select count(*) from agentjobs.schedule")
    return int(n)
