"""Retention forgets what was said, never that a job has been (H1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, ChangeOutcome, ImportedEnd, ObjectChange, State
from queue_builders import CLUSTER, TestWorker, change, new_job, pass_time, shown, sql, whereabouts

WEEKS = 4 * 7 * 86400


async def finished_object(queue: Queue, worker: TestWorker, kind: AckKind = AckKind.COMPLETE) -> ObjectChange:
    seen = change()
    await queue.apply([seen])
    await worker.ack(await worker.one(), kind)
    return seen


async def age(queue: Queue, worker: TestWorker, dsn: str) -> int:
    await pass_time(dsn, WEEKS)
    return await queue.prune()


async def test_h1_a_pruned_job_is_not_run_again_by_its_object(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    seen = await finished_object(queue, worker)
    assert await age(queue, worker, dsn) == 1
    assert await whereabouts(dsn) == {"waiting": 0, "running": 0, "outcome": 0, "job": 1}

    assert (await queue.apply([seen]))[seen.uid].outcome is ChangeOutcome.UNCHANGED
    newer = change(uid=seen.uid, generation=2, priority=0)
    await queue.apply([newer])
    assert await queue.enqueue([newer.job]) == {seen.uid: False}  # type: ignore[list-item]
    await worker.claim(10)
    assert worker.held == []


async def test_h1_a_tombstone_keeps_uid_and_final_state_and_nothing_else(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    seen = await finished_object(queue, worker, AckKind.FAIL)
    await age(queue, worker, dsn)
    view = await shown(queue, seen)
    assert (view.state, view.payload, view.result, view.attempts_log) == (State.FAILED, None, None, ())
    assert await queue.outbox(10, 0) == [], "nothing is projected from a tombstone"
    assert await queue.touch([seen.uid]) == 0


async def test_h1_a_tombstone_goes_with_its_object(queue: Queue, worker: TestWorker, dsn: str) -> None:
    """As a watch tells of most that go; also where the object belongs to another installation from now on."""
    deleted, given_away = await finished_object(queue, worker), await finished_object(queue, worker)
    assert await age(queue, worker, dsn) == 2
    await queue.apply([change(uid=deleted.uid, gone=True)])
    assert await queue.release_objects([given_away.uid]) == 1
    assert (await whereabouts(dsn))["job"] == 0
    assert await queue.known_objects(0, 10, CLUSTER) == []


async def test_h1_a_tombstone_goes_when_its_object_is_confirmed_gone(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    seen = await finished_object(queue, worker)
    await age(queue, worker, dsn)
    (row,) = await queue.known_objects(0, 10, CLUSTER)
    assert (row.uid, row.final, row.trimmed) == (seen.uid, True, True)
    assert await queue.gone([seen.uid]) == 1
    assert (await whereabouts(dsn))["job"] == 0


async def test_h1_an_object_that_is_gone_first_leaves_nothing_at_retention(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    seen = await finished_object(queue, worker)
    assert await queue.gone([seen.uid]) == 1
    assert await queue.known_objects(0, 10, CLUSTER) == []
    assert (await shown(queue, seen)).state is State.COMPLETE, "the record stays until retention"
    await age(queue, worker, dsn)
    assert (await whereabouts(dsn))["job"] == 0


async def test_h1_a_job_without_an_object_goes_whole(queue: Queue, worker: TestWorker, dsn: str) -> None:
    await queue.enqueue([new_job()])
    await worker.ack(await worker.one(), AckKind.RETRY)
    await worker.ack(await worker.one())
    assert await age(queue, worker, dsn) == 1
    assert await sql(dsn, "select (select count(*) from job) + (select count(*) from attempt)") == [(0,)]


async def test_h1_an_object_that_had_finished_elsewhere_is_recorded_and_never_run(
    queue: Queue, worker: TestWorker
) -> None:
    """The database was restored, or is a new one: the object's status says how it ended."""
    status = {"state": "Complete", "result": "42", "revision": 7}
    end = ImportedEnd(State.COMPLETE, "Completed", "", datetime.now(UTC) - timedelta(days=1), status)
    seen = change(imported=end)
    assert (await queue.apply([seen]))[seen.uid].outcome is ChangeOutcome.INSERTED
    assert await worker.claim(10) == []
    view = await shown(queue, seen)
    assert (view.state, view.finished_at, view.imported_status) == (State.COMPLETE, end.finished_at, status)
    assert (await queue.apply([change(uid=seen.uid, generation=2)]))[
        seen.uid
    ].outcome is ChangeOutcome.CHANGED
    assert await worker.claim(10) == []


async def test_h1_retention_spares_what_is_younger_or_unfinished(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue([new_job() for _ in range(3)])
    old, _running = await worker.claim(2)
    await worker.ack(old)
    await pass_time(dsn, WEEKS)
    young = await worker.one()
    await worker.ack(young)
    assert await queue.prune() == 1
    assert await whereabouts(dsn) == {"waiting": 0, "running": 1, "outcome": 1, "job": 2}


async def test_h1_retention_runs_once_a_minute(queue: Queue, worker: TestWorker, dsn: str) -> None:
    await queue.enqueue([new_job(), new_job()])
    one, two = await worker.claim(2)
    await worker.ack(one)
    assert await age(queue, worker, dsn) == 1
    await worker.ack(two)
    await sql(dsn, "update outcome set finished_at = '2020-01-01'")
    assert await queue.prune() == 0
    await pass_time(dsn, 61)
    assert await queue.prune() == 1


async def test_h1_a_backlog_of_retention_goes_in_batches_of_a_transaction_each(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue([new_job() for _ in range(5)])
    for job in await worker.claim(5):
        await worker.ack(job)
    await pass_time(dsn, WEEKS)
    batch = "select retention('7 days', 2)"
    assert [(await sql(dsn, batch))[0][0] for _ in range(4)] == [2, 2, 1, 0]


async def test_h1_retention_does_not_wait_for_a_job_that_somebody_changes(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await finished_object(queue, worker)
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("select * from agentjobs.job for update")
        assert await age(queue, worker, dsn) == 0
    await pass_time(dsn, 61)
    assert await queue.prune() == 1


@pytest.mark.parametrize("control", ["cancel", "suspend", "resume"])
async def test_h1_nothing_that_people_ask_brings_a_tombstone_to_life(
    queue: Queue, worker: TestWorker, dsn: str, control: str
) -> None:
    seen = await finished_object(queue, worker, AckKind.FAIL)
    await age(queue, worker, dsn)
    assert await getattr(queue, control)(seen.uid) is None
    assert await queue.retry(seen.uid) is False
    answer = (await queue.apply([change(uid=seen.uid, retry_requested="now")]))[seen.uid]
    assert answer.outcome is ChangeOutcome.RETRY_REFUSED
    assert "retention" in answer.detail
    assert await worker.claim(10) == []
