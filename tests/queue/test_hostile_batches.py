"""A batch of acks, progress, objects or answers with one that cannot be sent: the others are stored (H6)."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from agentjobs.queue.errors import JobRejected
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import (
    Ack,
    AckKind,
    ImportedEnd,
    InputAnswer,
    InputResponse,
    ObjectRef,
    Progress,
    RetryPolicy,
    State,
)
from agentjobs.values.bounds import LONGEST_SECONDS, MOST
from agentjobs.values.reasons import Reason
from agentjobs.values.requests import InputRequest
from agentjobs.values.usage import Usage
from queue_builders import TestWorker, change, expire_worker, make_steady, new_job, shown, sql

HUGE = 2**70

ACKS: dict[str, dict[str, Any]] = {
    "a result that is no text": {"kind": AckKind.COMPLETE, "result": b"bytes"},
    "a reason that is no text": {"kind": AckKind.FAIL, "reason": HUGE},
    "a message that is no text": {"kind": AckKind.RETRY, "message": 7},
    "a log that is no text": {"kind": AckKind.SNOOZE, "log_tail": 7},
    "a deadline of 2^70": {
        "kind": AckKind.ASK,
        "requests": (InputRequest("q", "t"),),
        "input_deadline_seconds": HUGE,
    },
    "a question that is none": {"kind": AckKind.ASK, "requests": ("q",)},
    "a report that is none": {"kind": AckKind.RETRY, "models": ("m",)},
}


@pytest.mark.parametrize("fields", ACKS.values(), ids=ACKS)
async def test_h6_an_ack_that_cannot_be_sent_fails_its_own_job_and_the_others_are_acked(
    queue: Queue, worker: TestWorker, fields: dict[str, Any]
) -> None:
    await queue.enqueue([new_job() for _ in range(5)])
    claimed = await worker.claim(5)
    next_job = new_job()
    await queue.enqueue([next_job])
    acks = [Ack(job.id, job.token, AckKind.COMPLETE, result="fine") for job in claimed]
    acks[3] = Ack(claimed[3].id, claimed[3].token, **fields)
    result = await worker.step(acks)
    assert set(result.answers.values()) == {"ok"}
    assert [job.uid for job in result.jobs] == [next_job.uid], "the claim goes on"
    for number, job in enumerate(claimed):
        view = await shown(queue, job)
        wanted = (State.FAILED, Reason.RESULT_UNSTORABLE) if number == 3 else (State.COMPLETE, "")
        assert (view.state, view.reason) == wanted, view.message


@pytest.mark.parametrize("number", [HUGE, 10**400, -1, math.nan, math.inf, -math.inf, "many", None])
async def test_counts_of_any_value_are_stored_in_bounds(
    queue: Queue, worker: TestWorker, number: Any
) -> None:
    await queue.enqueue([new_job()])
    job = await worker.one()
    usage = Usage(number, number, number, number, number)
    assert await queue.progress(worker.id, [Progress(job.id, job.token, "\x00\ud800", HUGE, usage)]) == 1
    assert await worker.ack(job, AckKind.RETRY, usage=usage, event_count=HUGE, delay_seconds=1e300) == "ok"
    view = await shown(queue, job)
    assert 0 <= view.usage.total_tokens <= MOST
    assert view.next_attempt_at is not None
    assert (view.next_attempt_at - datetime.now(UTC)).total_seconds() <= LONGEST_SECONDS


async def test_counters_of_a_job_that_is_refunded_for_years_do_not_overflow(
    dsn: str, queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([new_job(retry=RetryPolicy(max_wait_seconds=31_536_000))])
    job = await worker.one()
    await sql(
        dsn,
        "update running set snoozes = 2000000000, run = 2000000000, event_count = 2147483647,"
        " spent = array_fill(9007199254740991::bigint, array[5])",
    )
    usage = Usage(MOST, MOST, MOST, MOST, MOST)
    assert await worker.ack(job, AckKind.SNOOZE, usage=usage, delay_seconds=0.0) == "ok"
    assert (await shown(queue, job)).usage == usage
    again = await worker.one()
    await worker.ack(again, AckKind.FAIL)
    await sql(dsn, "update job set round = 40000")
    assert await queue.retry(again.uid), "more than 32,767 rounds"


async def test_h6_progress_that_cannot_be_sent_is_left_out_and_the_rest_is_stored(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([new_job() for _ in range(3)])
    jobs = await worker.claim(3)
    rows = [Progress(job.id, job.token, "a step", 1, Usage()) for job in jobs]
    rows[1] = Progress(jobs[1].id, jobs[1].token, 7, 1, Usage())  # type: ignore[arg-type]
    assert await queue.progress(worker.id, rows) == 3
    assert [(await shown(queue, job)).step for job in jobs] == ["a step", "", "a step"]


NOW = datetime.now(UTC)
OBJECTS: dict[str, dict[str, Any]] = {
    "a payload with 2^70": {"payload": {"v": HUGE}},
    "a payload that is no JSON": {"payload": {"v": object()}},
    "a payload that is a list": {"payload": [1]},
    "a priority of 2^70": {"priority": HUGE},
    "no attempts": {"max_attempts": 0},
    "attempts of 2^70": {"max_attempts": HUGE},
    "a retry policy below 0": {"retry": RetryPolicy(-1, -1, -1, -1)},
    "a retry policy of a float": {"retry": RetryPolicy(factor=1.5)},  # type: ignore[arg-type]
    "a retry policy of 2^70": {"retry": RetryPolicy(HUGE, HUGE, HUGE, HUGE)},
    "a time-out of NaN": {"attempt_timeout_seconds": math.nan},
    "a deadline of 2^70": {"starting_deadline_seconds": HUGE},
    "a queue of 10 KB": {"queue": "q" * 10_000},
    "a session of 10 KB": {"session": "s" * 10_000},
    "a due time without a zone": {"run_at": datetime(2027, 1, 1)},  # noqa: DTZ001
    "a payload of 2 MB": {"payload": {"v": "x" * (2 << 20)}},
}


@pytest.mark.parametrize("fields", OBJECTS.values(), ids=OBJECTS)
async def test_h6_an_object_that_cannot_be_stored_is_rejected_alone_and_says_why(
    queue: Queue, fields: dict[str, Any]
) -> None:
    seen = [change(name=f"n{number}") for number in range(4)]
    seen[2] = change(name="bad", **fields)
    answers = await queue.apply(seen)
    assert {answer.outcome.value for answer in answers.values()} == {"inserted"}
    for number, one in enumerate(seen):
        view = await shown(queue, one)
        wanted = (State.REJECTED, Reason.INVALID_SPEC) if number == 2 else (State.QUEUED, "")
        assert (view.state, view.reason) == wanted
    assert (await shown(queue, seen[2])).message
    with pytest.raises(JobRejected):
        await queue.enqueue([new_job(**fields)])


async def test_h6_a_status_that_is_no_json_is_not_imported_and_stops_no_other_object(queue: Queue) -> None:
    end = ImportedEnd(State.COMPLETE, "Completed", "", NOW, {"usage": HUGE})
    bad, good = change(name="bad", imported=end), change(name="good")
    await queue.apply([bad, good])
    assert (await shown(queue, bad)).state is State.REJECTED
    assert (await shown(queue, good)).state is State.QUEUED


async def test_h6_an_answer_that_cannot_be_stored_is_refused_alone(queue: Queue, worker: TestWorker) -> None:
    seen = [change(name=name) for name in ("good", "bad")]
    await queue.apply(seen)
    for job in await worker.claim(2):
        await worker.ack(job, AckKind.ASK, requests=(InputRequest("q", "t"),))
    answers = {
        seen[0].uid: InputResponse("1", InputAnswer("q", approved=True)),
        seen[1].uid: InputResponse("1", InputAnswer("q", approved=True, payload={"n": HUGE})),
    }
    told = await queue.respond(answers)
    assert told[seen[0].uid] == ""
    assert "payload" in told[seen[1].uid]


async def test_h6_a_job_that_the_database_refuses_is_named(dsn: str, queue: Queue) -> None:
    await sql(dsn, "alter table job add constraint test check (payload->>'v' <> 'bad')")
    jobs = [new_job(payload={"v": v}) for v in ("a", "b", "bad", "c")]
    with pytest.raises(JobRejected, match=str(jobs[2].uid)):
        await queue.enqueue(jobs)
    assert await sql(dsn, "select count(*) from job") == [(0,)], "all or none"


async def test_one_stage_that_fails_stops_no_other_stage_of_the_tick(
    dsn: str, queue: Queue, worker: TestWorker
) -> None:
    lost, late = await TestWorker(queue).register(), new_job(starting_deadline_seconds=1)
    await queue.enqueue([new_job(uid=uuid4())])
    job = await lost.one()
    await queue.enqueue([late])
    await sql(dsn, "update waiting set deadline = clock_timestamp() - interval '1 minute'")
    await expire_worker(dsn, lost)
    await make_steady(dsn, worker)
    await sql(dsn, "insert into attempt select id, run, attempt, 1, worker, '', token, since, since, 'lost', '', null, false"
              " from running where id = %s", job.id)  # fmt: skip
    tick = await queue.tick(worker.id)
    assert [stage.split(":")[0] for stage in tick.failed] == ["rescue"]
    assert (await shown(queue, late)).reason == "StartingDeadlineExceeded"


async def test_a_retry_policy_at_its_bounds_does_not_stop_the_rescue(
    dsn: str, queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([new_job(retry=RetryPolicy(86_400, 100, 604_800, 31_536_000))])
    await make_steady(dsn, worker)
    for _ in range(2):
        lost = await TestWorker(queue).register()
        await sql(dsn, "update waiting set state = 'r'")
        await lost.one()
        await expire_worker(dsn, lost)
        await worker.beat()
        tick = await queue.tick(worker.id)
        assert (tick.rescued, tick.failed) == (1, ())


def test_no_name_of_an_object_is_longer_than_one_of_kubernetes() -> None:
    from agentjobs.queue.codec import check_ref

    check_ref(ObjectRef("c" * 253, "n" * 253, "a" * 253))
    with pytest.raises(JobRejected, match=r"ref\.name"):
        check_ref(ObjectRef("c", "n", "a" * 254))
