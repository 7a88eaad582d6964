"""Times far away, and clocks that disagree, stop nobody."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import psycopg
import pytest

from agentjobs.queue.errors import JobRejected
from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State
from queue_builders import TestWorker, make_steady, mirrored_job, new_job, pass_time, shown, sql

KIRITIMATI, BAKER = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))
FAR = {
    "year 9999": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    "year 9999 at -12:00": datetime(9999, 12, 31, 23, 59, 59, tzinfo=BAKER),
    "year 9999 at +14:00": datetime(9999, 12, 31, 23, 59, 59, tzinfo=KIRITIMATI),
    "year 3000": datetime(3000, 1, 1, tzinfo=UTC),
    "year 2999 at -12:00, which is 3000": datetime(2999, 12, 31, 23, tzinfo=BAKER),
    "1969": datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    "1970 at +14:00, which is 1969": datetime(1970, 1, 1, tzinfo=KIRITIMATI),
    "year 1": datetime(1, 1, 1, tzinfo=UTC),
    "year 1 at +14:00": datetime(1, 1, 1, tzinfo=KIRITIMATI),
}
NEAR = {
    "the first": datetime(1970, 1, 1, tzinfo=UTC),
    "the first, at +14:00": datetime(1970, 1, 1, 14, tzinfo=KIRITIMATI),
    "the last": datetime(2999, 12, 31, 23, 59, 59, tzinfo=UTC),
    "now at +14:00": datetime.now(KIRITIMATI),
    "now at -12:00": datetime.now(BAKER),
}
ZONES = ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"]
"""That a role or a database may have as its own."""


@pytest.mark.parametrize("field", ["run_at", "created_at"])
@pytest.mark.parametrize("time", FAR.values(), ids=FAR)
async def test_invariant_13_a_time_that_is_no_time_of_a_job_is_refused_by_name(
    queue: Queue, field: str, time: datetime
) -> None:
    with pytest.raises(JobRejected, match=f"{field}.*1970 to 2999"):
        await queue.enqueue([new_job(**{field: time})])


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("time", NEAR.values(), ids=NEAR)
async def test_any_other_time_is_kept_and_stops_no_list_no_tick_and_no_projection(
    queue: Queue, worker: TestWorker, dsn: str, time: datetime, zone: str
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    await sql(dsn, f'alter database "{name}" set timezone = "{zone}"')
    far = mirrored_job(run_at=time, created_at=time, starting_deadline_seconds=365 * 86_400)
    other = mirrored_job("b")
    async with await Queue.open(dsn) as elsewhere:
        await elsewhere.enqueue([far, other])
        assert (await shown(elsewhere, far)).due_at == time
        assert len((await elsewhere.jobs(JobFilter())).jobs) == 2
        assert len(await elsewhere.outbox(10, 0)) == 2
        await elsewhere.tick(worker.id)
        await elsewhere.suspend(far.uid)
        await elsewhere.resume(far.uid)
        claimed = await TestWorker(elsewhere, id=worker.id).claim()
        assert other.uid in {job.uid for job in claimed}
        assert (await shown(elsewhere, other)).state is State.RUNNING


@pytest.mark.parametrize(
    "time", ["infinity", "-infinity", "294276-12-31T00:00:00Z", "4000-01-01 BC", "9999-12-31T23:59:59-12:00"]
)
@pytest.mark.parametrize("field", ["run_at", "created_at"])
async def test_a_statement_with_such_a_time_fails_alone(
    queue: Queue, dsn: str, field: str, time: str
) -> None:
    job = new_job()
    with pytest.raises(psycopg.errors.CheckViolation, match=field.replace("run_at", "due_at")):
        await sql(
            dsn, "select enqueue(%s::json)", f'[{{"uid": "{job.uid}", "payload": {{}}, "{field}": "{time}"}}]'
        )
    await queue.enqueue([job])
    assert await queue.show(job.uid) is not None


async def test_h24_a_due_time_far_away_lets_the_others_be_promoted(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue([new_job(run_at=NEAR["the last"])])
    result = await queue.tick(worker.id)
    assert result.next_due_seconds is not None
    assert math.isfinite(result.next_due_seconds)


async def set_back(dsn: str, seconds: float) -> None:
    """The database's clock was set back: all times are so much later than they would be."""
    await pass_time(dsn, -seconds)
    await sql(dsn, "update worker set beat_at = beat_at + make_interval(secs => %s)", seconds)
    await sql(dsn, "update outbox set marked_at = marked_at + make_interval(secs => %s)", seconds)


async def test_h11_a_clock_that_was_set_back_keeps_the_jobs_of_a_lost_worker_from_nobody(
    queue: Queue, dsn: str
) -> None:
    judge, live, lost = [await TestWorker(queue).register() for _ in range(3)]
    await queue.enqueue(jobs := [new_job(), new_job()])
    kept, gone = await live.one(), await lost.one()
    assert {kept.uid, gone.uid} == {job.uid for job in jobs}
    await make_steady(dsn, judge)
    await set_back(dsn, 3600)
    assert (await queue.tick(judge.id)).rescued == 0, "its own last beat is from before"
    await judge.beat()
    assert (await queue.tick(judge.id)).rescued == 0, "others may not have beaten since"
    await live.beat()
    await make_steady(dsn, judge)
    assert (await queue.tick(judge.id)).rescued == 1
    assert (await shown(queue, kept)).state is State.RUNNING
    assert (await shown(queue, gone)).state is State.QUEUED


async def test_h24_a_clock_that_was_set_back_keeps_no_status_from_its_object(queue: Queue, dsn: str) -> None:
    await queue.enqueue([mirrored_job()])
    await set_back(dsn, 3600)
    assert len(await queue.outbox(10, 5)) == 1
