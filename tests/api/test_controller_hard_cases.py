"""H1 to H5 on a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from agentjobs.api.meta import MANAGED_BY
from agentjobs.controller.agentjob.input_reader import InputReader
from agentjobs.controller.agentjob.intake import Intake
from agentjobs.controller.agentjob.object_change import Gate
from agentjobs.controller.agentjob.status import minimal_status
from agentjobs.controller.agentjob.sweep import AgentJobSweep
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.listing import CHUNK
from agentjobs.controller.apiserver.refusals import Act
from agentjobs.controller.apiserver.resources import AGENT_JOBS
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.apiserver.writes import write_status
from agentjobs.controller.kit.sweep import Suspects, Sweep
from agentjobs.controller.metrics.counters import SWEEP_FOUND, Counters
from agentjobs.queue.kubernetes import KnownObject
from agentjobs.queue.records import AckKind, NewJob, ObjectRef, State
from clusters import Cluster
from operators import Bench, bench, eventually

GATE = Gate("test-cluster")


@pytest.fixture
async def b(cluster: Cluster, dsn: str) -> AsyncIterator[Bench]:
    async with bench(cluster, dsn) as made:
        yield made


async def seen(b: Bench, name: str, *, deleted: bool = False) -> WatchEvent:
    return WatchEvent(await b.objects.get(name), deleted)


async def take_in(b: Bench, *events: WatchEvent) -> Intake:
    """Intake alone, driven by hand: these events, then flushed."""
    intake = Intake(b.queue, GATE, Counters(), InputReader(ApiServer(None, Counters())))
    for event in events:
        intake.enqueue([event])
        await intake.flush()
    return intake


# H1 --------------------------------------------------------------------------------------------------


async def test_h1_a_finished_object_that_the_database_forgot_does_not_run_again(
    b: Bench, new_database: object
) -> None:
    async with b.running():
        worker = await b.worker()
        created = await b.objects.create("once")
        await worker.ack(await worker.one(), result="first")
        before = await b.objects.until("once", "Complete")
    with new_database() as empty:  # type: ignore[operator]
        async with bench(b.cluster, empty, b.objects.namespace) as fresh, fresh.running():
            worker = await fresh.worker()
            # another database is another installation: its administrator takes the object over
            await b.objects.patch("once", {"metadata": {"annotations": {MANAGED_BY: None}}})
            uid = UUID(created["metadata"]["uid"])
            view = await eventually(lambda: fresh.queue.show(uid))
            assert view.state is State.COMPLETE
            assert await worker.claim_ready() == []
            await fresh.queue.touch([uid])
            after = await eventually(
                lambda: fresh.objects.status("once"), lambda s: fresh.writes() > 0 or s != before
            )
    assert after.pop("revision") >= before.pop("revision")
    assert after == before


async def test_h1_a_tombstone_goes_when_the_sweeper_knows_that_the_object_is_gone(b: Bench) -> None:
    created = await b.objects.create("old")
    await take_in(b, await seen(b, "old"))
    uid = UUID(created["metadata"]["uid"])
    worker = await b.worker()
    await worker.ack(await worker.one())
    await b.objects.delete("old")
    await eventually(lambda: b.objects.exists("old"), lambda there: not there)
    await age(b)
    await sweeper(b).sweep()
    rows = await b.queue.known_objects(0, 10, GATE.cluster_id)
    assert [row.uid for row in rows] == []
    view = await b.queue.show(uid)
    assert view is not None
    assert view.state is State.COMPLETE


# H2 --------------------------------------------------------------------------------------------------


async def test_h2_a_status_never_lands_on_an_object_that_was_created_again(b: Bench) -> None:
    old = await b.objects.create("twin")
    await b.objects.delete("twin")
    await eventually(lambda: b.objects.exists("twin"), lambda there: not there)
    await b.objects.create("twin")
    ref = ObjectRef("c", b.objects.namespace, "twin")
    answer = await write_status(
        b.objects.api, ref, UUID(old["metadata"]["uid"]), {"state": "Complete", "revision": 1}, minimal_status
    )
    assert answer.act is Act.GONE
    assert await b.objects.status("twin") == {}


async def test_h2_the_answer_of_a_deleted_job_is_dropped_and_the_new_one_runs(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        first = await b.objects.create("twin")
        job = await worker.one()
        await b.objects.delete("twin")
        second = await b.objects.create("twin", {"message": "again"})
        assert str(job.uid) == first["metadata"]["uid"]
        await worker.ack(job, result="for nobody")
        again = await worker.one()
        assert str(again.uid) == second["metadata"]["uid"]
        await worker.ack(again, result="for the new one")
        status = await b.objects.until("twin", "Complete")
        assert status["result"] == "for the new one"
        await eventually(lambda: b.queue.outbox(10, 0), lambda rows: not rows)


async def test_h2_an_object_that_is_not_there_is_told_from_a_missing_definition(b: Bench) -> None:
    ref = ObjectRef("c", b.objects.namespace, "nobody")
    gone = await write_status(b.objects.api, ref, uuid4(), {"revision": 1}, minimal_status)
    assert gone.act is Act.GONE
    other = replace(AGENT_JOBS, plural="nosuchthings")
    missing = await write_status(b.objects.api, ref, uuid4(), {"revision": 1}, minimal_status, other)
    assert missing.act is Act.RETRY


# H3 --------------------------------------------------------------------------------------------------


async def test_h3_an_older_status_writer_cannot_overwrite_newer_status(b: Bench) -> None:
    made = await b.objects.create("job")
    uid, ref = UUID(made["metadata"]["uid"]), ObjectRef("c", b.objects.namespace, "job")
    api = b.objects.api
    assert (
        await write_status(api, ref, uid, {"state": "Complete", "revision": 10}, minimal_status)
    ).act is Act.DONE
    older = await write_status(api, ref, uid, {"state": "Running", "revision": 9}, minimal_status)
    assert older.act is Act.OLDER
    assert (await b.objects.status("job"))["state"] == "Complete"


async def test_h3_a_status_that_was_overwritten_by_hand_is_written_anew(b: Bench) -> None:
    """The database hands out a version above what the object shows; until then nothing is lost."""
    async with b.running():
        worker = await b.worker()
        made = await b.objects.create("job")
        job = await worker.one()
        first = await b.objects.until("job", "Running")
        await b.objects.patch(
            "job", {"status": {"revision": first["revision"] + 3, "state": "Odd"}}, "status"
        )
        await worker.ack(job)
        status = await b.objects.until("job", "Complete")
        assert status["revision"] >= first["revision"] + 3
        assert made["metadata"]["uid"] == str(job.uid)


# H4 --------------------------------------------------------------------------------------------------


async def test_h4_a_delete_that_arrives_before_the_create_wins(b: Bench) -> None:
    await b.objects.create("job")
    created = await seen(b, "job")
    intake = await take_in(b, replace(created, deleted=True))
    intake.enqueue([created])
    await intake.flush()
    worker = await b.worker()
    assert await worker.claim_ready() == []
    view = await b.queue.show(UUID(created.object["metadata"]["uid"]))
    assert view is not None
    assert view.state is State.CANCELLED


async def test_h4_an_old_generation_changes_nothing(b: Bench) -> None:
    await b.objects.create("job", {"priority": 5})
    old = await seen(b, "job")
    await b.objects.patch("job", {"spec": {"priority": 1, "suspend": True}})
    new = await seen(b, "job")
    intake = await take_in(b, new)
    intake.enqueue([old])
    await intake.flush()
    view = await b.queue.show(UUID(old.object["metadata"]["uid"]))
    assert view is not None
    assert (view.priority, view.state, view.generation) == (1, State.SUSPENDED, 2)


async def test_h4_a_cancel_of_an_unknown_object_leaves_a_cancelled_job(b: Bench) -> None:
    await b.objects.create("job", {"cancel": True})
    found = await seen(b, "job")
    await take_in(b, found)
    worker = await b.worker()
    assert await worker.claim_ready() == []
    view = await b.queue.show(UUID(found.object["metadata"]["uid"]))
    assert view is not None
    assert view.state is State.CANCELLED


async def test_h4_within_one_batch_a_delete_is_the_last_word(b: Bench) -> None:
    await b.objects.create("job")
    found = await seen(b, "job")
    intake = Intake(b.queue, GATE, Counters(), InputReader(ApiServer(None, Counters())))
    intake.enqueue([found, replace(found, deleted=True), found])
    await intake.flush()
    view = await b.queue.show(UUID(found.object["metadata"]["uid"]))
    assert view is not None
    assert view.state is State.CANCELLED


# H5 --------------------------------------------------------------------------------------------------


def sweeper(
    b: Bench,
    sink: Callable[[list[WatchEvent]], None] = lambda batch: None,
    *,
    chunk: int = CHUNK,
    **settings: Any,
) -> Sweep[KnownObject]:
    namespaces = frozenset({b.objects.namespace})
    adapter = AgentJobSweep(b.queue, b.objects.api, GATE.cluster_id, namespaces, **settings)
    return Sweep(adapter, b.objects.api, AGENT_JOBS, sink, namespaces, chunk=chunk)


async def enqueue_mirrored(b: Bench, n: int, **ref: str) -> list[UUID]:
    """Jobs whose objects do not exist, old enough to be missed."""
    jobs = [
        NewJob(
            uid=uuid4(), payload={"v": 1},
            ref=ObjectRef(ref.get("cluster_id", GATE.cluster_id), ref.get("namespace", b.objects.namespace), f"gone-{i}"),
        )
        for i in range(n)
    ]  # fmt: skip
    await b.queue.enqueue(jobs)
    await age(b)
    return [job.uid for job in jobs]


async def age(b: Bench) -> None:
    """An hour passes for every row (there is no clock to turn in the database)."""
    await b.queue._db.fetch(
        "update agentjobs.job set accepted_at = accepted_at - interval '1 hour' returning 1"
    )


async def states(b: Bench, uids: list[UUID]) -> set[State]:
    views = [await b.queue.show(uid) for uid in uids]
    return {view.state for view in views if view is not None}


async def test_h5_a_missed_delete_is_found_and_cancels_the_job(b: Bench) -> None:
    uids = await enqueue_mirrored(b, 3)
    await sweeper(b).sweep()
    assert await states(b, uids) == {State.CANCELLED}


async def test_h5_an_object_created_again_under_the_name_does_not_save_the_old_job(b: Bench) -> None:
    (uid,) = await enqueue_mirrored(b, 1)
    await b.objects.create("gone-0")
    await sweeper(b).sweep()
    assert await states(b, [uid]) == {State.CANCELLED}


async def test_h5_a_missed_create_is_taken_in(b: Bench) -> None:
    made = await b.objects.create("missed")
    intake = Intake(b.queue, GATE, Counters(), InputReader(ApiServer(None, Counters())))
    await sweeper(b, intake.enqueue).sweep()
    await intake.flush()
    worker = await b.worker()
    assert str((await worker.one()).uid) == made["metadata"]["uid"]


async def test_h5_a_missed_change_is_taken_in(b: Bench) -> None:
    made = await b.objects.create("job")
    intake = await take_in(b, await seen(b, "job"))
    await b.objects.patch("job", {"spec": {"suspend": True}})
    await sweeper(b, intake.enqueue).sweep()
    await intake.flush()
    assert await states(b, [UUID(made["metadata"]["uid"])]) == {State.SUSPENDED}


async def test_h5_jobs_of_another_cluster_are_left_alone(b: Bench) -> None:
    uids = await enqueue_mirrored(b, 2, cluster_id="another-cluster")
    await sweeper(b).sweep()
    assert await states(b, uids) == {State.QUEUED}


async def test_h5_jobs_of_namespaces_that_are_not_watched_are_left_alone(b: Bench) -> None:
    uids = await enqueue_mirrored(b, 2, namespace="elsewhere")
    await sweeper(b).sweep()
    assert await states(b, uids) == {State.QUEUED}


async def test_h5_jobs_younger_than_the_list_are_left_alone(b: Bench) -> None:
    job = NewJob(uid=uuid4(), payload={"v": 1}, ref=ObjectRef(GATE.cluster_id, b.objects.namespace, "fresh"))
    await b.queue.enqueue([job])
    await sweeper(b).sweep()
    assert await states(b, [job.uid]) == {State.QUEUED}


async def test_h5_more_than_20_and_more_than_half_at_once_stop_the_sweep(b: Bench) -> None:
    uids = await enqueue_mirrored(b, 21)
    found = sweeper(b)
    await found.sweep()
    assert await states(b, uids) == {State.QUEUED}
    assert found.api.meter.total(SWEEP_FOUND, kind="stopped") == 21
    await sweeper(b, mass_vanish_limit=100).sweep()
    assert await states(b, uids) == {State.CANCELLED}


async def test_h5_a_namespace_that_is_gone_takes_all_its_jobs_with_it(b: Bench) -> None:
    uids = await enqueue_mirrored(b, 21, namespace="no-such-namespace")
    adapter = AgentJobSweep(b.queue, b.objects.api, GATE.cluster_id)
    await Sweep(adapter, b.objects.api, AGENT_JOBS, lambda batch: None).sweep()
    assert await states(b, uids) == {State.CANCELLED}


async def test_h5_a_list_that_fails_concludes_nothing(b: Bench, caplog: pytest.LogCaptureFixture) -> None:
    uids = await enqueue_mirrored(b, 2)
    broken = replace_resource(sweeper(b))
    assert await broken.sweep() == Suspects()
    assert "LIST" in caplog.text
    assert await states(b, uids) == {State.QUEUED}


def replace_resource(found: Sweep[KnownObject]) -> Sweep[KnownObject]:
    found.resource = replace(found.resource, plural="nosuchthings")
    return found


async def test_h5_the_list_is_read_in_pages(b: Bench) -> None:
    names = [f"job-{i}" for i in range(5)]
    for name in names:
        await b.objects.create(name)
    taken: list[WatchEvent] = []
    await sweeper(b, taken.extend, chunk=2).sweep()
    assert sorted(found.object["metadata"]["name"] for found in taken) == names


async def test_h5_the_running_operator_heals_a_delete_that_was_missed(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        made = await b.objects.create("job")
        await worker.one()
    await b.objects.delete("job")
    await age(b)
    async with b.running():
        uid = UUID(made["metadata"]["uid"])

        async def asked() -> bool:
            return bool((await worker.beat()).controls)

        await eventually(asked)
        view = await b.queue.show(uid)
        assert view is not None
        assert view.control is not None


async def test_restored_objects_wait_until_somebody_wants_them(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("job", labels={"velero.io/restore-name": "nightly"})
        status = await b.objects.until("job", "Suspended")
        assert status["reason"] == "Restored"
        assert await worker.claim_ready() == []
        await b.objects.patch("job", {"metadata": {"labels": {"velero.io/restore-name": None}}})
        await worker.ack(await worker.one())
        await b.objects.until("job", "Complete")


async def test_restored_objects_run_after_suspend_was_set_and_taken_back(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("job", labels={"velero.io/restore-name": "nightly"})
        await b.objects.until("job", "Suspended")
        await b.objects.patch("job", {"spec": {"suspend": True}})
        await b.objects.patch("job", {"spec": {"suspend": False}})
        await worker.ack(await worker.one(), AckKind.FAIL, reason="AgentFailed", message="no")
        await b.objects.until("job", "Failed")
