"""Who did what: each act that changed something has one row, written with it, and nothing else has one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from agentjobs.queue.audit import Act, AuditRow
from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import (
    Ack,
    AckKind,
    AnnotatedAct,
    ImportedEnd,
    InputAnswer,
    InputResponse,
    NewJob,
    State,
)
from agentjobs.queue.schedules import ScheduleDecision, SeenSchedule
from agentjobs.values.requests import InputRequest
from agentjobs.values.verbs import Verb
from queue_builders import TestWorker, change, mirrored_job, new_job, pass_time, shown, sql

ANNA = Act("anna", reason="the provider is back", source="web")
DAY = 86400.0


async def only(queue: Queue, **which: Any) -> AuditRow:
    (row,) = await queue.audit(**which)
    return row


async def failed(queue: Queue, worker: TestWorker, **fields: Any) -> NewJob:
    job = new_job(**fields)
    await queue.enqueue([job])
    await worker.ack(await worker.one(), AckKind.FAIL, reason="Because")
    return job


async def asked(queue: Queue, worker: TestWorker, *ids: str) -> NewJob:
    job = mirrored_job()
    await queue.enqueue([job])
    requests = tuple(InputRequest(id, f"tool-{id}", '{"to": "bob@example.com"}') for id in ids)
    await worker.ack(await worker.one(), AckKind.ASK, reason="InputRequired", requests=requests)
    return job


# -- what a row says -------------------------------------------------------------------------------

CONTROLS: dict[str, tuple[Callable[[Queue, UUID, Act | None], Awaitable[object]], dict[str, Any], dict[str, Any]]] = {
    "cancel": (lambda queue, uid, by: queue.cancel(uid, by), {"state": "Queued"}, {"state": "Cancelled"}),
    "suspend": (lambda queue, uid, by: queue.suspend(uid, by), {"state": "Queued"}, {"state": "Suspended"}),
    "reprioritise": (lambda queue, uid, by: queue.reprioritise(uid, 0, by), {"priority": 2}, {"priority": 0}),
    "set-max-attempts": (
        lambda queue, uid, by: queue.set_max_attempts(uid, 9, by), {"maxAttempts": 3}, {"maxAttempts": 9},
    ),
}  # fmt: skip


@pytest.mark.parametrize("by", [ANNA, None], ids=["anna", "nobody"])
@pytest.mark.parametrize("verb", CONTROLS)
async def test_an_act_has_one_row_with_who_why_before_and_after(
    queue: Queue, dsn: str, verb: str, by: Act | None
) -> None:
    call, before, after = CONTROLS[verb]
    job = mirrored_job("refund")
    await queue.enqueue([job])
    await call(queue, job.uid, by)
    row = await only(queue)
    assert (row.verb, row.namespace, row.name, row.uid) == (verb, "team", "refund", job.uid)
    assert (row.queue, row.actor, row.reason, row.source) == (
        ("agents", "anna", "the provider is back", "web") if by else ("agents", "", "", "python")
    )
    assert row.before is not None
    assert row.after is not None
    assert row.before.items() >= before.items()
    assert row.after.items() >= after.items()
    assert abs(row.at - datetime.now(UTC)) < timedelta(minutes=5)
    assert row.role == (await sql(dsn, "select session_user::text"))[0][0]


async def test_a_resume_and_a_retry_have_theirs(queue: Queue, worker: TestWorker) -> None:
    job = new_job(suspend=True)
    await queue.enqueue([job])
    await queue.resume(job.uid, ANNA)
    await worker.ack(await worker.one(), AckKind.FAIL, reason="Because")
    assert await queue.retry(job.uid, ANNA)
    retried, resumed = await queue.audit(uid=job.uid)
    assert (resumed.verb, resumed.before, resumed.after) == (
        "resume",
        {"state": "Suspended", "reason": "Suspended", "priority": 2, "maxAttempts": 3, "round": 1},
        {"state": "Queued", "priority": 2, "maxAttempts": 3, "round": 1},
    )
    assert retried.before is not None
    assert (retried.verb, retried.before["state"], retried.before["reason"]) == ("retry", "Failed", "Because")
    assert retried.after == {"state": "Queued", "priority": 2, "maxAttempts": 3, "round": 2}


async def test_a_running_job_is_asked_and_only_the_asking_is_an_act(queue: Queue, worker: TestWorker) -> None:
    job = new_job()
    await queue.enqueue([job])
    claimed = await worker.one()
    for _ in range(3):
        await queue.cancel(job.uid, ANNA)
    row = await only(queue)
    assert row.after is not None
    assert (row.after["state"], row.after["asked"]) == ("Running", "cancel")
    await worker.ack(claimed, AckKind.CANCEL)
    assert len(await queue.audit()) == 1, "that it ended so is the worker's doing"


async def test_what_is_refused_comes_too_late_or_is_so_already_is_no_act(
    queue: Queue, worker: TestWorker
) -> None:
    done = new_job()
    await queue.enqueue([done])
    await worker.ack(await worker.one())
    waits = new_job(suspend=True)
    await queue.enqueue([waits])
    assert not await queue.retry(done.uid, ANNA)
    assert await queue.cancel(done.uid, ANNA) is None
    assert await queue.cancel(uuid4(), ANNA) is None
    assert not await queue.retry(waits.uid, ANNA)
    await queue.suspend(waits.uid, ANNA)
    await queue.reprioritise(waits.uid, waits.priority, ANNA)
    await queue.set_max_attempts(waits.uid, waits.max_attempts, ANNA)
    assert await queue.answer(waits.uid, InputAnswer("q", True), ANNA)
    await queue.set_queue("agents", paused=False, by=ANNA)
    assert not await queue.reset_model("default", "gemini", ANNA)
    assert await queue.audit() == []


async def test_the_row_comes_and_goes_with_its_act(queue: Queue, dsn: str) -> None:
    job = new_job()
    await queue.enqueue([job])
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("select agentjobs.control(%s, 'cancel')", (job.uid,))
        assert await queue.audit() == []
        await conn.rollback()
        assert await queue.audit() == []
        await conn.execute("select agentjobs.control(%s, 'cancel')", (job.uid,))
        await conn.commit()
    assert (await only(queue)).source == "sql"


async def test_of_two_who_cancel_at_once_one_did_it(queue: Queue) -> None:
    jobs = [new_job() for _ in range(20)]
    await queue.enqueue(jobs)
    both = [queue.cancel(job.uid, Act(name)) for job in jobs for name in ("anna", "bert")]
    assert sorted(map(str, await asyncio.gather(*both))) == ["Cancelled"] * 20 + ["None"] * 20
    assert sorted(row.uid for row in await queue.audit() if row.uid) == sorted(job.uid for job in jobs)


@pytest.mark.parametrize(
    "actor", ["", "\x00", "a\ud800b", "x" * 10_000, "'; drop table audit; --", "<script>"]
)
async def test_an_actors_words_are_data_and_bounded(queue: Queue, actor: str) -> None:
    job = new_job()
    await queue.enqueue([job])
    await queue.cancel(job.uid, Act(actor, reason=actor * 2, source=actor))
    row = await only(queue)
    assert (len(row.actor) <= 256, len(row.reason) <= 1024, len(row.source) <= 32) == (True, True, True)


async def test_an_act_that_names_another_verb_is_refused(queue: Queue) -> None:
    job = new_job()
    await queue.enqueue([job])
    with pytest.raises(ValueError, match=r"Act.verb: 'retry': this call does 'cancel'"):
        await queue.cancel(job.uid, Act("anna", "retry"))
    assert (await shown(queue, job)).state is State.QUEUED


# -- answers, queues, models, schedules ------------------------------------------------------------


async def test_an_answer_names_the_question_and_the_tool_and_no_text_of_the_call(
    queue: Queue, worker: TestWorker
) -> None:
    job = await asked(queue, worker, "q1", "q2")
    assert await queue.answer(job.uid, InputAnswer("q1", True), ANNA) == ""
    said = InputResponse("v", InputAnswer("q2", False, "too much", by="bert"))
    assert await queue.respond({job.uid: said}) == {job.uid: ""}
    second, first = await queue.audit(uid=job.uid)
    assert (first.verb, first.actor, first.source) == ("approve", "anna", "web")
    assert first.before is not None
    assert first.after is not None
    assert (first.before["question"], first.before["tool"]) == ("q1", "tool-q1")
    assert (first.after["question"], first.after["state"]) == ("q2", "InputRequired")
    assert (second.verb, second.actor, second.reason, second.source) == (
        "reject",
        "bert",
        "too much",
        "object",
    )
    assert second.after is not None
    assert second.after["state"] == "Queued"
    assert "bob" not in f"{first} {second}"


async def test_a_queue_has_a_row_for_each_thing_that_was_set(queue: Queue) -> None:
    await queue.set_queue("fast", paused=True, by="anna", reason="a storm")
    await queue.set_queue("fast", paused=True, max_running=3, by=ANNA)
    await queue.set_queue("fast", paused=False, by=Act("bert", "unpause"))
    rows = await queue.audit(queue="fast")
    assert [(r.verb, r.actor, r.before, r.after) for r in reversed(rows)] == [
        ("pause", "anna", {"paused": False}, {"paused": True}),
        ("limit", "anna", {"maxRunning": None}, {"maxRunning": 3}),
        ("unpause", "bert", {"paused": True}, {"paused": False}),
    ]
    assert {(r.namespace, r.name) for r in rows} == {("", "fast")}
    assert rows[-1].reason == "a storm"


async def test_who_pauses_a_queue_that_is_paused_has_done_nothing_and_takes_nobodys_place(
    queue: Queue,
) -> None:
    await queue.set_queue("agents", paused=True, by="anna", reason="deploy")
    await queue.set_queue("agents", paused=True, by="bert", reason="mine")
    row = await only(queue)
    assert (row.verb, row.actor, row.reason) == ("pause", "anna", "deploy")
    (state,) = [one for one in await queue.queues() if one.name == "agents"]
    assert (state.paused_by, state.paused_reason) == ("anna", "deploy")


async def test_a_reset_model_has_its_row(queue: Queue, dsn: str) -> None:
    await sql(
        dsn,
        "insert into model_breaker (pool, model, kind, failures, since, failed_at, probe_at)"
        " values ('default', 'gemini', 'u', 5, now(), now(), now())",
    )
    assert await queue.reset_model("default", "gemini", ANNA)
    row = await only(queue)
    assert (row.verb, row.name, row.actor, row.after) == ("reset-model", "gemini", "anna", None)
    assert row.before == {"pool": "default", "failures": 5, "reason": "ModelUnavailable"}


@pytest.mark.parametrize("who", ["anna", ""])
async def test_a_schedules_run_now_has_a_row_and_its_ticks_have_none(queue: Queue, who: str) -> None:
    now = datetime.now(UTC)
    uid, claimant = uuid4(), uuid4()
    await queue.save_schedules(
        [SeenSchedule(uid, "c", "team", "nightly", 1, "* * * * *", now, None, True, False)], now
    )
    said = AnnotatedAct("k", Act(who, "run-now", source="kubectl")) if who else None
    version = (await queue.decide_schedules(claimant, []))[1].rows
    rows = (await queue.save_schedules([], now)).rows
    assert not version
    assert not rows
    ((stored,),) = await sql_versions(queue, uid)
    decided, _ = await queue.decide_schedules(
        claimant,
        [
            ScheduleDecision(
                uid, stored, run_handled="1", child="nightly-manual-1", tick=now, manual=True, act=said
            )
        ],
    )
    assert decided == {uid}
    await queue.decide_schedules(
        claimant, [ScheduleDecision(uid, stored + 1, last_tick=now, child="nightly-1", tick=now)]
    )
    row = await only(queue)
    assert (row.verb, row.namespace, row.name, row.uid, row.actor) == ("run-now", "team", "nightly", uid, who)
    assert (row.after, row.source) == ({"child": "nightly-manual-1"}, "kubectl" if who else "object")


async def test_a_schedule_that_is_suspended_or_resumed_has_a_row_that_names_who_wrote_that_very_change(
    queue: Queue,
) -> None:
    now, uid = datetime.now(UTC), uuid4()

    async def seen(generation: int, suspended: bool, act: AnnotatedAct | None = None) -> None:
        one = SeenSchedule(
            uid, "c", "team", "nightly", generation, "* * * * *", now, None, True, suspended, act=act
        )
        await queue.save_schedules([one], now)

    def annotated(key: str, verb: str) -> AnnotatedAct:
        return AnnotatedAct(key, Act("anna", verb, "too dear", "kubectl"))

    first, second, third = annotated("1", "suspend"), annotated("2", "resume"), annotated("3", "suspend")
    await seen(1, False)
    await seen(2, True, first)
    await seen(2, True, first)  # the same once more, as after a sweep
    await seen(3, False, first)  # by somebody who leaves the annotation as it was
    await seen(4, True, first)  # so does this one: the annotation has had its act
    await seen(4, True, second)  # an annotation without its change is spent by being seen
    await seen(5, False, second)
    await seen(6, False, third)  # another change: no act of a person's here
    await seen(5, True, third)  # older than the row
    rows = list(reversed(await queue.audit()))
    assert [(row.verb, row.actor, row.reason, row.source) for row in rows] == [
        ("suspend", "anna", "too dear", "kubectl"),
        ("resume", "", "", "object"),
        ("suspend", "", "", "object"),
        ("resume", "", "", "object"),
    ]
    assert {(row.namespace, row.name, row.uid) for row in rows} == {("team", "nightly", uid)}
    assert (rows[0].before, rows[0].after) == ({"suspended": False}, {"suspended": True})


async def sql_versions(queue: Queue, uid: UUID) -> list[tuple[Any, ...]]:
    return await queue._db.fetch("select version from agentjobs.schedule where uid = %s", (uid,))


# -- objects ---------------------------------------------------------------------------------------


def said(verb: str, key: str = "k1", **more: Any) -> AnnotatedAct:
    return AnnotatedAct(key, Act("anna", verb, "because", "kubectl"), **more)


@pytest.mark.parametrize(
    ("verb", "fields"),
    [
        ("suspend", {"suspend": True}),
        ("cancel", {"cancel": True}),
        ("reprioritise", {"priority": 0}),
        ("set-max-attempts", {"max_attempts": 9}),
        ("delete", {"gone": True}),
    ],
)
@pytest.mark.parametrize("named", [True, False], ids=["with the annotation", "without"])
async def test_a_change_of_an_object_has_a_row_as_its_annotation_says(
    queue: Queue, verb: str, fields: dict[str, Any], named: bool
) -> None:
    seen = change()
    await queue.apply([seen])
    later = change(seen.uid, 2, act=said(verb) if named else None, **fields)
    await queue.apply([later])
    await queue.apply([later])
    row = await only(queue)
    assert (row.verb, row.uid, row.namespace, row.name) == (verb, seen.uid, "team", "a")
    assert (row.actor, row.reason, row.source) == (
        ("anna", "because", "kubectl") if named else ("", "", "object")
    )
    assert row.before != row.after


async def test_a_resume_and_a_retry_of_an_object_have_theirs(queue: Queue, worker: TestWorker) -> None:
    seen = change(suspend=True)
    await queue.apply([seen])
    await queue.apply([change(seen.uid, 2, act=said("resume", "k1"))])
    await worker.ack(await worker.one(), AckKind.FAIL, reason="Because")
    await queue.apply([change(seen.uid, 2, retry_requested="now", act=said("retry", "k2"))])
    await queue.apply([change(seen.uid, 2, retry_requested="now", act=said("retry", "k2"))])
    retry, resume = await queue.audit(uid=seen.uid)
    assert [(row.verb, row.actor) for row in (resume, retry)] == [("resume", "anna"), ("retry", "anna")]
    assert retry.after is not None
    assert (retry.after["state"], retry.after["round"]) == ("Queued", 2)


async def test_a_retry_of_an_object_that_is_refused_is_no_act(queue: Queue, worker: TestWorker) -> None:
    seen = change()
    await queue.apply([seen])
    await worker.ack(await worker.one())
    await queue.apply([change(seen.uid, retry_requested="now", act=said("retry"))])
    assert await queue.audit() == []


async def test_an_annotation_stands_for_one_change_and_for_the_act_that_it_names(queue: Queue) -> None:
    """It stays at the object, and somebody else's next change does not bear it."""
    seen = change()
    await queue.apply([seen])
    stale = said("suspend")
    await queue.apply([change(seen.uid, 2, suspend=True, act=stale)])
    await queue.apply([change(seen.uid, 3, act=stale)])
    await queue.apply([change(seen.uid, 4, suspend=True, act=stale)])
    await queue.apply([change(seen.uid, 5, priority=0, suspend=True, act=said("resume", "k2"))])
    rows = await queue.audit(uid=seen.uid)
    assert [(row.verb, row.actor) for row in reversed(rows)] == [
        ("suspend", "anna"),
        ("resume", ""),
        ("suspend", ""),
        ("reprioritise", ""),
    ]


async def test_an_annotation_without_a_change_is_spent_by_being_seen(queue: Queue) -> None:
    seen = change()
    await queue.apply([seen])
    await queue.apply([change(seen.uid, act=said("suspend"))])
    assert await queue.audit() == []
    await queue.apply([change(seen.uid, 2, suspend=True, act=said("suspend"))])
    assert (await only(queue)).actor == ""


async def test_a_delete_bears_the_name_that_was_written_before_it(queue: Queue) -> None:
    seen = change()
    await queue.apply([seen])
    await queue.apply([change(seen.uid, act=said("delete"))])
    await queue.apply([change(seen.uid, gone=True, act=said("delete"))])
    row = await only(queue)
    assert (row.verb, row.actor) == ("delete", "anna")


async def test_an_unreadable_annotation_is_nobodys(queue: Queue) -> None:
    seen = change()
    await queue.apply([seen])
    await queue.apply([change(seen.uid, 2, suspend=True, act=AnnotatedAct("k", None))])
    assert (await only(queue)).actor == ""


@pytest.mark.parametrize("verb", ["create", "run-again", "retry"])
async def test_a_new_object_that_says_so_has_a_row(queue: Queue, verb: str) -> None:
    seen = change(act=said(verb, origin="first" if verb == "run-again" else ""))
    await queue.apply([seen, change(name="plain")])
    await queue.apply([seen])
    if verb == "retry":  # a restored object still has it
        assert await queue.audit() == []
        return
    row = await only(queue)
    assert (row.verb, row.actor, row.uid) == (verb, "anna", seen.uid)
    assert row.before == ({"origin": "first"} if verb == "run-again" else None)
    assert row.after is not None
    assert row.after["state"] == "Queued"


async def test_what_the_database_learns_anew_is_nobodys_act(queue: Queue) -> None:
    """The end of a job that it lost, an object that intake lists again, a queue that is allowed again."""
    end = ImportedEnd(State.COMPLETE, "", "", datetime.now(UTC), {"state": "Complete"})
    seen = change(imported=end, act=said("run-again"))
    await queue.apply([seen])
    await queue.apply([change(seen.uid, 2)])
    held = change(name="held", unaccepted=("QueueNotAllowed", "not for you"))
    await queue.apply([held])
    await queue.apply([change(held.uid, name="held")])
    assert (await shown(queue, held)).state is State.QUEUED
    assert await queue.audit() == []


# -- many at once ----------------------------------------------------------------------------------


async def test_a_thousand_failed_jobs_are_retried_spread_with_a_row_each(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    jobs = [new_job() for _ in range(1000)]
    await queue.enqueue(jobs)
    slots = {"agents": 1000}
    while claimed := list((await worker.step(slots=slots)).jobs):
        await worker.step([Ack(job.id, job.token, AckKind.FAIL, reason="Because") for job in claimed], {})
    uids = [job.uid for job in jobs]
    told = await queue.act_on_jobs(uids, Verb.RETRY, ANNA, spread_seconds=600)
    assert (told.done, told.finished, told.refused) == (1000, 0, {})
    assert await sql(dsn, "select count(*), count(distinct uid), min(actor), min(verb) from audit") == [
        (1000, 1000, "anna", "retry")
    ]
    ((least, most, early),) = await sql(
        dsn,
        "select extract(epoch from min(run_at) - min(since)), extract(epoch from max(run_at) - min(since)),"
        " count(*) filter (where run_at < since + interval '5 minutes') from waiting where state = 'l'",
    )
    assert 0 <= least < 60
    assert 540 < most < 660
    assert 400 < early < 600
    again = await queue.act_on_jobs(uids, Verb.RETRY, ANNA, spread_seconds=600)
    assert (again.done, again.refused) == (0, {"it has not finished": 1000})
    assert await sql(dsn, "select count(*) from audit") == [(1000,)]
    await pass_time(dsn, 700)
    assert (await queue.tick(worker.id)).promoted == 1000


async def test_the_same_bulk_again_does_what_is_left(queue: Queue, worker: TestWorker) -> None:
    jobs = [new_job() for _ in range(5)]
    await queue.enqueue(jobs)
    await worker.ack(await worker.one())
    await queue.cancel(jobs[4].uid)
    uids = [job.uid for job in jobs]
    told = await queue.act_on_jobs(uids, Verb.CANCEL, ANNA)
    assert (told.done, told.finished, told.refused) == (3, 2, {})
    assert (await queue.act_on_jobs([*uids, uuid4()], Verb.CANCEL, ANNA)).finished == 6


async def test_a_bulk_by_a_filter_takes_what_the_list_shows_in_slices(
    queue: Queue, worker: TestWorker
) -> None:
    wanted = [new_job(payload={"v": 1, "userID": "max"}) for _ in range(7)]
    mirrored = mirrored_job(payload={"v": 1, "userID": "max"})
    others = [new_job(payload={"v": 1, "userID": "ann"}), mirrored]
    await queue.enqueue([*wanted, *others])
    for job in await worker.claim():
        await worker.ack(job, AckKind.FAIL, reason="Because")
    which = JobFilter(states=frozenset({State.FAILED}), user="max")
    told = await queue.act_on(which, Verb.RETRY, ANNA, slice=3, spread_seconds=60)
    assert (told.done, told.finished, told.refused) == (7, 0, {})
    assert {row.uid for row in await queue.audit()} == {job.uid for job in wanted}
    assert (await shown(queue, mirrored)).state is State.FAILED
    assert (await queue.act_on(which, Verb.RETRY, ANNA, slice=3)).done == 0
    with pytest.raises(ValueError, match="through the Kubernetes API"):
        await queue.act_on(JobFilter(namespace="team"), Verb.RETRY, ANNA)


async def test_a_bulk_leaves_jobs_with_an_object_alone(queue: Queue) -> None:
    mirrored, plain = mirrored_job(), new_job()
    await queue.enqueue([mirrored, plain])
    told = await queue.act_on_jobs([mirrored.uid, plain.uid], Verb.REPRIORITISE, ANNA, value=0)
    assert told.done == 1
    assert told.refused == {"it has an object, through which it is changed": 1}
    assert (await shown(queue, mirrored)).priority == 2
    assert (await shown(queue, plain)).priority == 0


async def test_a_bulk_of_a_session_gives_it_to_the_next_in_line(queue: Queue, worker: TestWorker) -> None:
    jobs = [new_job(session="s") for _ in range(4)]
    await queue.enqueue(jobs)
    await queue.admit()
    told = await queue.act_on_jobs([job.uid for job in jobs[:3]], "cancel", ANNA)
    assert told.done == 3
    assert (await worker.one()).uid == jobs[3].uid


@pytest.mark.parametrize("verb", ["approve", "delete", "erase", "pause", ""])
async def test_a_bulk_knows_the_acts_of_a_job_alone(queue: Queue, verb: str) -> None:
    with pytest.raises(ValueError, match=r"verb: .* one of cancel, suspend"):
        await queue.act_on_jobs([uuid4()], verb, ANNA)


async def test_two_bulks_in_opposite_orders_do_not_hurt_each_other(queue: Queue) -> None:
    jobs = [new_job(session=f"s{n % 3}") for n in range(200)]
    await queue.enqueue(jobs)
    await queue.admit()
    uids = [job.uid for job in jobs]
    one, two = await asyncio.gather(
        queue.act_on_jobs(uids, "suspend", Act("anna")), queue.act_on_jobs(uids[::-1], "cancel", Act("bert"))
    )
    assert two.done == 200
    assert one.done + one.finished == 200
    assert len(await queue.audit(limit=1000)) == 200 + one.done


# -- reading and forgetting ------------------------------------------------------------------------


async def test_pages_are_by_namespace_queue_and_job_the_newest_first(queue: Queue) -> None:
    jobs = [mirrored_job(f"j{n}", f"team-{n % 2}", queue=f"q{n % 3}") for n in range(12)] + [new_job()]
    await queue.enqueue(jobs)
    for job in jobs:
        await queue.cancel(job.uid, ANNA)
    rows = await queue.audit()
    assert [row.uid for row in rows] == [job.uid for job in reversed(jobs)]
    paged: list[AuditRow] = []
    while page := await queue.audit(before=paged[-1].id if paged else None, limit=5):
        paged += page
    assert paged == rows
    for namespace in ("team-0", "team-1", "", "nowhere"):
        assert await queue.audit(namespace) == [row for row in rows if row.namespace == namespace]
        for name in ("q0", "q2", "none"):
            wanted = [row for row in rows if (row.namespace, row.queue) == (namespace, name)]
            assert await queue.audit(namespace, name) == wanted
    assert await queue.audit(queue="q1") == [row for row in rows if row.queue == "q1"]
    assert [row.name for row in await queue.audit(uid=jobs[3].uid)] == ["j3"]
    assert await queue.audit("team-0", uid=jobs[3].uid) == []


async def test_rows_outlive_their_jobs_and_have_a_retention_of_their_own(queue: Queue, dsn: str) -> None:
    job = new_job()
    await queue.enqueue([job])
    await queue.cancel(job.uid, ANNA)
    await pass_time(dsn, 30 * DAY)
    assert await queue.prune() == 1
    assert await queue.show(job.uid) is None
    assert (await only(queue)).uid == job.uid
    await pass_time(dsn, 380 * DAY)
    await queue.set_queue("agents", paused=True, by=ANNA)
    await queue.prune()
    assert [row.verb for row in await queue.audit()] == ["pause"]


async def test_retention_takes_a_batch_of_rows_at_a_time(queue: Queue, dsn: str) -> None:
    await sql(
        dsn,
        "insert into audit (at, actor, verb, namespace, name, reason, source, role)"
        " select now() - interval '500 days', 'anna', 'pause', '', '', '', '', session_user from generate_series(1, 250)",
    )
    left = []
    for _ in range(4):
        await sql(dsn, "select retention('7 days', 100, '400 days')")
        left += await sql(dsn, "select count(*) from audit")
    assert left == [(150,), (50,), (0,), (0,)], "the next batch does not wait for the minute"
