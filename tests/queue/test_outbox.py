"""The set of objects whose status is stale: never lost, never too many (H3, invariants 10 and 11)."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, OutboxEntry, Progress
from agentjobs.values.usage import Usage
from queue_builders import TestWorker, change, mirrored_job, new_job, pass_time, shown, sql


async def stale(queue: Queue) -> list[OutboxEntry]:
    return await queue.outbox(100, 0)


async def write_all(queue: Queue) -> list[OutboxEntry]:
    """A status writer that has written everything."""
    entries = await stale(queue)
    assert await queue.projected([(e.job.id, e.version, e.job.run) for e in entries]) == []
    return entries


async def test_invariant_10_a_job_without_an_object_is_never_projected(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([new_job(), new_job(suspend=True)])
    await worker.ack(await worker.one())
    assert await stale(queue) == []


async def test_invariant_10_final_states_go_at_once_and_the_others_are_coalesced(
    queue: Queue, worker: TestWorker
) -> None:
    quick, waiting = mirrored_job("quick"), mirrored_job("waiting")
    await queue.enqueue([quick, waiting])
    assert await queue.outbox(100, 60) == []
    await worker.ack(await worker.one())
    (entry,) = await queue.outbox(100, 60)
    assert (entry.job.uid, entry.job.state) == (quick.uid, "Complete"), (
        "one write for a job that ends at once"
    )


async def test_invariant_10_a_projected_job_is_not_stale_until_it_changes(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([mirrored_job()])
    await write_all(queue)
    assert await stale(queue) == []
    await queue.tick(worker.id)
    await queue.explain()
    assert await stale(queue) == []


@pytest.mark.parametrize(
    "what",
    [
        "claim",
        "ack",
        "retry",
        "cancel",
        "suspend",
        "resume",
        "priority",
        "max",
        "promote",
        "rescue",
        "deadline",
        "control",
        "retry finished",
        "generation",
    ],
)
async def test_invariant_11_every_change_that_users_see_marks_the_object_stale(
    queue: Queue, worker: TestWorker, dsn: str, what: str
) -> None:
    seen = change(active_deadline_seconds=60)
    await queue.apply([seen])
    if what not in ("claim", "cancel", "suspend", "resume", "priority", "max", "generation"):
        await worker.one()
    if what in ("promote", "deadline"):
        await worker.ack(worker.held[0], AckKind.RETRY, delay_seconds=30)
    if what == "retry finished":
        await worker.ack(worker.held[0], AckKind.FAIL)
    if what == "resume":
        await queue.suspend(seen.uid)
    before = await shown(queue, seen)
    await write_all(queue)
    match what:
        case "claim":
            await worker.one()
        case "ack":
            await worker.ack(worker.held[0])
        case "retry":
            await worker.ack(worker.held[0], AckKind.RETRY)
        case "cancel":
            await queue.cancel(seen.uid)
        case "suspend":
            await queue.suspend(seen.uid)
        case "resume":
            await queue.resume(seen.uid)
        case "priority":
            await queue.reprioritise(seen.uid, 0)
        case "max":
            await queue.set_max_attempts(seen.uid, 9)
        case "promote" | "deadline":
            await pass_time(dsn, 31 if what == "promote" else 61)
            await queue.tick(worker.id)
        case "rescue":
            judge = await TestWorker(queue).register()
            await sql(
                dsn, "update worker set steady_since = steady_since - interval '1 h' where id = %s", judge.id
            )
            await queue.unregister(worker.id)
            await queue.tick(judge.id)
        case "control":
            await queue.cancel(seen.uid)
            await worker.ack(worker.held[0], AckKind.RELEASE)
        case "retry finished":
            await queue.retry(seen.uid)
        case _:
            await queue.apply([change(uid=seen.uid, generation=2, active_deadline_seconds=60)])
    assert await shown(queue, seen) != before
    (entry,) = await stale(queue)
    assert entry.job.uid == seen.uid


async def test_h3_versions_only_rise(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([mirrored_job()])
    versions = []
    for kind in (AckKind.RETRY, AckKind.RETRY, AckKind.COMPLETE):
        versions += [e.version for e in await stale(queue)]
        claimed = await worker.one()
        versions += [e.version for e in await stale(queue)]
        await worker.ack(claimed, kind)
    assert versions == sorted(set(versions))


async def test_h3_only_the_version_that_was_written_is_removed(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([mirrored_job()])
    (read,) = await stale(queue)
    await worker.one()
    assert await queue.projected([(read.job.id, read.version, 0)]) == [read.job.id]
    (still,) = await stale(queue)
    assert still.version > read.version


async def test_h3_a_projection_whose_row_somebody_else_removed_is_marked_again(queue: Queue) -> None:
    """Two status writers: the one that wrote last may have written the older status."""
    await queue.enqueue([mirrored_job()])
    (read,) = await stale(queue)
    done = [(read.job.id, read.version, 0)]
    assert await queue.projected(done) == []
    assert await queue.projected(done) == [read.job.id]
    (again,) = await stale(queue)
    assert again.version > read.version


async def test_h3_a_row_that_an_ack_holds_is_left_and_stays_stale(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue([mirrored_job()])
    (read,) = await stale(queue)
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("select agentjobs.touch(array[%s::bigint])", (read.job.id,))
        async with asyncio.timeout(60):
            assert await queue.projected([(read.job.id, read.version, 0)]) == [read.job.id]
        await conn.commit()
    assert len(await stale(queue)) == 1


async def test_invariant_11_a_wiped_status_is_rebuilt_identically(queue: Queue, worker: TestWorker) -> None:
    seen = change()
    await queue.apply([seen])
    await worker.ack(await worker.one(), usage=Usage(1, 2, 3, 4, 5))
    (first,) = await write_all(queue)
    assert await queue.touch([seen.uid]) == 1
    (second,) = await stale(queue)
    assert second.version > first.version
    assert second.job == type(second.job)(
        **{f: getattr(first.job, f) for f in first.job.__dataclass_fields__ if f != "posted_run"}
    )


async def test_posted_runs_only_rise(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([mirrored_job()])
    await worker.ack(await worker.one(), AckKind.RETRY)
    await write_all(queue)
    await worker.ack(await worker.one())
    (entry,) = await stale(queue)
    assert entry.posted_run == 1
    await queue.projected([(entry.job.id, entry.version, 0)])
    await queue.touch([entry.job.uid])
    assert [e.posted_run for e in await stale(queue)] == [1]


async def test_the_outbox_brings_the_newest_runs_and_no_log_tails(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([mirrored_job(max_attempts=9)])
    for _ in range(6):
        await worker.ack(await worker.one(), AckKind.RETRY, log_tail="secret")
    (entry,) = await stale(queue)
    assert [a.run for a in entry.job.attempts_log] == [3, 4, 5, 6]
    assert {a.log_tail for a in entry.job.attempts_log} == {""}


async def test_the_outbox_and_the_audit_bring_the_end_of_what_was_printed_where_it_is_shown(
    queue: Queue, worker: TestWorker
) -> None:
    job = mirrored_job(max_attempts=2)
    await queue.enqueue([job])
    await worker.ack(await worker.one(), AckKind.RETRY, log_tail="short")
    await worker.ack(await worker.one(), AckKind.RETRY, log_tail="x" * 60_000 + "ä" * 1024)
    (entry,) = await queue.outbox(100, 0, output=True)
    tails = [a.log_tail for a in entry.job.attempts_log]
    assert tails == ["short", "x" + "ä" * 1024], "one character more than is shown, so that a cut is seen"
    _, ((_, audited),) = await queue.projections([job.uid], output=True)
    assert [a.log_tail for a in audited.attempts_log] == tails
    _, ((_, without),) = await queue.projections([job.uid])
    assert {a.log_tail for a in without.attempts_log} == {""}


async def test_excluded_jobs_and_limits_are_respected(queue: Queue) -> None:
    await queue.enqueue([mirrored_job(str(n)) for n in range(5)])
    first = await queue.outbox(2, 0)
    assert len(first) == 2
    rest = await queue.outbox(100, 0, exclude=[e.job.id for e in first])
    assert len({e.job.id for e in [*first, *rest]}) == 5


async def test_however_much_waits_in_a_closed_namespace_the_others_are_read(queue: Queue) -> None:
    await queue.enqueue([mirrored_job(f"closed-{n}", namespace="closed") for n in range(20)])
    await queue.enqueue([mirrored_job("open")])
    found = await queue.outbox(5, 0, closed=["closed", "not-there"])
    assert [entry.job.ref.name for entry in found if entry.job.ref] == ["open"]
    assert len(await queue.outbox(100, 0, closed=["not-there"])) == 21


async def test_an_object_that_is_not_there_is_dropped_until_something_changes(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([mirrored_job()])
    (entry,) = await stale(queue)
    assert await queue.drop_projection([entry.job.id]) == 1
    assert await stale(queue) == []
    await worker.one()
    assert len(await stale(queue)) == 1


async def test_progress_alone_writes_no_projection(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([mirrored_job()])
    held = await worker.one()
    await write_all(queue)
    await queue.progress(worker.id, [Progress(held.id, held.token, "x", 1, Usage())])
    assert await stale(queue) == []


async def test_the_status_writer_is_told_of_a_new_mark_and_of_an_end_alone(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def told() -> int:
        """How often the status writer was told since the last time: notifications arrive in the order of the commits."""
        await sql(dsn, "select pg_notify('agentjobs_outbox', 'fence')")
        times = 0
        async with asyncio.timeout(60):
            while await heard.get() != "fence":
                times += 1
        return times

    async def listen() -> None:
        async for note in queue.listen(("outbox",)):
            if note.kind == "outbox":
                heard.put_nowait(note.payload)
            else:
                listening.set()

    listening = asyncio.Event()
    listener = asyncio.create_task(listen())
    try:
        async with asyncio.timeout(60):
            await listening.wait()
        await queue.enqueue([mirrored_job()])
        assert await told() == 1, "a new mark"
        held = await worker.one()
        assert await told() == 0, "the object is marked already"
        await write_all(queue)
        await worker.ack(held, kind=AckKind.RETRY, reason="ToolFailed", delay_seconds=0)
        assert await told() == 1, "a new mark, since the last one was taken away"
        held = await worker.one()
        assert await told() == 0
        await worker.ack(held)
        assert await told() == 1, "the end is written at once, whatever is marked"
    finally:
        listener.cancel()
        await asyncio.wait([listener])
