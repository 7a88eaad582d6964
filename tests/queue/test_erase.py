"""Erasing one person: what was said goes, what has happened stays, and nobody else loses a word."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from agentjobs.agents.sessions.erase import erase_sessions
from agentjobs.api.payload import session_key
from agentjobs.queue.audit import Act
from agentjobs.queue.erasure import Erased
from agentjobs.queue.errors import JobRejected
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, ChangeOutcome, InputAnswer, NewJob, State
from agentjobs.values.requests import InputRequest
from agentjobs.values.usage import Usage
from queue_builders import TestWorker, change, mirrored_job, new_job, pass_time, shown, sql, until
from session_stores import OURS, opened, said

SECRET = "geheimnis"
USER = f"max/{SECRET}@example.com"
BY = Act("anna", reason="request 17")


def payload(user: str = USER, namespace: str = "team", **more: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "namespace": namespace,
        "name": "refund",
        "agent": {"inline": {"model": "gemini", "instruction": SECRET}},
        "message": f"I am {SECRET}",
        "state": {"name": SECRET},
        "userID": user,
        "appName": "app",
        "sessionID": f"talk-{SECRET}",
        "schedule": {"uid": "1-2", "name": "nightly", "time": ""},
        **more,
    }


def job(user: str = USER, mirrored: bool = False, **fields: Any) -> NewJob:
    make: Callable[..., NewJob] = mirrored_job if mirrored else new_job
    session = session_key("team", "app", user, "talk")
    return make(**{"payload": payload(user), "session": session, **fields})


async def everything(dsn: str) -> str:
    """Every row of every table of the schema."""
    tables = await sql(
        dsn,
        "select oid::regclass::text from pg_class where relnamespace = 'agentjobs'::regnamespace and relkind = 'r'",
    )
    assert len(tables) > 15
    found = [await sql(dsn, f"select coalesce(json_agg(t)::text, '') from {table} t") for (table,) in tables]
    return "\n".join(str(rows[0][0]) for rows in found)


async def finish(worker: TestWorker, kind: AckKind = AckKind.COMPLETE, **more: Any) -> None:
    await worker.queue.admit()
    texts = {"message": SECRET, "log_tail": SECRET, "session_id": SECRET, "usage": Usage(1, 2, 3, 4, 5)}
    result = {"result": SECRET} if kind is AckKind.COMPLETE else {}
    await worker.ack(await worker.one(), kind, **texts, **result, **more)


async def ran(queue: Queue, worker: TestWorker, **fields: Any) -> NewJob:
    """One that was retried, asked and answered, and has ended with texts everywhere."""
    done = job(**fields)
    await queue.enqueue([done])
    await finish(worker, AckKind.RETRY, reason="Because")
    request = InputRequest("q", "refund", json.dumps({"to": SECRET}), hint=SECRET)
    await finish(worker, AckKind.ASK, requests=(request,))
    await queue.answer(done.uid, InputAnswer("q", True, SECRET, {"iban": SECRET}, "bert"))
    await finish(worker)
    return done


async def test_no_text_of_the_person_is_left_and_all_numbers_are(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    done = await ran(queue, worker)
    before = await shown(queue, done)
    assert SECRET in await everything(dsn)
    told = await queue.erase("team", USER, BY)
    assert (told.jobs, told.cancelled, told.running, told.objects) == (1, 0, 0, [])
    assert SECRET not in await everything(dsn)
    after = await shown(queue, done)
    kept = (
        "state",
        "reason",
        "attempts",
        "run",
        "usage",
        "started_at",
        "finished_at",
        "created_at",
        "worker",
        "queue",
    )
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert [(a.outcome, a.reason, a.usage) for a in after.attempts_log] == [
        (a.outcome, a.reason, a.usage) for a in before.attempts_log
    ]
    assert after.payload == {
        "v": 2,
        "namespace": "team",
        "name": "refund",
        "schedule": {"uid": "1-2", "name": "nightly", "time": ""},
        "agent": {"inline": {"model": "gemini"}},
    }, "which agent ran, and for which schedule"


async def test_an_erasure_has_one_row_that_names_nobody_and_takes_the_reasons_of_others(
    queue: Queue, worker: TestWorker
) -> None:
    done = await ran(queue, worker)
    told = await queue.erase("team", USER, BY)
    (row,) = await queue.audit(uid=told.id)
    assert (row.verb, row.namespace, row.name, row.actor, row.reason) == (
        "erase",
        "team",
        "",
        "anna",
        "request 17",
    )
    assert row.after == {"jobs": 1, "cancelled": 0, "running": 0, "done": True}
    (approval,) = await queue.audit(uid=done.uid)
    assert (approval.verb, approval.actor, approval.reason) == ("approve", "bert", "")


async def test_nobody_else_loses_a_word(queue: Queue, worker: TestWorker) -> None:
    others = [
        new_job(payload=payload("max")),
        new_job(payload=payload(namespace="other")),
        new_job(payload={"v": 1, "message": "of nobody"}),
        new_job(payload={"userID": [USER], "namespace": "team"}),
    ]
    await queue.enqueue(others)
    for _ in others:
        await finish(worker)
    before = [await shown(queue, other) for other in others]
    assert (await queue.erase("team", USER, BY)).jobs == 0
    assert [await shown(queue, other) for other in others] == before


async def test_a_job_without_an_object_is_where_its_payload_says_and_one_with_an_object_where_that_is(
    queue: Queue, worker: TestWorker
) -> None:
    bare, there = job(), mirrored_job("a", "other", payload=payload())
    await queue.enqueue([bare, there])
    for _ in range(2):
        await finish(worker)
    assert (await queue.erase("team", USER, BY)).jobs == 1
    assert (await shown(queue, bare)).result is None
    assert (await shown(queue, there)).result == SECRET
    assert (await queue.erase("other", USER, BY)).objects == [("other", "a")]
    assert (await shown(queue, there)).result is None


async def test_what_the_payload_does_not_say_is_what_the_worker_takes(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([new_job(payload={"v": 1, "message": "hello"})])
    await finish(worker)
    assert (await queue.erase("default", "system", BY)).jobs == 1


@pytest.mark.parametrize("kind", ["queued", "scheduled", "suspended", "asked", "behind"])
async def test_a_job_that_waits_is_cancelled_for_it(
    queue: Queue, worker: TestWorker, dsn: str, kind: str
) -> None:
    other = new_job(session=session_key("team", "app", USER, "talk"), payload=payload("max"))
    if kind == "behind":
        await queue.enqueue([other])
        await queue.admit()
    waits = job(suspend=kind == "suspended")
    await queue.enqueue([waits])
    if kind == "asked":
        await finish(worker, AckKind.ASK, requests=(InputRequest("q", "refund", SECRET),))
    if kind == "scheduled":
        await finish(worker, AckKind.RETRY, delay_seconds=600)
    told = await queue.erase("team", USER, BY)
    assert (told.jobs, told.cancelled) == (1, 1)
    view = await shown(queue, waits)
    assert (view.state, view.message, view.session) == (State.CANCELLED, "", None)
    if kind != "behind":
        assert SECRET not in await everything(dsn)
    assert not await queue.retry(waits.uid)
    rows = await queue.audit(uid=waits.uid)
    assert [(row.verb, row.actor, row.reason) for row in rows] == [("cancel", "anna", "")]


async def test_a_session_that_loses_its_holder_goes_on(queue: Queue, worker: TestWorker) -> None:
    first = job()
    second = job("other", session=first.session)
    await queue.enqueue([first, second])
    await queue.admit()
    await queue.erase("team", USER, BY)
    assert (await worker.one()).uid == second.uid


async def test_a_job_that_runs_is_asked_to_stop_and_erased_by_the_next_call(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    runs = job()
    await queue.enqueue([runs])
    await queue.admit()
    claimed = await worker.one()
    told = await queue.erase("team", USER, BY)
    assert (told.jobs, told.running) == (0, 1)
    assert (await worker.beat()).controls == {(claimed.id, claimed.token): "cancel"}
    await worker.ack(claimed, AckKind.COMPLETE, result=SECRET, log_tail=SECRET)
    told = await queue.erase("team", USER, BY)
    assert (told.jobs, told.running) == (1, 0)
    assert SECRET not in await everything(dsn)
    assert (await queue.erase("team", USER, BY)).jobs == 0, "again does what is left: nothing"
    assert len(await queue.audit()) == 3 + 1, "three erasures, one job that was asked to stop"


async def test_an_erased_job_cannot_run_again_by_whatever_way(queue: Queue, worker: TestWorker) -> None:
    seen = change(payload=payload())
    await queue.apply([seen])
    await finish(worker, AckKind.FAIL)
    told = await queue.erase("team", USER, BY)
    assert told.objects == [("team", "a")], "the object itself is for its owner to delete"
    answer = (await queue.apply([change(seen.uid, retry_requested="now", payload=payload())]))[seen.uid]
    assert (answer.outcome, answer.detail) == (ChangeOutcome.RETRY_REFUSED, "its payload was erased")
    await queue.apply([change(seen.uid, 2, payload=payload(), priority=0)])
    assert await worker.claim(10) == []
    (entry,) = await queue.outbox(10, 0)
    assert (entry.job.state, entry.job.result, entry.job.message) == (State.FAILED, None, "")


async def test_of_a_job_past_retention_the_session_is_erased(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    gone = job(mirrored=True)
    other = job("max", mirrored=True)
    await queue.enqueue([gone, other])
    await finish(worker)
    await finish(worker)
    await pass_time(dsn, 30 * 86400)
    await queue.prune()
    assert (await queue.erase("team", USER, BY)).jobs == 1
    assert SECRET not in await everything(dsn)
    assert (await shown(queue, other)).session == other.session


async def test_a_payload_that_cannot_be_read_stops_no_erasure(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    """A caller may store by SQL what Postgres takes and does not read."""
    odd = new_job()
    mine = new_job()
    plain = job()
    await queue.enqueue([odd, mine, plain])
    for what, text in ((odd, r'{"v": 1, "userID": "\ud800", "message": "\u0000"}'),
                       (mine, json.dumps(payload())[:-1] + r', "more": "\u0000"}')):  # fmt: skip
        await sql(dsn, "update job set payload = %s::json where uid = %s", text, what.uid)
    for _ in range(3):
        await finish(worker)
    await sql(dsn, "update outcome set result = null, message = null, log_tail = null, session_id = null")
    assert (await queue.erase("team", USER, BY)).jobs == 2
    assert SECRET not in await everything(dsn)


async def test_it_goes_through_all_jobs_in_slices_and_can_be_cut_off(
    queue: Queue, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentjobs.queue.numbers.ERASE_LOOK", 10)
    await queue.enqueue([job(user=USER if n % 2 else "other", session=None) for n in range(55)])
    first = asyncio.create_task(queue.erase("team", USER, BY))
    await until(lambda: sql(dsn, "select 1 from job where erased limit 1"))
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    ((erased,),) = await sql(dsn, "select count(*) from job where erased")
    told = await queue.erase("team", USER, BY)
    assert told.jobs == 27 - erased
    assert await sql(dsn, "select count(*) from job where erased") == [(27,)]
    done = [row.after for row in await queue.audit(namespace="team") if row.verb == "erase"]
    assert done[0] == {"jobs": told.jobs, "cancelled": told.cancelled, "running": 0, "done": True}


async def test_one_that_takes_too_long_goes_on_where_it_was_for_the_same_person_and_actor(
    queue: Queue, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentjobs.queue.numbers.ERASE_LOOK", 10)
    await queue.enqueue([job(user=USER if n % 2 else "other", session=None) for n in range(55)])
    told = await queue.erase("team", USER, BY, seconds=0)
    assert (told.jobs, told.cancelled) == (5, 5)
    assert told.next is not None
    for namespace, user, by in (("team", "other", BY), ("other", USER, BY), ("team", USER, Act("bert"))):
        with pytest.raises(JobRejected, match="begin anew"):
            await queue.erase(namespace, user, by, resume=told.next)
    for wrong in ("", "x", str(told.id), Erased(uuid4()).token("team", USER)):
        with pytest.raises(JobRejected, match="begin anew"):
            await queue.erase("team", USER, BY, resume=wrong)
    # it looks at none of the jobs that it has looked at
    await sql(dsn, "update job set erased = false where id <= (select min(id) + 9 from job)")
    calls = 1
    while told.next is not None:
        told, calls = await queue.erase("team", USER, BY, seconds=0, resume=told.next), calls + 1
    assert (told.jobs, told.cancelled, calls) == (27, 27, 6)
    assert await sql(dsn, "select count(*) from job where erased") == [(22,)]
    (row,) = await queue.audit(uid=told.id)
    assert row.after == {"jobs": 27, "cancelled": 27, "running": 0, "done": True}
    again = await queue.erase("team", USER, BY, resume=told.token("team", USER))
    assert again == told, "one that is done does nothing, and tells the same"


@pytest.mark.parametrize(("namespace", "user"), [("", USER), ("team", ""), ("", "")])
async def test_nobody_is_erased_by_an_empty_name(queue: Queue, namespace: str, user: str) -> None:
    with pytest.raises(ValueError, match="a text is wanted"):
        await queue.erase(namespace, user, BY)
    with pytest.raises(ValueError, match="a text is wanted"):
        await erase_sessions("postgresql://nowhere", namespace, user)


# -- conversations ---------------------------------------------------------------------------------


async def talk(dsn: str, app: str, user: str, *ids: str) -> None:
    async with opened(OURS, dsn) as service:
        for id_ in ids:
            session = await service.create_session(
                app_name=app, user_id=user, session_id=id_, state={"user:name": SECRET, "x": SECRET}
            )
            await service.append_event(session, said(SECRET))


async def left(dsn: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        return await (
            await conn.execute(
                "select 'session', app_name, user_id, count(*) from adk.sessions group by 2, 3 union all"
                " select 'event', app_name, user_id, count(*) from adk.events group by 2, 3 union all"
                " select 'state', app_name, user_id, count(*) from adk.user_states group by 2, 3 order by 1, 2, 3"
            )
        ).fetchall()


async def test_a_persons_conversations_go_with_events_and_state_and_nobody_elses(dsn: str) -> None:
    await talk(dsn, "team/app", USER, *(f"s{n}" for n in range(45)))
    await talk(dsn, "team/other", USER, "s")
    others = [("team/app", "max"), ("team2/app", USER), ("tea", USER), ("team_app/x", USER)]
    for app, user in others:
        await talk(dsn, app, user, "s")
    assert await erase_sessions(dsn, "team", USER) == 46
    rows = await left(dsn)
    assert sorted({(app, user) for _, app, user, _ in rows}) == sorted(others)
    assert {n for *_, n in rows} == {1}
    assert await erase_sessions(dsn, "team", USER) == 0


async def test_one_app_alone_may_be_erased(dsn: str) -> None:
    await talk(dsn, "team/app", USER, "s")
    await talk(dsn, "team/other", USER, "s")
    assert await erase_sessions(dsn, "team", USER, app="app") == 1
    assert {app for _, app, _, _ in await left(dsn)} == {"team/other"}


async def test_without_a_conversation_nothing_is_to_be_erased(empty_dsn: str) -> None:
    assert await erase_sessions(empty_dsn, "team", USER) == 0


async def test_a_fence_names_the_person_no_more(dsn: str) -> None:
    await talk(dsn, "team/app", USER, "s")
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute(
            "insert into adk.fence (app_name, user_id, session_id, job, run) values ('team/app', %s, 's', 'j', 1)",
            (USER,),
        )
        await erase_sessions(dsn, "team", USER)
        assert await (await conn.execute("select count(*) from adk.fence")).fetchall() == [(0,)]
