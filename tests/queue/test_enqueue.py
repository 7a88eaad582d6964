"""What goes in: once per uid, checked, cleaned, bounded."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from agentjobs.queue.errors import JobRejected, QueueUnavailable, SchemaMismatch
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import Ack, AckKind, ChangeOutcome, NewJob, RetryPolicy, State
from agentjobs.values.reasons import Reason
from agentjobs.values.requests import InputRequest
from agentjobs.values.usage import Usage
from queue_builders import TestWorker, change, new_job, shown, sql, whereabouts


async def test_invariant_1_a_uid_is_enqueued_once_however_often_it_is_said(queue: Queue, dsn: str) -> None:
    jobs = [new_job() for _ in range(5)]
    assert await queue.enqueue(jobs) == {job.uid: True for job in jobs}
    assert await queue.enqueue([*jobs, jobs[0]]) == {job.uid: False for job in jobs}
    assert await whereabouts(dsn) == {"waiting": 5, "running": 0, "outcome": 0, "job": 5}


async def test_invariant_1_the_same_uid_twice_in_a_batch_is_one_job(queue: Queue, dsn: str) -> None:
    job = new_job()
    assert await queue.enqueue([job, job]) == {job.uid: True}
    assert (await whereabouts(dsn))["waiting"] == 1


async def test_invariant_1_concurrent_upserts_of_the_same_jobs_make_each_once(queue: Queue, dsn: str) -> None:
    jobs = [new_job(session=f"s{n % 7}") for n in range(200)]
    answers = await asyncio.gather(
        queue.enqueue(jobs), queue.enqueue(jobs[::-1]), queue.enqueue(jobs[100:] + jobs[:100])
    )
    assert [sum(answer[job.uid] for answer in answers) for job in jobs] == [1] * 200
    assert (await whereabouts(dsn))["waiting"] == 200


async def test_jobs_of_one_priority_are_claimed_in_the_order_they_were_said(
    queue: Queue, worker: TestWorker
) -> None:
    jobs = [new_job() for _ in range(10)]
    await queue.enqueue(jobs)
    assert [job.uid for job in await worker.claim(10)] == [job.uid for job in jobs]


async def test_priority_zero_goes_first(queue: Queue, worker: TestWorker) -> None:
    jobs = [new_job(priority=p) for p in (9, 2, 0, 5)]
    await queue.enqueue(jobs)
    assert [job.priority for job in await worker.claim(10)] == [0, 2, 5, 9]


async def test_every_field_arrives_at_the_worker(queue: Queue, worker: TestWorker) -> None:
    job = new_job(
        payload={"v": 1, "message": "hé\U0001f600"},
        priority=0,
        max_attempts=7,
        retry=RetryPolicy(1, 3, 9, 27),
        attempt_timeout_seconds=11,
        active_deadline_seconds=3600,
    )
    await queue.enqueue([job])
    got = await worker.one()
    assert (got.payload, got.retry, got.attempt_timeout_seconds) == (job.payload, job.retry, 11)
    assert (got.priority, got.max_attempts, got.round, got.run, got.attempt) == (0, 7, 1, 1, 1)
    assert got.deadline is not None
    assert timedelta(minutes=59) < got.deadline - datetime.now(UTC) < timedelta(minutes=61)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("queue", "Agents"),
        ("queue", "a" * 64),
        ("queue", "agents\n"),
        ("queue", ""),
        ("priority", -1),
        ("priority", 10),
        ("max_attempts", 0),
        ("attempt_timeout_seconds", 0),
        ("starting_deadline_seconds", 0),
        ("active_deadline_seconds", -1),
        ("session", "s" * 1025),
        ("run_at", datetime(2027, 1, 1)),  # noqa: DTZ001 - without a zone on purpose
        ("payload", {"when": object()}),
        ("payload", {"text": "x" * (1 << 20)}),
        ("payload", {"text": "\U0001f600" * 270_000}),
    ],
)
async def test_invariant_13_a_bad_job_is_refused_with_field_value_and_remedy(
    queue: Queue, dsn: str, field: str, value: object
) -> None:
    with pytest.raises(JobRejected) as refused:
        await queue.enqueue([new_job(), new_job(**{field: value})])
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}: ")
    assert "wanted" in refused.value.remedy
    assert (await whereabouts(dsn))["job"] == 0, "none of the batch is stored"


async def test_invariant_13_a_number_that_the_database_cannot_hold_is_refused(queue: Queue) -> None:
    with pytest.raises(JobRejected):
        await queue.enqueue([new_job(max_attempts=1 << 40)])


async def test_h6_nul_and_lone_surrogates_are_cleaned_at_the_border_in(
    queue: Queue, worker: TestWorker
) -> None:
    job = new_job(payload={"message": "a\x00b\ud800c", "\x00key": ["\udfff"]}, session="s\x00\ud800")
    await queue.enqueue([job])
    await queue.admit()
    got = await worker.one()
    assert got.payload == {"message": "a�b�c", "�key": ["�"]}


async def test_h6_nul_and_lone_surrogates_are_cleaned_at_the_border_out(
    queue: Queue, worker: TestWorker
) -> None:
    job = new_job()
    await queue.enqueue([job])
    bad = "a\x00b\ud800"
    assert (
        await worker.ack(
            await worker.one(),
            result=bad,
            message=bad,
            reason=bad,
            log_tail=bad,
            session_id=bad,
            trace_id=bad,
        )
        == "ok"
    )
    view = await shown(queue, job)
    assert (view.result, view.message, view.reason) == ("a�b�",) * 3
    assert (view.session_id, view.trace_id, view.attempts_log[0].log_tail) == ("a�b�",) * 3


async def test_h6_a_result_that_cannot_be_stored_fails_only_its_own_job(
    queue: Queue, worker: TestWorker
) -> None:
    jobs = [new_job() for _ in range(5)]
    await queue.enqueue(jobs)
    claimed = await worker.claim(5)
    waiting = new_job()
    await queue.enqueue([waiting])
    acks = [
        Ack(j.id, j.token, AckKind.COMPLETE, result=b"no text" if n == 2 else "fine")  # type: ignore[arg-type]
        for n, j in enumerate(claimed)
    ]
    result = await worker.step(acks)
    assert set(result.answers.values()) == {"ok"}
    assert [job.uid for job in result.jobs] == [waiting.uid], "the claim goes on"
    states = [(v.state, v.reason) for v in [await shown(queue, job) for job in jobs]]
    assert states[2] == (State.FAILED, Reason.RESULT_UNSTORABLE)
    assert [s for n, s in enumerate(states) if n != 2] == [(State.COMPLETE, "")] * 4
    assert "the result cannot be stored: TypeError" in (await shown(queue, jobs[2])).message


async def test_h6_an_unstorable_retry_fails_only_its_own_job_too(queue: Queue, worker: TestWorker) -> None:
    jobs = [new_job(), new_job()]
    await queue.enqueue(jobs)
    one, two = await worker.claim(2)
    acks = [
        Ack(
            one.id, one.token, AckKind.ASK, requests=(InputRequest("q", "t"),), input_deadline_seconds=1 << 40
        ),
        Ack(two.id, two.token, AckKind.RETRY, delay_seconds=60),
    ]
    await worker.step(acks, {})
    assert [(await shown(queue, job)).state for job in jobs] == [State.FAILED, State.RETRYING]


async def test_h6_one_poisonous_object_in_a_batch_is_rejected_alone(queue: Queue) -> None:
    fine = [change(name=f"fine-{n}") for n in range(6)]
    bad = change(name="bad", run_at=datetime(9999, 12, 31, 23, 59, tzinfo=UTC), max_attempts=1 << 40)
    answers = await queue.apply([*fine[:3], bad, *fine[3:]])
    assert {a.outcome for a in answers.values()} == {ChangeOutcome.INSERTED}
    view = await shown(queue, bad)
    assert (view.state, view.reason) == (State.REJECTED, Reason.INVALID_SPEC)
    assert view.message
    for one in fine:
        assert (await shown(queue, one)).state is State.QUEUED


async def test_invariant_13_an_object_that_breaks_a_rule_of_the_queue_is_rejected_by_field(
    queue: Queue,
) -> None:
    bad, good = change(name="bad", queue="No Queue"), change(name="good")
    await queue.apply([bad, good])
    view = await shown(queue, bad)
    assert (view.state, view.reason) == (State.REJECTED, Reason.INVALID_SPEC)
    assert view.message.startswith("queue: 'No Queue': ")
    assert (await shown(queue, good)).state is State.QUEUED


async def test_h7_a_claims_reply_stops_at_64_jobs(queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([new_job() for _ in range(100)])
    result = await worker.step((), {"agents": 100})
    assert len(result.jobs) == 64


async def test_h7_a_claims_reply_stops_at_8_mib_but_brings_at_least_one(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([new_job(payload={"text": "x" * 1_000_000}) for _ in range(20)])
    assert len((await worker.step((), {"agents": 20})).jobs) == 9
    assert len((await worker.step((), {"agents": 20})).jobs) == 9
    assert len((await worker.step((), {"agents": 20})).jobs) == 2


async def test_h7_results_errors_and_logs_are_cut_with_a_flag(queue: Queue, worker: TestWorker) -> None:
    job, failing = new_job(), new_job()
    await queue.enqueue([job, failing])
    one, two = await worker.claim(2)
    await worker.ack(one, result="é" * (1 << 20), log_tail="x" * 100_000 + "end")
    await worker.ack(two, AckKind.FAIL, reason="Boom", message="m" * 100_000)
    view = await shown(queue, job)
    assert view.result is not None
    assert (len(view.result.encode()), view.result_truncated) == (1 << 20, True)
    tail = view.attempts_log[0].log_tail
    assert (len(tail), tail.endswith("end")) == (64 << 10, True)
    assert len((await shown(queue, failing)).message) == 64 << 10


async def test_h7_a_short_result_is_kept_whole(queue: Queue, worker: TestWorker) -> None:
    job = new_job()
    await queue.enqueue([job])
    await worker.ack(await worker.one(), result="42", usage=Usage(1, 2, 3, 4, 5), event_count=6)
    view = await shown(queue, job)
    assert (view.result, view.result_truncated) == ("42", False)
    assert (view.usage, view.event_count) == (Usage(1, 2, 3, 4, 5), 6)


async def test_h7_connections_bound_how_long_they_can_hold_anything_up(queue: Queue, dsn: str) -> None:
    async with queue._db._pool.connection() as conn:
        settings = [
            (await (await conn.execute(f"show {name}")).fetchone())[0]  # type: ignore[index]
            for name in ("statement_timeout", "idle_in_transaction_session_timeout")
        ]
        assert settings == ["30s", "30s"]
        assert conn.info.get_parameters()["tcp_user_timeout"] == "10000"


async def test_a_database_that_is_not_there_is_unavailable_and_not_an_unknown_error() -> None:
    async with await Queue.open("postgresql://127.0.0.1:1/none?connect_timeout=1") as queue:
        queue._db._pool.timeout = 0.5
        with pytest.raises(QueueUnavailable):
            await queue.enqueue([NewJob(uid=uuid4(), payload={})])


async def test_a_database_without_our_schema_names_the_remedy(empty_dsn: str) -> None:
    async with await Queue.open(empty_dsn) as queue:
        with pytest.raises(SchemaMismatch, match="agentjobs migrate up"):
            await queue.enqueue([new_job()])


async def test_invariant_4_an_unfinished_job_is_in_exactly_one_place(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue([new_job() for _ in range(6)])
    claimed = await worker.claim(4)
    for job, kind in zip(claimed, AckKind, strict=False):
        await worker.ack(job, kind, delay_seconds=60)
    rows = await sql(
        dsn,
        "select (select count(*) from waiting w where w.id = j.id) + (select count(*) from running r where r.id = j.id)"
        " + (select count(*) from outcome o where o.id = j.id) from job j",
    )
    assert rows == [(1,)] * 6
