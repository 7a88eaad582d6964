"""The queue for Python programs: a job is awaited until its end, whatever happens meanwhile, and others cost nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

import agentjobs
from agentjobs import (
    ActRefused,
    Handle,
    InvalidJob,
    Job,
    JobCancelled,
    JobFailed,
    JobGone,
    JobNotComplete,
    QueueUnavailable,
    State,
)
from agentjobs.client import ends
from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.queue.audit import Act
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind
from agentjobs.values.question_kinds import QuestionKind
from agentjobs.values.requests import InputRequest
from queue_builders import TestWorker, sql, until, waits_for_a_lock

HELLO = Job.module("my_agents.order", "Hello")
LONG = 60.0
SOON = 10.0
"""Long before the next look at all (RECHECK_SECONDS): what is heard within it was notified."""


@pytest.fixture
async def client(dsn: str) -> AsyncIterator[agentjobs.Queue]:
    async with await agentjobs.Queue.open(dsn, name="client") as opened:
        yield opened


async def listening(dsn: str) -> list[int]:
    """The backends of the client's listening connection."""
    rows = await sql(
        dsn,
        "select pid from pg_stat_activity where datname = current_database() and application_name = 'client-listen'",
    )
    return [pid for (pid,) in rows]


async def heard_and_looked(client: agentjobs.Queue, dsn: str, jobs: int = 1) -> None:
    """Until so many jobs are awaited, and their first looks are over: from here on only a notification tells their end soon."""

    async def both() -> bool:
        rows = await sql(dsn, "select count(*) from awaited")
        return rows[0][0] == jobs and len(await listening(dsn)) == 1

    await until(both)
    await asyncio.sleep(max(ends.FIRST_LOOKS_SECONDS) + 0.5)


async def finish(worker: TestWorker, kind: AckKind = AckKind.COMPLETE, **fields: Any) -> UUID:
    job = await worker.one()
    await worker.ack(job, kind, **fields)
    return job.uid


# enqueueing, awaiting -----------------------------------------------------------------------------------


async def test_an_awaited_job_gives_its_whole_answer(client: agentjobs.Queue, worker: TestWorker) -> None:
    handle = await client.enqueue(HELLO)
    assert handle.new
    waiting = asyncio.create_task(handle.result(LONG))
    await finish(worker, result="x" * 500_000)
    assert await waiting == "x" * 500_000
    assert await handle.result(LONG) == "x" * 500_000, "once it has ended, too"


async def test_the_end_is_notified_and_not_polled_for(
    client: agentjobs.Queue, worker: TestWorker, dsn: str
) -> None:
    handle = await client.enqueue(HELLO)
    waiting = asyncio.create_task(handle.result(LONG))
    await heard_and_looked(client, dsn)
    await finish(worker, result="done")
    async with asyncio.timeout(SOON):
        assert await waiting == "done"
    assert await sql(dsn, "select * from awaited") == [], "its row is gone"


async def test_a_list_is_enqueued_in_one_transaction_and_gives_handles_in_its_order(
    client: agentjobs.Queue, queue: Queue
) -> None:
    jobs = [Job.module("my_agents.order", f"number {n}") for n in range(5)]
    handles = await client.enqueue(jobs)
    for n, handle in enumerate(handles):
        view = await queue.show(handle.uid)
        assert view is not None
        assert view.payload is not None
        assert view.payload["message"] == f"number {n}"
    assert await client.enqueue([]) == []


FAILURES = [
    ({"kind": AckKind.FAIL, "reason": "AgentFailed", "message": "no such customer"}, JobFailed, State.FAILED, "AgentFailed"),
    ({"kind": AckKind.RETRY, "reason": "ToolFailed", "message": "no such customer"}, JobFailed, State.FAILED, "ToolFailed"),
    ({"kind": AckKind.CANCEL}, JobCancelled, State.CANCELLED, "Cancelled"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("ack", "error", "state", "reason"), FAILURES, ids=[reason for *_, reason in FAILURES]
)
async def test_another_end_is_an_error_with_reason_and_message(
    client: agentjobs.Queue,
    worker: TestWorker,
    ack: dict[str, Any],
    error: type[JobNotComplete],
    state: State,
    reason: str,
) -> None:
    handle = await client.enqueue(Job.module("my_agents.order", "Hello", max_attempts=1))
    job = await worker.one()
    if state is State.CANCELLED:
        assert await handle.cancel(by="anna")
    waiting = asyncio.create_task(handle.result(LONG))
    await worker.ack(job, **ack)
    with pytest.raises(error) as raised:
        await waiting
    assert (raised.value.state, raised.value.reason, raised.value.uid) == (state, reason, handle.uid)
    if "message" in ack:
        assert "no such customer" in raised.value.message
        assert f"job {handle.uid} is Failed: {reason}" in str(raised.value)
    assert (await handle.wait(LONG)).reason == reason, "which wait() does not raise"


async def test_a_timeout_is_a_timeout_error_and_the_job_goes_on(
    client: agentjobs.Queue, worker: TestWorker
) -> None:
    handle = await client.enqueue(HELLO)
    with pytest.raises(TimeoutError, match=f"job {handle.uid} has not ended within 0.1 s"):
        await handle.result(0.1)
    assert (await handle.status()).state is State.QUEUED
    await finish(worker)
    assert await handle.result(LONG) == "done"


async def test_status_and_attempts_tell_what_has_become_of_it(
    client: agentjobs.Queue, worker: TestWorker
) -> None:
    handle = await client.enqueue(HELLO)
    await finish(worker, AckKind.RETRY, reason="ToolFailed", message="away", log_tail="printed")
    status = await handle.status()
    assert (status.attempts, status.attempts_log) == (1, ())
    (attempt,) = await handle.attempts()
    assert (attempt.reason, attempt.message, attempt.log_tail) == ("ToolFailed", "away", "printed")


async def test_a_handle_is_found_again_by_its_uid(client: agentjobs.Queue, worker: TestWorker) -> None:
    uid = (await client.enqueue(HELLO)).uid
    await finish(worker)
    assert await client.handle(uid).result(LONG) == "done"
    assert await client.handle(str(uid)).result(LONG) == "done", "as a program has kept it"
    for nonsense in ("nonsense", "", None, 7):
        with pytest.raises(ValueError, match="uid: wants a job's uid, a UUID or its text, got"):
            client.handle(nonsense)  # type: ignore[arg-type]
    unknown = client.handle(uuid4())
    for call in (unknown.result(LONG), unknown.status(), unknown.attempts()):
        with pytest.raises(JobGone, match="it is not known"):
            await call
    assert not await unknown.cancel()


async def test_a_job_is_cancelled_retried_and_awaited_anew(
    client: agentjobs.Queue, worker: TestWorker, queue: Queue
) -> None:
    handle = await client.enqueue(HELLO)
    with pytest.raises(ActRefused, match="retry is refused: it has not finished"):
        await handle.retry()
    assert await handle.cancel(by="anna", reason="by mistake")
    assert not await handle.cancel()
    with pytest.raises(JobCancelled):
        await handle.result(LONG)
    await handle.retry(by="max")
    waiting = asyncio.create_task(handle.result(LONG))
    await finish(worker)
    assert await waiting == "done"
    with pytest.raises(ActRefused, match="it is Complete"):
        await handle.retry()
    with pytest.raises(ActRefused, match="not known"):
        await client.handle(uuid4()).retry()
    acts = [(row.actor, row.verb, row.reason) for row in await queue.audit(uid=handle.uid)]
    assert acts == [("max", "retry", ""), ("anna", "cancel", "by mistake")]


async def test_a_tools_question_is_answered(client: agentjobs.Queue, worker: TestWorker) -> None:
    handle = await client.enqueue(HELLO)
    with pytest.raises(ActRefused, match="it does not wait for input"):
        await handle.answer(True)
    questions = (InputRequest("q1", "refund"), InputRequest("q2", "refund"))
    await finish(worker, AckKind.ASK, requests=questions)
    asked = (await handle.status()).input_request
    assert asked is not None
    with pytest.raises(ActRefused, match="the question q1, not q2"):
        await handle.answer(True, question="q2")
    await handle.answer(True, question=asked.id, by="anna")
    await handle.answer(False, reason="too much", payload={"euros": 5})
    answers = (await worker.one()).payload["answers"]
    assert (answers["q1"]["approved"], answers["q1"]["by"]) == (True, "anna")
    assert (answers["q2"]["approved"], answers["q2"]["reason"]) == (False, "too much")


async def test_a_result_that_fits_is_given_to_a_long_running_tool(
    client: agentjobs.Queue, worker: TestWorker
) -> None:
    handle = await client.enqueue(HELLO)
    build = InputRequest("q1", "build", kind=QuestionKind.LONG_RUNNING, schema='{"type": "object"}')
    await finish(worker, AckKind.ASK, requests=(build,))
    with pytest.raises(ActRefused, match=r"payload is \[\]; an object is wanted"):
        await handle.answer(payload=[])
    with pytest.raises(ActRefused, match="wants a payload instead"):
        await handle.answer(True)
    await handle.answer(payload={"status": "ok"}, by="anna")
    assert (await worker.one()).payload["answers"]["q1"]["payload"] == {"status": "ok"}


# one job per key ----------------------------------------------------------------------------------------


async def test_the_second_enqueue_with_a_key_gives_the_handle_of_the_first_job(
    client: agentjobs.Queue, worker: TestWorker, dsn: str
) -> None:
    first = await client.enqueue(HELLO, unique="order-17")
    second = await client.enqueue(Job.module("my_agents.order", "another"), unique="order-17")
    elsewhere = await client.enqueue(
        Job.module("my_agents.order", "Hello", namespace="team"), unique="order-17"
    )
    assert (first.new, second.new, elsewhere.new) == (True, False, True)
    assert first.uid == second.uid != elsewhere.uid
    await finish(worker, result="the first")
    assert await second.result(LONG) == "the first"
    assert not (await client.enqueue(HELLO, unique="order-17")).new, "ended, and kept still"
    a, b, c = await client.enqueue([HELLO, HELLO, HELLO], unique=["order-17", None, "order-18"])
    assert [a.new, b.new, c.new] == [False, True, True]


async def test_a_key_twice_in_one_list_is_one_job(client: agentjobs.Queue) -> None:
    a, b = await client.enqueue([HELLO, HELLO], unique=["k", "k"])
    assert a.uid == b.uid
    assert (await a.status()).state is State.QUEUED


@pytest.mark.parametrize("commits", [True, False])
async def test_two_connections_race_for_a_key_and_the_one_that_commits_has_the_job(
    client: agentjobs.Queue, dsn: str, commits: bool
) -> None:
    async with (
        await psycopg.AsyncConnection.connect(dsn) as one,
        await psycopg.AsyncConnection.connect(dsn) as other,
    ):
        first = await client.enqueue(HELLO, conn=one, unique="k")
        second = asyncio.create_task(client.enqueue(HELLO, conn=other, unique="k"))

        async def waits() -> bool:
            rows = await sql(dsn, "select cardinality(pg_blocking_pids(%s))", other.info.backend_pid)
            return bool(rows[0][0])

        await until(waits)
        await (one.commit() if commits else one.rollback())
        assert (await second).new is not commits
        assert (await second).uid == first.uid
        await other.commit()
        assert (await first.status()).state is State.QUEUED


async def test_a_storm_for_one_key_makes_one_job(client: agentjobs.Queue, dsn: str) -> None:
    handles = await asyncio.gather(*(client.enqueue(HELLO, unique="k") for _ in range(40)))
    assert [handle.new for handle in handles].count(True) == 1
    assert await sql(dsn, "select count(*) from job") == [(1,)]


# whose transaction is open ------------------------------------------------------------------------------


async def test_a_commit_that_comes_late_is_awaited(
    client: agentjobs.Queue, worker: TestWorker, dsn: str
) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        handle = await client.enqueue(HELLO, conn=conn)
        waiting = asyncio.create_task(handle.result(LONG))
        await heard_and_looked(client, dsn)
        with pytest.raises(JobGone, match="not committed yet"):
            await handle.status()
        await conn.commit()
        await finish(worker)
        async with asyncio.timeout(SOON):
            assert await waiting == "done"


@pytest.mark.parametrize("savepoint", [False, True])
async def test_what_was_rolled_back_is_not_awaited_for_ever(
    client: agentjobs.Queue, dsn: str, savepoint: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "RECHECK_SECONDS", 1.0)
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        if savepoint:
            await conn.execute("savepoint before")
        handle = await client.enqueue(HELLO, conn=conn)
        waiting = asyncio.create_task(handle.result(LONG))
        await heard_and_looked(client, dsn)
        if savepoint:
            await conn.execute("rollback to before")
            await conn.commit()
        else:
            await conn.rollback()
        with pytest.raises(JobGone, match="was rolled back"):
            await waiting


async def test_a_refused_job_leaves_the_callers_transaction_usable(client: agentjobs.Queue, dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        with pytest.raises(InvalidJob, match="unique"):
            await client.enqueue(HELLO, conn=conn, unique="")
        await client.enqueue(HELLO, conn=conn)
        await conn.commit()
    assert await sql(dsn, "select count(*) from job") == [(1,)]


# attacks ------------------------------------------------------------------------------------------------


async def test_a_killed_listening_connection_is_replaced_and_nothing_is_missed(
    client: agentjobs.Queue, worker: TestWorker, dsn: str
) -> None:
    handle, later = await client.enqueue([HELLO, HELLO])
    waiting = [asyncio.create_task(one.result(LONG)) for one in (handle, later)]
    await heard_and_looked(client, dsn, 2)
    (before,) = await listening(dsn)
    await sql(dsn, "select pg_terminate_backend(%s)", before)
    await finish(worker, result="while nobody listened")
    async with asyncio.timeout(SOON):
        assert await waiting[0] == "while nobody listened"

    async def replaced() -> bool:
        return bool(set(await listening(dsn)) - {before})

    await until(replaced)
    await finish(worker, result="heard again")
    async with asyncio.timeout(SOON):
        assert await waiting[1] == "heard again"


async def test_all_connections_killed_again_and_again_lose_no_end(
    client: agentjobs.Queue, worker: TestWorker, dsn: str
) -> None:
    handles = await client.enqueue([HELLO] * 30)
    waiting = [asyncio.create_task(handle.result(LONG)) for handle in handles]
    for _ in range(6):
        await sql(
            dsn,
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'client%%' and %s",
            True,
        )
        for job in await worker.claim(5):
            await worker.ack(job)
    assert await asyncio.gather(*waiting) == ["done"] * 30


async def test_a_thousand_are_awaited_at_once_on_one_listening_connection(
    client: agentjobs.Queue, worker: TestWorker, dsn: str
) -> None:
    handles = await client.enqueue([HELLO] * 1000)
    waiting = [asyncio.create_task(handle.result(150)) for handle in handles]
    await heard_and_looked(client, dsn, 1000)
    while jobs := await worker.claim(500, slots={"agents": 500}):
        for job in jobs:
            await worker.ack(job, result=str(job.uid))
        assert len(await listening(dsn)) == 1
    assert await asyncio.gather(*waiting) == [str(handle.uid) for handle in handles]
    assert await sql(dsn, "select count(*) from awaited") == [(0,)]


async def test_many_tasks_await_one_job_and_one_that_gives_up_takes_nothing_from_the_others(
    client: agentjobs.Queue, worker: TestWorker
) -> None:
    handle = await client.enqueue(HELLO)
    waiting = [asyncio.create_task(handle.result(LONG)) for _ in range(20)]
    with pytest.raises(TimeoutError):
        await handle.result(0.1)
    waiting[0].cancel()
    await finish(worker)
    assert await asyncio.gather(*waiting[1:]) == ["done"] * 19


async def test_an_end_under_way_while_the_job_is_first_awaited_is_found_soon(
    client: agentjobs.Queue, worker: TestWorker, dsn: str
) -> None:
    """The transaction that ends it has looked for who awaits it, and found nobody; it commits after the first look."""
    handle = await client.enqueue(HELLO)
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("select agentjobs.control(%s, 'cancel')", (handle.uid,))
        waiting = asyncio.create_task(handle.wait(LONG))

        async def awaited() -> bool:
            return bool(await sql(dsn, "select * from awaited"))

        await until(awaited)
        await conn.commit()
    async with asyncio.timeout(SOON):
        assert (await waiting).state is State.CANCELLED


async def test_an_end_in_the_middle_of_the_first_look_leaves_no_row(
    client: agentjobs.Queue, worker: TestWorker, dsn: str
) -> None:
    """The look has found that the job has not ended, and not yet said that it is awaited."""
    handle = await client.enqueue(HELLO)
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("insert into agentjobs.awaited (uid, until) values (%s, now())", (handle.uid,))
        waiting = asyncio.create_task(handle.wait(LONG))
        await until(lambda: waits_for_a_lock(dsn))
        await sql(dsn, "select control(%s, 'cancel')", handle.uid)
        await conn.rollback()
    async with asyncio.timeout(SOON):
        assert (await waiting).state is State.CANCELLED
    assert await sql(dsn, "select * from awaited") == []


async def test_an_erased_answer_is_told_to_be_erased(
    client: agentjobs.Queue, worker: TestWorker, queue: Queue
) -> None:
    complete, cancelled = await client.enqueue([Job.module("my_agents.order", "x", user_id="max")] * 2)
    await finish(worker)
    waiting = asyncio.create_task(cancelled.wait(LONG))
    assert (await queue.erase("default", "max", Act("anna"))).next is None
    assert (await waiting).state is State.CANCELLED, "erasing a job that waits cancels it"
    with pytest.raises(JobGone, match="its answer was erased"):
        await complete.result(LONG)
    assert (await complete.wait(LONG)).texts_removed


async def test_a_job_that_retention_removes_while_it_is_awaited_is_told_to_be_gone(
    client: agentjobs.Queue, worker: TestWorker, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "RECHECK_SECONDS", 1.0)
    handle = await client.enqueue(HELLO)
    waiting = asyncio.create_task(handle.wait(LONG))
    await heard_and_looked(client, dsn)
    # as retention does, of an end that nobody heard of
    await sql(dsn, "delete from waiting")
    await sql(dsn, "delete from job")
    with pytest.raises(JobGone, match="removed while it was awaited"):
        await waiting


async def test_closing_the_queue_ends_what_waits(dsn: str) -> None:
    client = await agentjobs.Queue.open(dsn)
    handle = await client.enqueue(HELLO)
    waiting = asyncio.create_task(handle.result(LONG))
    await heard_and_looked_by_anybody(dsn)
    await client.close()
    with pytest.raises(QueueUnavailable, match="closed"):
        await waiting
    with pytest.raises(QueueUnavailable, match="closed"):
        await handle.result()


async def heard_and_looked_by_anybody(dsn: str) -> None:
    async def awaited() -> bool:
        return bool(await sql(dsn, "select * from awaited"))

    await until(awaited)


async def test_anybodys_notification_of_anything_is_let_pass(
    client: agentjobs.Queue, worker: TestWorker, dsn: str
) -> None:
    handle = await client.enqueue(HELLO)
    waiting = asyncio.create_task(handle.result(LONG))
    await heard_and_looked(client, dsn)
    for payload in ("", "x", str(uuid4()), str(handle.uid)):
        await sql(dsn, "select pg_notify('agentjobs_ended', %s)", payload)
    await finish(worker)
    assert await waiting == "done"


async def test_the_listening_connection_is_given_back_once_nothing_is_awaited(
    client: agentjobs.Queue, worker: TestWorker, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "QUIET_SECONDS", 0.0)

    async def quiet() -> bool:
        return not await listening(dsn)

    for _ in range(2):
        handle = await client.enqueue(HELLO)
        waiting = asyncio.create_task(handle.result(LONG))
        await heard_and_looked(client, dsn)
        await finish(worker)
        assert await waiting == "done"
        await until(quiet)


# what it costs ------------------------------------------------------------------------------------------


async def test_only_the_ends_of_awaited_jobs_are_notified(
    client: agentjobs.Queue, worker: TestWorker, queue: Queue, dsn: str
) -> None:
    awaited, unawaited = await client.enqueue([HELLO, HELLO])
    heard: list[str] = []
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("listen agentjobs_ended")
        waiting = asyncio.create_task(awaited.wait(LONG))
        await heard_and_looked_by_anybody(dsn)
        await finish(worker)
        await finish(worker)
        await (await client.enqueue(HELLO)).cancel()
        await waiting
        await conn.execute(
            "select pg_notify('agentjobs_ended', 'fence')"
        )  # notifications come in the order of the commits
        async for note in conn.notifies(timeout=60):
            if note.payload == "fence":
                break
            heard.append(note.payload)
    assert heard == [str(awaited.uid)]
    assert (await unawaited.wait(LONG)).state is State.COMPLETE


async def test_what_nobody_says_again_is_forgotten_by_retention(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    handle, other = uuid4(), uuid4()
    await queue.await_ends([handle], 60)
    await queue.await_ends([other], 600)
    await sql(dsn, "update awaited set until = until - %s", timedelta(minutes=2))
    await queue.prune()
    assert await sql(dsn, "select uid from awaited") == [(other,)]


async def test_h12_who_awaits_holds_up_no_worker(
    client: agentjobs.Queue, worker: TestWorker, dsn: str
) -> None:
    """The rows of what is awaited may be locked for as long as one likes."""
    handle = await client.enqueue(HELLO)
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("select * from agentjobs.await_ends(%s, '1 minute')", ([handle.uid],))
        async with asyncio.timeout(SOON):
            await finish(worker)
            await worker.queue.prune()
    assert await handle.result(LONG) == "done"


def test_handles_show_what_they_are() -> None:
    shown = repr(Handle(UUID(int=1), True, None, None, None))  # type: ignore[arg-type]
    assert shown == "Handle(uid=UUID('00000000-0000-0000-0000-000000000001'), new=True)"


async def test_a_crash_and_restart_of_postgres_end_no_waiting(own_postgres: EmbeddedPostgres) -> None:
    """The crash empties the table of what is awaited."""
    dsn = own_postgres.dsn("agentjobs")
    async with await agentjobs.Queue.open(dsn, name="client") as client, await Queue.open(dsn) as queue:
        handle = await client.enqueue(HELLO)
        waiting = asyncio.create_task(handle.result(150))
        await heard_and_looked(client, dsn)
        own_postgres.kill()
        own_postgres.restart()
        await heard_and_looked(client, dsn)
        await finish(await TestWorker(queue).register(), result="after the restart")
        async with asyncio.timeout(SOON):
            assert await waiting == "after the restart"
