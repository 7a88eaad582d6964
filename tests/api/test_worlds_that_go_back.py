"""etcd restored to a snapshot, the database restored, statuses edited by hand: what shows is made true, and what a user
asks of the object in front of him is done."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agentjobs.controller.apiserver.resources import SCHEDULED_AGENT_JOBS
from agentjobs.local.controlplane import ETCD, ControlPlane
from agentjobs.local.process import end
from agentjobs.queue.records import AckKind, JobView
from agentjobs.values.json import JsonObject
from clusters import Cluster, own_cluster
from operators import QUICK, Bench, HandWorker, bench, condition, eventually
from queue_builders import sql
from schedules import Schedules, TestClock

SWEPT = replace(QUICK, sweep=5.0, progress=4.0)
RETRY = "agentjobs.dev/retry-requested-at"


@pytest.fixture
def world(own_assets: Any) -> Iterator[Cluster]:
    """A control plane of this test alone."""
    with own_cluster(own_assets) as cluster:
        yield cluster


def stop(plane: ControlPlane) -> Path:
    plane.kill_apiserver()
    end(plane.processes[ETCD], signal.SIGTERM, 10)
    return plane.work_dir / "etcd"


def start(plane: ControlPlane) -> None:
    plane._run(ETCD, plane.assets.etcd, *plane._etcd_arguments())
    plane._start_apiserver()


def snapshot(plane: ControlPlane, to: Path) -> None:
    shutil.copytree(stop(plane), to)
    start(plane)


def restore(plane: ControlPlane, snapshot: Path) -> None:
    data = stop(plane)
    shutil.rmtree(data)
    shutil.copytree(snapshot, data)
    start(plane)


async def row(b: Bench, uid: str) -> JobView:
    found: JobView = await eventually(lambda: b.queue.show(UUID(uid)))
    return found


async def shows(b: Bench, name: str, **wanted: Any) -> JsonObject:
    found: JsonObject = await eventually(
        lambda: b.objects.status(name), lambda s: all(s.get(k) == v for k, v in wanted.items()), within=60
    )
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "restarted", [False, True], ids=["the operator runs through it", "it starts afterwards"]
)
async def test_invariant_20_etcd_goes_back_to_a_snapshot(
    world: Cluster, dsn: str, tmp_path: Path, restarted: bool
) -> None:
    plane = world.require_own()
    clock = TestClock()
    async with bench(world, dsn, intervals=SWEPT, clock=clock) as b:
        s = Schedules(b.objects.api, b.objects.namespace)
        worker = await b.worker(queues={"agents": 20, "scheduled": 20})
        uids: dict[str, str] = {}
        async with b.running():
            for name, spec in SPECS.items():
                uids[name] = (await b.objects.create(name, spec))["metadata"]["uid"]
            await s.create("held")
            await s.create("deleted")
            await before(b, worker)
            for name in ("held", "deleted"):
                await s.until(name, lambda st: bool(st.get("nextScheduleTime")))
            await eventually(lambda: b.queue.outbox(10, 0), lambda rows: not rows)
        await asyncio.to_thread(snapshot, plane, tmp_path / "snapshot")
        async with b.running():
            await lost(b, s, worker)
            if not restarted:
                await asyncio.to_thread(restore, plane, tmp_path / "snapshot")
                await after(b, s, worker, uids)
        if restarted:
            await asyncio.to_thread(restore, plane, tmp_path / "snapshot")
            async with b.running():
                await after(b, s, worker, uids)


LATER = {"delaySeconds": 3600}
SPECS: dict[str, JsonObject] = {
    "completes": {},
    "fails": {},
    "deleted": LATER,
    "deleted-while-suspended": {**LATER, "suspend": True},
    "resumed": {**LATER, "suspend": True},
    "edited": {**LATER, "priority": 5},
    "retried": {},
}


async def before(b: Bench, worker: HandWorker) -> None:
    """``retried`` has failed, two run, the others wait."""
    for job in await worker.claim(3):
        if job.payload["name"] == "retried":
            await worker.ack(job, AckKind.FAIL, reason="AgentFailed", message="no")
    states = {"completes": "Running", "fails": "Running", "retried": "Failed", "edited": "Scheduled"}
    for name, state in states.items():
        await b.objects.until(name, state)


async def lost(b: Bench, s: Schedules, worker: HandWorker) -> None:
    """What happens between the snapshot and its restore."""
    for job in list(worker._held):
        if job.payload["name"] == "completes":
            await worker.ack(job)
        else:
            await worker.ack(job, AckKind.FAIL, reason="AgentFailed", message="no")
    await b.objects.delete("deleted")
    await b.objects.delete("deleted-while-suspended")
    await b.objects.patch("resumed", {"spec": {"suspend": False}})
    for n in (6, 7, 8):
        await b.objects.patch("edited", {"spec": {"priority": n}})
    await b.objects.patch("retried", {"metadata": {"annotations": {RETRY: "lost"}}})
    await b.objects.create("made", LATER)
    await s.patch("held", {"spec": {"suspend": True}})
    await s.patch("held", {"spec": {"startingDeadlineSeconds": 100}})
    await s.delete("deleted")
    await b.objects.until("completes", "Complete")
    await b.objects.until("fails", "Failed")
    await b.objects.until("retried", "Queued")
    await b.objects.until("resumed", "Scheduled")
    await b.objects.until("made", "Scheduled")
    await s.until("held", lambda st: (condition(st, "Suspended") or {}).get("status") == "True")
    assert (await eventually(lambda: b.queue.outbox(10, 0), lambda rows: not rows)) == []


async def after(b: Bench, s: Schedules, worker: HandWorker, uids: dict[str, str]) -> None:
    restored = await eventually(lambda: b.objects.status("completes"))
    assert restored["state"] in ("Running", "Complete"), "restored"
    await shows(b, "completes", state="Complete", result="the answer")
    await shows(b, "fails", state="Failed")
    # what is there again is wanted again
    await shows(b, "deleted", state="Scheduled")
    await eventually(lambda: row(b, uids["deleted"]), lambda view: view.state == "Scheduled")
    await eventually(
        lambda: row(b, uids["deleted-while-suspended"]), lambda view: view.state == "Suspended", 60
    )
    await shows(b, "resumed", state="Suspended")
    await eventually(lambda: row(b, uids["edited"]), lambda view: view.priority == 5, 60)
    # what the database did meanwhile is not undone, and shows
    await shows(b, "retried", state="Queued", round=2)
    assert not await b.objects.exists("made")
    counted = await eventually(b.queue.counts, lambda c: True)
    assert counted
    await s.until("held", lambda st: (condition(st, "Suspended") or {}).get("status") != "True", 60)
    await s.until("deleted", lambda st: bool(st.get("nextScheduleTime")), 60)
    # edits of restored objects are done at once, whatever their versions
    await b.objects.patch("edited", {"spec": {"priority": 7}})
    await eventually(lambda: row(b, uids["edited"]), lambda view: view.priority == 7, 60)
    await b.objects.patch("resumed", {"spec": {"suspend": False}})
    await shows(b, "resumed", state="Scheduled")
    await b.objects.patch("fails", {"metadata": {"annotations": {RETRY: "now"}}})
    await shows(b, "fails", state="Queued", round=2)
    await s.patch("deleted", {"spec": {"suspend": True}})
    await s.until("deleted", lambda st: (condition(st, "Suspended") or {}).get("status") == "True")


EDITS: dict[str, JsonObject] = {
    "state": {"state": "Failed"},
    "state-of-none": {"state": "Bogus", "reason": "Bogus"},
    "revision": {"revision": 2**63 - 1},
    "revision-ahead": {"revision": 10**9},
    "completion": {"completionTime": "9999-12-31T23:59:59Z"},
    "result": {"result": "forged"},
    "conditions": {"conditions": None},
    "usage": {"usage": {"totalTokens": 1}},
    "observed": {"observedGeneration": 77},
    "message": {"message": "all is well"},
    "all": {
        "state": "Complete",
        "result": "forged",
        "revision": 2**63 - 1,
        "completionTime": "9999-12-31T23:59:59Z",
    },
}


@pytest.mark.timeout(400)
async def test_invariant_20_a_status_that_is_edited_by_hand_is_put_right(b: Bench) -> None:
    places = ("complete", "waiting", "running")
    names = [f"{place}-{edit}" for place in places for edit in EDITS]
    wrong: dict[str, JsonObject] = {}
    async with b.running(intervals=SWEPT):
        worker = await b.worker(queues={"agents": 100})
        for name in names:
            later = {"delaySeconds": 3600} if name.startswith("waiting") else {}
            await b.objects.create(name, {"ttlSecondsAfterFinished": 86_400, **later})
        for job in await worker.claim(2 * len(EDITS)):
            if job.payload["name"].startswith("complete"):
                await worker.ack(job)
        states = {"complete": "Complete", "waiting": "Scheduled", "running": "Running"}
        was = {name: await b.objects.until(name, states[name.partition("-")[0]]) for name in names}
        for name in names:
            await b.objects.patch(name, {"status": EDITS[name.partition("-")[2]]}, subresource="status")

        def plain(status: JsonObject) -> JsonObject:
            return {k: v for k, v in status.items() if k != "revision"}

        async def unmended() -> dict[str, JsonObject]:
            found = {name: await b.objects.status(name) for name in names}
            return {n: f for n, f in found.items() if plain(f) != plain(was[n]) or f["revision"] >= 2**62}

        try:
            await eventually(unmended, lambda left: not left, within=120)
        except pytest.fail.Exception:
            wrong = await unmended()
        told = {
            n: {k: (was[n].get(k), f.get(k)) for k in was[n].keys() | f.keys() if was[n].get(k) != f.get(k)}
            for n, f in wrong.items()
        }
        assert not wrong, f"{len(wrong)} of {len(names)}: {told}"


async def test_invariant_20_a_schedules_status_that_is_edited_by_hand_is_put_right(
    b: Bench, s: Schedules
) -> None:
    edits: dict[str, JsonObject] = {
        "revision": {"revision": 2**63 - 1},
        "next": {"nextScheduleTime": "2031-01-01T00:00:00Z"},
        "conditions": {"conditions": None},
        "count": {"activeCount": 7},
    }
    async with b.running():
        for name in edits:
            await s.create(name, {"schedule": "@yearly"})  # no tick changes what is compared
        was = {name: await s.until(name, lambda st: bool(st.get("nextScheduleTime"))) for name in edits}
        for name, edit in edits.items():
            reply = await b.objects.api.request(
                "PATCH",
                SCHEDULED_AGENT_JOBS.object(b.objects.namespace, name, "status"),
                resource="test",
                body={"status": edit},
                content_type="application/merge-patch+json",
            )
            assert reply.ok, reply
        for name in edits:
            await s.until(
                name,
                lambda st, name=name: (
                    {**st, "revision": 0} == {**was[name], "revision": 0} and st["revision"] < 2**62
                ),
            )


async def test_invariant_20_ends_that_a_restored_database_has_lost_are_taken_from_the_objects(
    b: Bench, dsn: str
) -> None:
    names = ("ended", "ran-at-the-backup", "runs-on")
    async with b.running():
        worker = await b.worker()
        for name in names:
            await b.objects.create(name)
        jobs = {job.payload["name"]: job for job in await worker.claim(3)}
        for name in ("ended", "runs-on"):
            await worker.ack(jobs[name], AckKind.RELEASE)
        backup = await saved(dsn)
        jobs |= {job.payload["name"]: job for job in await worker.claim(2)}
        ends = names[:2]
        for name in ends:
            await worker.ack(jobs[name])
        was = {name: await b.objects.until(name, "Complete") for name in ends}
        await b.objects.until("runs-on", "Running")
    await put_back(dsn, backup)
    async with b.running():
        await shows(b, "runs-on", state="Queued")
        for name in ends:
            uid = (await b.objects.get(name))["metadata"]["uid"]
            await eventually(partial(row, b, uid), lambda view: view.state == "Complete")
        assert [job.payload["name"] for job in await (await b.worker()).claim(1)] == ["runs-on"]
        for name, status in was.items():
            assert {**await b.objects.status(name), "revision": 0} == {**status, "revision": 0}


TABLES = ("job", "waiting", "running", "outcome", "attempt", "outbox")


async def saved(dsn: str) -> dict[str, Any]:
    """A backup: the rows, and where the sequences stood."""
    rows = {t: await sql(dsn, f"select coalesce(json_agg(x), '[]')::text from {t} x") for t in TABLES}
    return {t: found[0][0] for t, found in rows.items()} | {
        "revision": (await sql(dsn, "select last_value from outbox_version"))[0][0]
    }


async def put_back(dsn: str, backup: dict[str, Any]) -> None:
    for table in TABLES:
        await sql(dsn, f"delete from {table}")
        await sql(
            dsn,
            f"insert into {table} select * from json_populate_recordset(null::{table}, %s::json)",
            backup[table],
        )
    await sql(dsn, "select setval('outbox_version', %s)", backup["revision"])
    await sql(dsn, "delete from worker")
