"""A ScheduledAgentJob on a real API server: what people see of it, from the first tick to the history limits."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from agentjobs.api.meta import format_time, parse_time
from agentjobs.controller.scheduledagentjob.parsed_schedule import edited_at
from agentjobs.queue.records import AckKind
from clusters import Cluster
from operators import Bench, condition, eventually, serving
from schedules import HOUR, MINUTE, Schedules, TestClock, child_name

pytestmark = pytest.mark.timeout(400)

WEEK = timedelta(days=7)


async def test_a_tick_creates_a_child_that_says_where_it_comes_from(
    b: Bench, s: Schedules, clock: TestClock
) -> None:
    async with b.running():
        spec: dict[str, Any] = {
            "schedule": "0 * * * *",
            "timeZone": "Europe/Berlin",
            "job": {"message": "It is $(SCHEDULED_TIME); before: $(LAST_SUCCESSFUL_TIME), $$(HOME)"},
        }
        spec["jobTemplate"] = {
            "metadata": {"labels": {"team": "x"}, "annotations": {"example.com/a": "b"}},
            "spec": {"agent": {"module": "agents.hello"}, **spec.pop("job")},
        }
        tick = clock.before(HOUR)
        made = await s.create("brief", spec, labels={"own": "label"})
        name = child_name("brief", tick)
        await eventually(lambda: s.names("brief"), lambda names: names == {name})
        child = (await s.jobs())[name]
        meta = child["metadata"]
        assert meta["labels"] == {"team": "x", "agentjobs.dev/schedule": "brief"}
        assert meta["annotations"] == {
            "example.com/a": "b",
            "agentjobs.dev/scheduled-time": format_time(tick),
        }
        [owner] = meta["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == (
            "ScheduledAgentJob", "brief", made["metadata"]["uid"],
        )  # fmt: skip
        assert owner["controller"] is True
        assert child["spec"]["queue"] == "scheduled"
        assert child["spec"]["priority"] == 0
        berlin = f"{tick.astimezone():%Y}"
        assert child["spec"]["message"].startswith(f"It is {berlin}")
        assert child["spec"]["message"].endswith("; before: never, $(HOME)")
        status = await s.until("brief", lambda found: found.get("activeCount") == 1)
        assert status["lastScheduleTime"] == format_time(tick)
        assert parse_time(status["nextScheduleTime"]) == tick + HOUR
        assert status["active"] == [{"name": name, "uid": meta["uid"]}]
        accepted = condition(status, "Accepted")
        assert accepted is not None
        assert accepted["status"] == "True"


async def test_the_end_of_a_child_is_told_and_dates_the_next_message(
    b: Bench, s: Schedules, clock: TestClock
) -> None:
    async with b.running():
        worker = await b.worker(queues={"scheduled": 5})
        async with serving(worker):
            first = clock.before(HOUR)
            await s.create("brief", {"job": {"message": "since $(LAST_SUCCESSFUL_TIME)"}})
            status = await s.until("brief", lambda found: found.get("lastResult") == "Complete")
            assert status["activeCount"] == 0
            assert "active" not in status
            ended = status["lastSuccessfulTime"]
            second = clock.before(HOUR)
            await eventually(lambda: s.names("brief"), lambda names: len(names) == 2)
            events = await eventually(
                lambda: s.events("brief"),
                lambda found: (
                    [len(found.get(why, ())) for why in ("SuccessfulCreate", "SawCompletedJob")] == [2, 2]
                ),
            )
        jobs = await s.jobs("brief")
        assert set(jobs) == {child_name("brief", first), child_name("brief", second)}
        assert jobs[child_name("brief", second)]["spec"]["message"] == f"since {ended}"
        assert f"Created {child_name('brief', first)} for {format_time(first)}" in events["SuccessfulCreate"]
        assert any(
            m.startswith(f"{child_name('brief', first)}: Complete after ") for m in events["SawCompletedJob"]
        )


async def test_people_see_schedules_in_columns(
    b: Bench, s: Schedules, clock: TestClock, cluster: Cluster
) -> None:
    async with b.running():
        clock.before(HOUR)
        await s.create("brief", {"timeZone": "Europe/Berlin"})
        await s.until("brief", lambda found: found.get("activeCount") == 1)
    short = await asyncio.to_thread(cluster.kubectl, "get", "saj", "-n", s.namespace)
    assert short.splitlines()[0].split() == [
        "NAME",
        "SCHEDULE",
        "TIMEZONE",
        "SUSPEND",
        "ACCEPTED",
        "REASON",
        "ACTIVE",
        "LAST",
        "NEXT",
        "AGE",
    ]
    assert short.splitlines()[1].split()[:7] == [
        "brief", "@hourly", "Europe/Berlin", "false", "True", "Accepted", "1",
    ]  # fmt: skip
    wide = await asyncio.to_thread(cluster.kubectl, "get", "saj", "-n", s.namespace, "-o", "wide")
    assert wide.splitlines()[0].split()[-2:] == ["LAST-RESULT", "MISSED"]


def _has(reason: str, events: dict[str, list[str]]) -> bool:
    return reason in events


async def test_an_unreadable_schedule_is_told_and_harms_no_other(
    b: Bench, s: Schedules, clock: TestClock, cluster: Cluster
) -> None:
    async with b.running():
        tick = clock.before(HOUR, seconds=4)
        await s.create("zone", {"timeZone": "Europe/Berlinn"})
        await s.create("fields", {"schedule": "0 0 31 2 *"})
        await s.create("good")
        for name, reason, said in (
            ("zone", "UnknownTimeZone", "Europe/Berlinn"),
            ("fields", "UnparseableSchedule", "never due"),
        ):
            found = condition(await s.accepted(name), "Accepted")
            assert found is not None
            assert (found["status"], found["reason"]) == ("False", reason)
            assert said in found["message"]
            assert "nextScheduleTime" not in await s.status(name)
            shown = await asyncio.to_thread(cluster.kubectl, "get", "saj", name, "-n", s.namespace)
            assert f" False      {reason} " in shown, "the columns ACCEPTED and REASON"
            events = await eventually(partial(s.events, name), partial(_has, reason))
            assert said in events[reason][0]
        await eventually(s.names, lambda names: names == {child_name("good", tick)})
        await s.patch("zone", {"spec": {"timeZone": "UTC"}})
        await s.until("zone", lambda found: found.get("nextScheduleTime") is not None)
        tick = clock.before(HOUR)
        await eventually(lambda: s.names("zone"), lambda names: names == {child_name("zone", tick)})
        assert await s.names("fields") == set()


async def test_an_edit_takes_effect_at_once(b: Bench, s: Schedules, clock: TestClock) -> None:
    async with b.running():
        tick = clock.before(HOUR, seconds=1800)
        await s.create("job", {"schedule": "0 0 1 1 *"})
        await s.accepted("job")
        await s.patch("job", {"spec": {"schedule": "0 * * * *"}})
        # the edit counts from when it was seen: on a busy machine that may be seconds later
        await s.until("job", lambda found: found["nextScheduleTime"] == format_time(tick))
        assert clock.before(HOUR) == tick
        await eventually(lambda: s.names("job"), lambda names: names == {child_name("job", tick)})


async def test_unsuspending_after_a_week_fires_nothing_of_the_week(
    b: Bench, s: Schedules, clock: TestClock
) -> None:
    async with b.running():
        tick = clock.before(HOUR)
        await s.create("job")
        await eventually(lambda: s.names("job"), lambda names: names == {child_name("job", tick)})
        await s.patch("job", {"spec": {"suspend": True}})
        status = await s.until("job", lambda found: condition(found, "Suspended") is not None)
        assert "nextScheduleTime" not in status
        clock.advance(WEEK)
        await s.patch("job", {"spec": {"suspend": False}})
        await s.until("job", lambda found: found.get("nextScheduleTime") is not None)
        assert len(await s.names("job")) == 1
        assert "missedRuns" not in await s.status("job")
        resumed = condition(await s.status("job"), "Suspended")
        assert resumed is not None
        assert (resumed["status"], resumed["reason"]) == ("False", "Resumed")
        tick = clock.before(HOUR)
        await eventually(lambda: s.names("job"), lambda names: child_name("job", tick) in names)
        assert len(await s.names("job")) == 2


async def test_a_week_of_downtime_gives_one_child_or_none_and_the_rest_is_counted(
    b: Bench, s: Schedules, clock: TestClock
) -> None:
    async with b.running():
        tick = clock.before(HOUR)
        for name, policy in (("latest", "Latest"), ("skip", "Skip")):
            await s.create(name, {"missedRunPolicy": policy})
        first = {child_name("latest", tick), child_name("skip", tick)}
        await eventually(s.names, lambda names: names == first)
        await s.until("skip", lambda found: found.get("activeCount") == 1)
    clock.set(tick + WEEK + 5 * MINUTE)
    async with b.running():
        latest = await s.until("latest", lambda found: found.get("missedRuns") is not None)
        skip = await s.until("skip", lambda found: found.get("missedRuns") is not None)
        assert (latest["missedRuns"], skip["missedRuns"]) == (167, 168)
        assert latest["lastScheduleTime"] == skip["lastScheduleTime"] == format_time(tick + WEEK)
        await eventually(s.names, lambda names: names == {*first, child_name("latest", tick + WEEK)})
        events = await eventually(lambda: s.events("latest"), lambda found: "MissSchedule" in found)
        assert f"167 ticks up to {format_time(tick + WEEK - HOUR)} were missed" in events["MissSchedule"]


async def test_an_edit_while_no_operator_ran_begins_anew_at_the_edit(
    b: Bench, s: Schedules, clock: TestClock
) -> None:
    """When nobody watched, the object's managed fields say when it was edited."""
    async with b.running():
        clock.before(HOUR, seconds=1800)
        await s.create("job", {"schedule": "0 0 1 1 *"})
        await s.accepted("job")
    edited = edited_at((await s.patch("job", {"spec": {"schedule": "0 * * * *"}}))["metadata"])
    assert edited is not None
    clock.set(edited.replace(minute=0, second=0, microsecond=0) + 3 * HOUR + timedelta(seconds=5))
    async with b.running():
        status = await s.until("job", lambda found: found.get("lastScheduleTime") is not None)
        # the tick before the edit belonged to the other schedule; of the three since then the last one is created
        last = parse_time(status["lastScheduleTime"])
        assert status["missedRuns"] == 2
        assert last - 2 * HOUR > edited


async def test_run_now_creates_one_child_per_value_also_while_suspended(
    b: Bench, s: Schedules, clock: TestClock
) -> None:
    async with b.running():
        clock.before(HOUR, seconds=1800)
        await s.create("job", {"suspend": True, "concurrencyPolicy": "Forbid"})
        await s.accepted("job")
        ask = {"metadata": {"annotations": {"agentjobs.dev/run-requested-at": "2026-11-25T10:00:00Z"}}}
        await s.patch("job", ask)
        [name] = await eventually(lambda: s.names("job"), bool)
        assert name == "job-manual-1795600800"
        await s.patch("job", {"metadata": {"labels": {"a": "b"}}})
        ask["metadata"]["annotations"]["agentjobs.dev/run-requested-at"] = "2026-11-25T11:00:00Z"
        await s.patch("job", ask)
        names = await eventually(lambda: s.names("job"), lambda found: len(found) > 1)
        assert names == {"job-manual-1795600800", "job-manual-1795604400"}
        status = await s.until("job", lambda found: found.get("activeCount") == 2)
        assert "lastScheduleTime" not in status
    async with b.running():  # a new operator knows that they were handled
        await s.until("job", lambda found: found.get("activeCount") == 2)
        await b.objects.create("later")
        await b.objects.until("later", "Queued")
        assert len(await s.names("job")) == 2


async def test_a_one_shot_fires_once_and_is_finished(b: Bench, s: Schedules, clock: TestClock) -> None:
    async with b.running():
        worker = await b.worker(queues={"scheduled": 5})
        tick = clock.before(MINUTE, seconds=2)
        await s.create("once", {"scheduledTime": format_time(tick)})
        await eventually(lambda: s.names("once"), lambda names: names == {child_name("once", tick)})
        async with serving(worker):
            status = await s.until("once", lambda found: condition(found, "Finished") is not None)
        finished = condition(status, "Finished")
        assert finished is not None
        assert (finished["status"], finished["reason"]) == ("True", "OneShotFired")
        assert "nextScheduleTime" not in status
        late = {"scheduledTime": format_time(tick - HOUR), "startingDeadlineSeconds": 60}
        await s.create("late", late)
        status = await s.until("late", lambda found: condition(found, "Finished") is not None)
        finished = condition(status, "Finished")
        assert finished is not None
        assert finished["reason"] == "OneShotMissed"
        assert status["missedRuns"] == 1
        assert await s.names("late") == set()


@pytest.mark.parametrize("policy", ["Forbid", "Replace"])
async def test_a_tick_while_a_child_is_unfinished_follows_the_policy(
    b: Bench, s: Schedules, clock: TestClock, policy: str
) -> None:
    async with b.running():
        worker = await b.worker(queues={"scheduled": 5})
        first = child_name("slow", clock.before(HOUR))
        await s.create("slow", {"concurrencyPolicy": policy})
        job = await worker.one()
        second = child_name("slow", clock.before(HOUR))
        if policy == "Forbid":
            events = await eventually(lambda: s.events("slow"), lambda found: "JobAlreadyActive" in found)
            assert first in events["JobAlreadyActive"][0]
            assert await s.names("slow") == {first}
            await worker.ack(job)
            await eventually(lambda: s.names("slow"), lambda names: names == {first, second})
            return
        await eventually(lambda: s.names("slow"), lambda names: names == {first, second})
        assert (await s.jobs("slow"))[first]["spec"]["cancel"] is True
        await eventually(worker.beat, lambda beat: bool(beat.controls))
        await worker.ack(job, AckKind.CANCEL)
        await b.objects.until(first, "Cancelled")
        events = await eventually(lambda: s.events("slow"), lambda f: len(f.get("SuccessfulCreate", ())) == 2)
        assert any(f"it replaces {first}" in message for message in events["SuccessfulCreate"])


async def test_history_limits_delete_the_oldest_by_outcome(b: Bench, s: Schedules, clock: TestClock) -> None:
    async with b.running():
        worker = await b.worker(queues={"scheduled": 5})
        clock.before(HOUR)
        limits = {"successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 1}
        await s.create("job", limits)
        ends = [AckKind.COMPLETE, AckKind.FAIL, AckKind.COMPLETE, AckKind.FAIL, AckKind.COMPLETE]
        ticks = []
        for end in ends:
            job = await worker.one()
            ticks.append(job.payload["name"])
            await worker.ack(job, end, **({} if end is AckKind.COMPLETE else {"reason": "AgentFailed"}))
            await b.objects.until(job.payload["name"], "Complete" if end is AckKind.COMPLETE else "Failed")
            clock.before(HOUR)
        last = await worker.one()
        kept = {ticks[2], ticks[3], ticks[4], last.payload["name"]}
        await eventually(lambda: s.names("job"), lambda names: names == kept)
        await s.patch("job", {"spec": {"successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 0}})
        await eventually(lambda: s.names("job"), lambda names: names == {last.payload["name"]})


async def test_children_of_a_deleted_schedule_go_by_garbage_collection(
    b: Bench, s: Schedules, clock: TestClock, cluster: Cluster
) -> None:
    if cluster.own is not None and cluster.own.assets.controller_manager is None:
        pytest.skip("without kube-controller-manager nothing collects garbage")
    async with b.running():
        clock.before(HOUR)
        await s.create("job")
        await eventually(lambda: s.names("job"), bool)
        await s.delete("job")
        await eventually(s.names, lambda names: not names, within=120)
        clock.advance(timedelta(hours=2))
        await s.create("other", {"schedule": "@yearly"})
        await s.accepted("other")
        assert await s.names() == set()


async def test_invariant_11_a_wiped_status_of_a_schedule_is_rebuilt(
    b: Bench, s: Schedules, clock: TestClock
) -> None:
    async with b.running():
        worker = await b.worker(queues={"scheduled": 5})
        async with serving(worker):
            clock.before(HOUR)
            await s.create("job")
            before = await s.until("job", lambda found: found.get("lastResult") == "Complete")
        await s.wipe_status("job")
        after = await s.until("job", lambda found: found.get("lastResult") == "Complete")
    assert {**after, "revision": 0} == {**before, "revision": 0}


async def test_invariant_10_a_schedule_that_waits_costs_no_writes(b: Bench, s: Schedules) -> None:
    async with b.running():
        await s.create("job", {"schedule": "@yearly"})
        await s.accepted("job")
    version = (await s.get("job"))["metadata"]["resourceVersion"]
    async with b.running():
        await b.objects.create("other")
        await b.objects.until("other", "Queued")
        await s.create("second")
        await s.accepted("second")
    assert (await s.get("job"))["metadata"]["resourceVersion"] == version
