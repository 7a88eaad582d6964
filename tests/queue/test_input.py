"""A job that waits for a person: where it is, what it holds, what answers it, and what else may happen to it."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from agentjobs.queue.errors import JobRejected
from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, ClaimedJob, InputAnswer, InputResponse, NewJob, State
from agentjobs.values.question_kinds import QuestionKind
from agentjobs.values.requests import InputRequest
from queue_builders import (
    TestWorker,
    change,
    expire_worker,
    make_steady,
    mirrored_job,
    new_job,
    pass_time,
    shown,
    sql,
    whereabouts,
)

FIRST = InputRequest("q-1", "refund", '{"order": "A-1"}', "Really?")
SECOND = InputRequest("q-2", "refund", '{"order": "A-2"}')
WAITS = {"waiting": 1, "running": 0, "outcome": 0, "job": 1}


async def parked(
    queue: Queue, worker: TestWorker, *requests: InputRequest, deadline: int | None = None, **fields: Any
) -> NewJob:
    """A job whose run has asked."""
    job = fields.pop("job", None) or new_job(**fields)
    await queue.enqueue([job])
    await queue.admit()
    assert await ask(worker, await worker.one(), *requests, deadline=deadline) == "ok"
    return job


async def ask(
    worker: TestWorker, claimed: ClaimedJob, *requests: InputRequest, deadline: int | None = None
) -> str:
    return await worker.ack(
        claimed, AckKind.ASK, reason="InputRequired", message="it asks (tool refund)", requests=requests or (FIRST,),
        input_deadline_seconds=deadline,
    )  # fmt: skip


def yes(id: str = "q-1", **more: Any) -> InputAnswer:
    return InputAnswer(id, True, **more)


async def test_a_question_parks_the_job_and_charges_no_attempt(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = await parked(queue, worker, max_attempts=1, active_deadline_seconds=100)
    view = await shown(queue, job)
    assert (view.state, view.reason, view.message) == (
        State.INPUT_REQUIRED,
        "InputRequired",
        "it asks (tool refund)",
    )
    assert (view.attempts, view.run, view.input_request, view.input_requests_left) == (0, 1, FIRST, 0)
    assert view.input_deadline is None
    (record,) = view.attempts_log
    assert (record.outcome, record.reason, record.charged, record.next_at) == (
        "ask",
        "InputRequired",
        False,
        None,
    )
    assert await whereabouts(dsn) == WAITS
    assert await worker.claim() == [], "nothing runs before the answer"
    assert await queue.counts() == {("agents", State.INPUT_REQUIRED): 1}
    page = await queue.jobs(JobFilter(states=frozenset({State.INPUT_REQUIRED})))
    assert [found.uid for found in page.jobs] == [job.uid]


async def test_an_answer_lets_the_job_go_on_and_comes_with_the_next_claim(
    queue: Queue, worker: TestWorker
) -> None:
    job = await parked(queue, worker, payload={"v": 1, "message": "hello"}, max_attempts=1)
    assert await queue.answer(job.uid, yes(reason="fine", by="alice", payload={"n": 1})) == ""
    view = await shown(queue, job)
    assert (view.state, view.reason, view.input_request) == (State.QUEUED, "", None)
    answered = view.input_answered
    assert answered is not None
    assert (answered.tool, answered.approved, answered.reason, answered.by) == (
        "refund",
        True,
        "fine",
        "alice",
    )
    claimed = await worker.one()
    assert (claimed.run, claimed.attempt) == (2, 1)
    assert claimed.payload["message"] == "hello"
    assert claimed.payload["v"] == 2, "not for workers that know of no answers (H30)"
    answer = claimed.payload["answers"]["q-1"]
    assert (answer["approved"], answer["payload"]) == (True, {"n": 1})
    assert await worker.ack(claimed) == "ok"
    assert (await shown(queue, job)).state is State.COMPLETE


async def test_h30_an_answer_does_not_lower_the_version_of_a_payload(
    queue: Queue, worker: TestWorker
) -> None:
    """What has files or a state is for workers that know them, also once it was answered."""
    job = await parked(queue, worker, payload={"v": 5, "message": "hello", "inputs": []})
    assert await queue.answer(job.uid, yes()) == ""
    assert (await worker.one()).payload["v"] == 5


async def test_an_answer_survives_the_run_that_was_to_use_it(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = await parked(queue, worker)
    await queue.answer(job.uid, yes())
    await worker.one()
    other = await TestWorker(queue).register()
    await make_steady(dsn, other)
    await expire_worker(dsn, worker)
    assert (await queue.tick(other.id)).rescued == 1
    assert (await other.one()).payload["answers"]["q-1"]["approved"] is True


async def test_questions_of_one_answer_are_asked_one_after_another(queue: Queue, worker: TestWorker) -> None:
    job = await parked(queue, worker, FIRST, SECOND)
    assert (await shown(queue, job)).input_requests_left == 1
    assert "question q-1" in await queue.answer(job.uid, yes("q-2"))
    assert await queue.answer(job.uid, yes("q-1")) == ""
    view = await shown(queue, job)
    assert (view.state, view.input_request, view.input_requests_left) == (State.INPUT_REQUIRED, SECOND, 0)
    assert "question q-2" in await queue.answer(job.uid, yes("q-1")), "an old answer answers no new question"
    assert await queue.answer(job.uid, InputAnswer("q-2", False)) == ""
    claimed = await worker.one()
    assert {id: a["approved"] for id, a in claimed.payload["answers"].items()} == {"q-1": True, "q-2": False}


async def test_the_next_question_begins_anew(queue: Queue, worker: TestWorker) -> None:
    job = await parked(queue, worker)
    await queue.answer(job.uid, yes())
    await ask(worker, await worker.one(), SECOND)
    assert (await shown(queue, job)).input_request == SECOND
    await queue.answer(job.uid, yes("q-2"))
    assert list((await worker.one()).payload["answers"]) == ["q-2"]


async def test_what_is_not_asked_is_refused(queue: Queue, worker: TestWorker) -> None:
    assert await queue.answer(uuid4(), yes()) == "the job is not known"
    job = new_job()
    await queue.enqueue([job])
    assert await queue.answer(job.uid, yes()) == "it does not wait for input"
    parked_job = await parked(queue, worker, job=job)
    with pytest.raises(JobRejected, match="payload: "):
        await queue.answer(parked_job.uid, yes(payload="x" * 20_000))
    assert (await shown(queue, job)).state is State.INPUT_REQUIRED


async def test_h9_a_lost_reply_to_a_question_is_answered_already(queue: Queue, worker: TestWorker) -> None:
    job = new_job()
    await queue.enqueue([job])
    claimed = await worker.one()
    assert await ask(worker, claimed) == "ok"
    assert await ask(worker, claimed) == "already"
    other = await TestWorker(queue).register()
    assert await ask(other, claimed) == "lost"
    assert (await shown(queue, job)).state is State.INPUT_REQUIRED


async def test_invariant_5_a_parked_job_holds_its_session(queue: Queue, worker: TestWorker) -> None:
    job = await parked(queue, worker, session="s")
    behind = new_job(session="s")
    await queue.enqueue([behind])
    await queue.admit()
    assert await worker.claim() == []
    assert (await shown(queue, behind)).reason == "BehindSession"
    await queue.answer(job.uid, yes())
    claimed = await worker.one()
    assert claimed.uid == job.uid
    await worker.ack(claimed)
    assert (await worker.one()).uid == behind.uid


async def test_a_cancelled_question_lets_the_session_go(queue: Queue, worker: TestWorker, dsn: str) -> None:
    job = await parked(queue, worker, session="s")
    behind = new_job(session="s")
    await queue.enqueue([behind])
    await queue.admit()
    assert await queue.cancel(job.uid) is State.CANCELLED
    assert (await worker.one()).uid == behind.uid
    assert await queue.answer(job.uid, yes()) == "it does not wait for input"
    assert (await whereabouts(dsn))["outcome"] == 1


async def test_the_input_deadline_ends_the_wait(queue: Queue, worker: TestWorker, dsn: str) -> None:
    job = await parked(queue, worker, deadline=60, active_deadline_seconds=1000, session="s")
    assert (await shown(queue, job)).input_deadline is not None
    await pass_time(dsn, 50)
    assert (await queue.tick(worker.id)).expired == 0
    await pass_time(dsn, 20)
    assert (await queue.tick(worker.id)).expired == 1
    view = await shown(queue, job)
    assert (view.state, view.reason) == (State.FAILED, "InputDeadlineExceeded")
    assert "(inputDeadlineSeconds): it asks (tool refund)" in view.message
    assert await sql(dsn, "select * from session") == []
    assert await queue.retry(job.uid), "a retry runs again, and asks again"
    await queue.admit()
    await ask(worker, await worker.one(), deadline=60)
    assert (await shown(queue, job)).state is State.INPUT_REQUIRED


async def test_the_active_deadline_runs_on_while_it_waits(queue: Queue, worker: TestWorker, dsn: str) -> None:
    job = await parked(queue, worker, deadline=1000, active_deadline_seconds=60)
    await pass_time(dsn, 70)
    assert (await queue.tick(worker.id)).expired == 1
    view = await shown(queue, job)
    assert (view.state, view.reason) == (State.FAILED, "DeadlineExceeded")


async def test_an_answer_ends_the_input_deadline_alone(queue: Queue, worker: TestWorker, dsn: str) -> None:
    job = await parked(queue, worker, deadline=60, active_deadline_seconds=100)
    await queue.answer(job.uid, yes())
    await pass_time(dsn, 70)
    assert (await queue.tick(worker.id)).expired == 0
    await pass_time(dsn, 40)
    assert (await queue.tick(worker.id)).expired == 1
    assert (await shown(queue, job)).reason == "DeadlineExceeded"


async def test_a_suspended_question_waits_without_a_deadline_and_is_asked_again_on_resume(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = await parked(queue, worker, deadline=60, active_deadline_seconds=100)
    assert await queue.suspend(job.uid) is State.SUSPENDED
    assert (await shown(queue, job)).input_request is None
    await pass_time(dsn, 500)
    assert (await queue.tick(worker.id)).expired == 0
    assert await queue.resume(job.uid) is State.INPUT_REQUIRED
    view = await shown(queue, job)
    assert (view.state, view.reason, view.input_request) == (State.INPUT_REQUIRED, "InputRequired", FIRST)
    assert view.message == "it asks (tool refund)"
    await pass_time(dsn, 50)
    assert (await queue.tick(worker.id)).expired == 0, "both deadlines start over"
    assert await queue.resume(job.uid) is State.INPUT_REQUIRED
    assert await queue.answer(job.uid, yes()) == ""
    assert (await worker.one()).uid == job.uid


async def test_an_answer_to_a_suspended_job_counts_when_it_is_resumed(
    queue: Queue, worker: TestWorker
) -> None:
    job = await parked(queue, worker)
    await queue.suspend(job.uid)
    assert await queue.answer(job.uid, yes()) == ""
    assert (await shown(queue, job)).state is State.SUSPENDED
    assert await worker.claim() == []
    assert await queue.resume(job.uid) is State.QUEUED
    assert (await worker.one()).payload["answers"]["q-1"]["approved"] is True


@pytest.mark.parametrize("asked", ["suspend", "cancel"])
async def test_h15_what_was_asked_of_the_run_counts_when_it_comes_to_a_question(
    queue: Queue, worker: TestWorker, asked: str
) -> None:
    job = new_job(active_deadline_seconds=100)
    await queue.enqueue([job])
    claimed = await worker.one()
    assert await getattr(queue, asked)(job.uid) is State.RUNNING
    assert await ask(worker, claimed) == "ok"
    view = await shown(queue, job)
    if asked == "cancel":
        assert (view.state, view.reason) == (State.CANCELLED, "Cancelled")
        return
    assert (view.state, view.reason, view.attempts) == (State.SUSPENDED, "Suspended", 0)
    assert await queue.resume(job.uid) is State.INPUT_REQUIRED
    assert (await shown(queue, job)).input_request == FIRST


async def test_a_run_past_its_deadline_fails_at_its_question(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    job = new_job(active_deadline_seconds=10)
    await queue.enqueue([job])
    claimed = await worker.one()
    await pass_time(dsn, 20)
    await queue.tick(worker.id)
    assert await ask(worker, claimed) == "ok"
    assert (await shown(queue, job)).reason == "DeadlineExceeded"


async def test_priority_and_attempts_change_while_it_waits(queue: Queue, worker: TestWorker) -> None:
    job = await parked(queue, worker, max_attempts=3)
    urgent = new_job(priority=1)
    await queue.enqueue([urgent])
    assert await queue.reprioritise(job.uid, 0)
    assert await queue.set_max_attempts(job.uid, 1)
    assert (await shown(queue, job)).state is State.INPUT_REQUIRED
    await queue.answer(job.uid, yes())
    assert [claimed.uid for claimed in await worker.claim()] == [job.uid, urgent.uid]


async def test_many_questions_beside_other_acks_of_one_step(queue: Queue, worker: TestWorker) -> None:
    from agentjobs.queue.records import Ack

    await queue.enqueue([new_job() for _ in range(4)])
    a, b, c, d = await worker.claim()
    await queue.cancel(d.uid)
    acks = [
        Ack(a.id, a.token, AckKind.ASK, reason="InputRequired", requests=(FIRST,)),
        Ack(b.id, b.token, AckKind.COMPLETE, result="x"),
        Ack(c.id, c.token, AckKind.RETRY, reason="X", delay_seconds=5),
        Ack(d.id, d.token, AckKind.ASK, reason="InputRequired", requests=(SECOND,)),
    ]
    result = await worker.step(acks, {})
    assert {answer.value for answer in result.answers.values()} == {"ok"}
    states = [(await shown(queue, job)).state for job in (a, b, c, d)]
    assert states == [State.INPUT_REQUIRED, State.COMPLETE, State.RETRYING, State.CANCELLED]


async def test_h6_text_that_postgres_refuses_is_cleaned_from_a_question(
    queue: Queue, worker: TestWorker
) -> None:
    job = await parked(queue, worker, InputRequest("q\x00", "t\ud800", '{"a": "\x00"}'))
    request = (await shown(queue, job)).input_request
    assert request is not None
    assert "\x00" not in request.arguments
    assert await queue.answer(job.uid, InputAnswer(request.id, True, reason="\x00\ud800")) == ""


# annotations -----------------------------------------------------------------------------------------


def response(id: str, value: str = "v1", **more: Any) -> InputResponse:
    return InputResponse(value, yes(id, **more))


async def test_h4_an_annotation_answers_once(queue: Queue, worker: TestWorker) -> None:
    job = await parked(queue, worker, job=mirrored_job())
    assert await queue.respond({job.uid: response("q-1")}) == {job.uid: ""}
    assert (await shown(queue, job)).state is State.QUEUED
    await ask(worker, await worker.one(), FIRST)
    assert await queue.respond({job.uid: response("q-1")}) == {}, "a relist fires nothing again"
    assert (await shown(queue, job)).state is State.INPUT_REQUIRED
    assert await queue.respond({job.uid: response("q-1", "v2")}) == {job.uid: ""}


async def test_an_annotation_that_answers_nothing_is_refused_once(queue: Queue, worker: TestWorker) -> None:
    job = await parked(queue, worker, job=mirrored_job())
    (refused,) = (await queue.respond({job.uid: response("q-0")})).values()
    assert refused == "it waits for an answer to the question q-1, not q-0"
    unread = InputResponse("v2", None, "the annotation is no answer")
    assert await queue.respond({job.uid: unread}) == {job.uid: "the annotation is no answer"}
    assert await queue.respond({job.uid: unread}) == {}
    too_large = {job.uid: response("q-1", "v3", payload="x" * 20_000)}
    assert "at most" in (await queue.respond(too_large))[job.uid]
    assert (await shown(queue, job)).state is State.INPUT_REQUIRED
    assert await queue.respond({uuid4(): response("q-1")}) == {}, "an object that is not known"


async def test_a_new_generation_leaves_a_question_alone(queue: Queue, worker: TestWorker) -> None:
    asking = change()
    await queue.apply([asking])
    await ask(worker, await worker.one())
    await queue.apply([change(asking.uid, generation=2, priority=0)])
    view = await shown(queue, asking)
    assert (view.state, view.priority, view.input_request) == (State.INPUT_REQUIRED, 0, FIRST)
    await queue.apply([change(asking.uid, generation=3, suspend=True)])
    assert (await shown(queue, asking)).state is State.SUSPENDED
    await queue.apply([change(asking.uid, generation=4)])
    assert (await shown(queue, asking)).state is State.INPUT_REQUIRED
    await queue.apply([change(asking.uid, gone=True)])
    assert (await shown(queue, asking)).state is State.CANCELLED


async def test_a_question_and_its_answers_mark_the_object_stale(queue: Queue, worker: TestWorker) -> None:
    job = await parked(queue, worker, FIRST, SECOND, job=mirrored_job())

    async def versions() -> list[int]:
        return [entry.version for entry in await queue.outbox(10, 0.0)]

    seen = [await versions()]
    for id in ("q-1", "q-2"):
        await queue.answer(job.uid, yes(id))
        seen.append(await versions())
    assert len({version for (version,) in seen}) == 3


async def test_retention_forgets_what_was_answered(queue: Queue, worker: TestWorker, dsn: str) -> None:
    job = await parked(queue, worker, job=mirrored_job())
    await queue.answer(job.uid, yes(reason="because of the customer"))
    await worker.ack(await worker.one())
    await pass_time(dsn, 8 * 86400)
    assert await queue.prune() == 1
    rows = await sql(dsn, "select row_to_json(j)::text from job j")
    assert "customer" not in json.dumps(rows)


# questions that want a payload ----------------------------------------------------------------------

BUILD = InputRequest(
    "b-1", "build", '{"branch": "main"}', kind=QuestionKind.LONG_RUNNING, result='{"status": "pending"}',
    schema='{"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}',
)  # fmt: skip


async def test_a_question_of_another_kind_wants_a_payload_that_fits_its_schema(
    queue: Queue, worker: TestWorker
) -> None:
    job = await parked(queue, worker, BUILD)
    assert (await shown(queue, job)).input_request == BUILD
    for answer, told in (
        (InputAnswer("b-1", True), "approved is true: the question b-1 wants a payload instead"),
        (InputAnswer("b-1", False), "approved is false: the question b-1 wants a payload instead"),
        (InputAnswer("b-1", None), "payload is missing: the question b-1 wants one"),
        (
            InputAnswer("b-1", None, payload={}),
            "payload.status is missing; a text is wanted. Mend the payload",
        ),
        (InputAnswer("b-1", None, payload={"status": 3}), "payload.status is 3; a text is wanted. Mend"),
        (
            InputAnswer("b-0", None, payload={"status": "ok"}),
            "it waits for an answer to the question b-1, not b-0",
        ),
    ):
        assert (await queue.answer(job.uid, answer)).startswith(told)
    assert (await shown(queue, job)).state is State.INPUT_REQUIRED
    assert await queue.answer(job.uid, InputAnswer("b-1", None, payload={"status": "ok", "note": None})) == ""
    answered = (await shown(queue, job)).input_answered
    assert answered is not None
    assert (answered.tool, answered.approved) == ("build", None)
    claimed = await worker.one()
    assert claimed.payload["v"] == 3, "older workers leave it to newer ones (H30)"
    assert claimed.payload["answers"]["b-1"]["payload"] == {"status": "ok", "note": None}


async def test_a_confirmation_without_a_yes_or_no_is_not_answered(queue: Queue, worker: TestWorker) -> None:
    job = await parked(queue, worker)
    said = await queue.answer(job.uid, InputAnswer("q-1", None, payload={"approved_days": 3}))
    assert said == "approved is missing: the question q-1 wants a yes or no"


async def test_an_annotation_whose_payload_does_not_fit_is_refused_without_a_word_of_it(
    queue: Queue, worker: TestWorker
) -> None:
    job = await parked(queue, worker, BUILD)
    said = {job.uid: InputResponse("one", InputAnswer("b-1", None, payload={"status": 31337}))}
    assert await queue.respond(said) == {
        job.uid: "payload.status is a whole number; a text is wanted. Mend the payload and answer again"
    }
    assert await queue.respond(said) == {}, "each value once (H4)"
    fits = {job.uid: InputResponse("two", InputAnswer("b-1", None, payload={"status": "ok"}))}
    assert await queue.respond(fits) == {job.uid: ""}
    assert [row.verb for row in await queue.audit(limit=5) if row.verb == "answer"] == ["answer"]
