"""Enqueueing in the caller's transaction on every kind of connection that a program may have; and the queue that blocks."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy
import sqlalchemy.orm
from django.db.backends.postgresql.base import DatabaseWrapper
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio

import agentjobs
from agentjobs import Job, JobCancelled, JobGone, QueueUnavailable, State, SyncQueue
from agentjobs.queue.errors import GrantRefused, SchemaMismatch
from queue_builders import TestWorker, sql
from worker_agents import write_modules
from workers import running_worker, worker_config

HELLO = Job.module("my_agents.order", "Hello: 100 %s :jobs 'quoted' \U0001f600")


@pytest.fixture
async def client(dsn: str) -> AsyncIterator[agentjobs.Queue]:
    async with await agentjobs.Queue.open(dsn) as opened:
        yield opened


@pytest.fixture
def blocking(dsn: str) -> Iterator[SyncQueue]:
    with SyncQueue(dsn) as queue:
        yield queue


def url(dsn: str, driver: str) -> str:
    known = conninfo_to_dict(dsn)
    return sqlalchemy.URL.create(
        f"postgresql+{driver}",
        username=str(known["user"]),
        password=str(known.get("password") or "") or None,
        database=str(known["dbname"]),
        query={"host": str(known["host"])} | ({"port": str(known["port"])} if "port" in known else {}),
    ).render_as_string(hide_password=False)


Ends = tuple[Any, Callable[[], Any], Callable[[], Any]]
"""A connection with a transaction begun, its commit and its rollback."""


@contextmanager
def by_psycopg(dsn: str) -> Iterator[Ends]:
    with psycopg.connect(dsn, row_factory=dict_row) as conn:
        yield conn, conn.commit, conn.rollback


@contextmanager
def by_sqlalchemy_connection(dsn: str) -> Iterator[Ends]:
    engine = sqlalchemy.create_engine(url(dsn, "psycopg"))
    with engine.connect() as conn:
        yield conn, conn.commit, conn.rollback
    engine.dispose()


@contextmanager
def by_sqlalchemy_session(dsn: str) -> Iterator[Ends]:
    engine = sqlalchemy.create_engine(url(dsn, "psycopg"))
    with sqlalchemy.orm.Session(engine) as session:
        yield session, session.commit, session.rollback
    engine.dispose()


@contextmanager
def by_sqlalchemy_scoped_session(dsn: str) -> Iterator[Ends]:
    engine = sqlalchemy.create_engine(url(dsn, "psycopg"))
    session = sqlalchemy.orm.scoped_session(sqlalchemy.orm.sessionmaker(engine))
    yield session, session.commit, session.rollback
    session.remove()
    engine.dispose()


@contextmanager
def by_django(dsn: str) -> Iterator[Ends]:
    conn = django_connection(dsn)
    conn.set_autocommit(False)
    yield conn, conn.commit, conn.rollback
    conn.close()


def django_connection(dsn: str) -> Any:
    from django.conf import settings
    from django.db.utils import ConnectionHandler

    if not settings.configured:
        settings.configure(USE_TZ=True)
    known = conninfo_to_dict(dsn)
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": known["dbname"],
        "USER": known["user"],
        "HOST": known["host"],
        "PASSWORD": known.get("password") or "",
        "PORT": known.get("port") or "",
    }
    return ConnectionHandler({"default": database})["default"]


BLOCKING = [
    by_psycopg,
    by_sqlalchemy_connection,
    by_sqlalchemy_session,
    by_sqlalchemy_scoped_session,
    by_django,
]


@pytest.mark.parametrize("opened", BLOCKING, ids=lambda by: by.__name__)
def test_a_job_is_there_if_and_only_if_the_callers_transaction_commits(
    dsn: str, blocking: SyncQueue, opened: Callable[[str], Any]
) -> None:
    with opened(dsn) as (conn, commit, rollback):
        kept = blocking.enqueue(HELLO, conn=conn)
        with pytest.raises(JobGone, match="not committed"):
            kept.status()
        commit()
        assert kept.status().payload["message"] == HELLO.spec.message  # type: ignore[index]
        dropped, again = blocking.enqueue([HELLO, HELLO], conn=conn, unique=[None, "k"])
        assert (kept.new, dropped.new, again.new) == (True, True, True)
        rollback()
        with pytest.raises(JobGone, match="rolled back"):
            dropped.wait(60)
        assert blocking.enqueue(HELLO, conn=conn, unique="k").new, "the key was rolled back with it"
        commit()
        second = blocking.enqueue(HELLO, conn=conn, unique="k")
        commit()
        assert (second.new, second.uid) == (False, again.uid)


@asynccontextmanager
async def by_async_psycopg(dsn: str) -> AsyncIterator[Ends]:
    async with await psycopg.AsyncConnection.connect(dsn, row_factory=dict_row) as conn:
        yield conn, conn.commit, conn.rollback


@asynccontextmanager
async def by_async_session(dsn: str, driver: str = "psycopg") -> AsyncIterator[Ends]:
    engine = sqlalchemy_asyncio.create_async_engine(url(dsn, driver))
    async with sqlalchemy_asyncio.AsyncSession(engine) as session:
        yield session, session.commit, session.rollback
    await engine.dispose()


@asynccontextmanager
async def by_async_connection(dsn: str) -> AsyncIterator[Ends]:
    engine = sqlalchemy_asyncio.create_async_engine(url(dsn, "psycopg"))
    async with engine.connect() as conn:
        yield conn, conn.commit, conn.rollback
    await engine.dispose()


@asynccontextmanager
async def by_asyncpg_session(dsn: str) -> AsyncIterator[Ends]:
    async with by_async_session(dsn, "asyncpg") as opened:
        yield opened


@asynccontextmanager
async def by_a_connection_that_blocks(dsn: str) -> AsyncIterator[Ends]:
    with by_sqlalchemy_session(dsn) as opened:
        yield opened


ASYNC = [
    by_async_psycopg,
    by_async_session,
    by_async_connection,
    by_asyncpg_session,
    by_a_connection_that_blocks,
]


@pytest.mark.parametrize("opened", ASYNC, ids=lambda by: by.__name__)
async def test_the_same_on_asyncios_connections(
    dsn: str, client: agentjobs.Queue, worker: TestWorker, opened: Callable[[str], Any]
) -> None:
    async with opened(dsn) as (conn, commit, rollback):
        kept = await client.enqueue(HELLO, conn=conn)
        assert await worker.claim(1) == []
        await done(commit)
        await worker.ack(await worker.one())
        assert await kept.result(60) == "done"
        dropped = await client.enqueue(HELLO, conn=conn)
        await done(rollback)
        with pytest.raises(JobGone, match="rolled back"):
            await dropped.wait(60)


async def done(call: Callable[[], Awaitable[None] | None]) -> None:
    if (answer := call()) is not None:
        await answer


async def test_what_is_no_connection_is_refused_with_what_is_wanted(
    dsn: str, client: agentjobs.Queue, blocking: SyncQueue
) -> None:
    for wrong in (dsn, object(), sqlalchemy.create_engine("sqlite://")):
        with pytest.raises(TypeError, match="conn: a connection of psycopg"):
            await client.enqueue(HELLO, conn=wrong)
    async with by_async_psycopg(dsn) as (conn, _, _):
        with pytest.raises(TypeError, match=r"is asyncio's: use agentjobs\.Queue"):
            await asyncio.to_thread(blocking.enqueue, HELLO, conn=conn)
    other = DatabaseWrapper({}, alias="reports")
    other.vendor = "sqlite"
    with pytest.raises(TypeError, match="Django's connection 'reports' is sqlite"):
        await asyncio.to_thread(blocking.enqueue, HELLO, conn=other)


@pytest.mark.parametrize("opened", BLOCKING, ids=lambda by: by.__name__)
def test_errors_of_the_database_are_the_queues_whatever_the_driver(
    dsn: str, blocking: SyncQueue, opened: Callable[[str], Any]
) -> None:
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("alter function agentjobs.enqueue(json) rename to hidden")
    with opened(dsn) as (conn, _, rollback):
        with pytest.raises(SchemaMismatch, match="agentjobs migrate up"):
            blocking.enqueue(HELLO, conn=conn)
        rollback()


# the queue that blocks ----------------------------------------------------------------------------------


async def test_the_queue_that_blocks_does_all_that_the_other_does(
    dsn: str, blocking: SyncQueue, worker: TestWorker
) -> None:
    handle = await asyncio.to_thread(blocking.enqueue, HELLO)
    waiting = asyncio.create_task(asyncio.to_thread(handle.result, 60))
    await worker.ack(await worker.one())
    assert await waiting == "done"
    assert (await asyncio.to_thread(handle.status)).state is State.COMPLETE
    assert len(await asyncio.to_thread(handle.attempts)) == 1
    other = await asyncio.to_thread(blocking.enqueue, HELLO, unique="k")
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(other.wait, 0.1)
    assert await asyncio.to_thread(other.cancel)
    with pytest.raises(JobCancelled):
        await asyncio.to_thread(blocking.handle(other.uid).result, 60)
    await asyncio.to_thread(other.retry)
    assert (await asyncio.to_thread(other.status)).state is State.QUEUED
    with pytest.raises(agentjobs.ActRefused):
        await asyncio.to_thread(other.answer, True)


def test_threads_share_one(dsn: str, blocking: SyncQueue) -> None:
    handles: list[agentjobs.SyncHandle] = []
    threads = [
        threading.Thread(target=lambda: handles.append(blocking.enqueue(HELLO, unique="k")))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [handle.new for handle in handles].count(True) == 1
    assert len({handle.uid for handle in handles}) == 1


def _enqueue_in_child(queue: SyncQueue, answers: Any) -> None:
    handle = queue.enqueue(HELLO)
    answers.put((handle.status().state, queue.enqueue(HELLO).cancel()))


def test_a_forked_process_goes_on_with_connections_of_its_own(dsn: str, blocking: SyncQueue) -> None:
    """As gunicorn and Celery do with what was made before."""
    first = blocking.enqueue(HELLO)
    forking = multiprocessing.get_context("fork")
    answers = forking.Queue()
    child = forking.Process(target=_enqueue_in_child, args=(blocking, answers))
    child.start()
    assert answers.get(timeout=60) == (State.QUEUED, True)
    child.join(60)
    assert child.exitcode == 0
    assert first.status().state is State.QUEUED, "and so does the first"


def test_a_closed_queue_says_so(dsn: str) -> None:
    queue = SyncQueue(dsn)
    handle = queue.enqueue(HELLO)
    queue.close()
    queue.close()
    with pytest.raises(QueueUnavailable, match="closed"):
        handle.result()
    with psycopg.connect(dsn) as conn:
        assert queue.enqueue(HELLO, conn=conn).new, "which needs no connection of the queue's own"


def test_an_unreachable_database_is_told_within_its_time_limit() -> None:
    with (
        SyncQueue("postgresql://nobody@127.0.0.1:1/none") as queue,
        pytest.raises(QueueUnavailable, match="database"),
    ):
        queue.enqueue(HELLO)


# a real worker, and the role ----------------------------------------------------------------------------


@pytest.mark.timeout(300)
async def test_a_real_worker_runs_what_was_enqueued_and_each_end_is_told(
    dsn: str, client: agentjobs.Queue, tmp_path: Any
) -> None:
    path = write_modules(tmp_path / "modules")
    async with running_worker(worker_config(dsn, path, heartbeat_seconds=0.3)):
        answers = await client.enqueue([Job.module("innocent", f"hello {n}") for n in range(20)])
        inline = await client.enqueue(
            Job.inline({"name": "a", "model": "echo", "instruction": "x"}, "inline")
        )
        broken = await client.enqueue(Job.module("not_there.at_all", "hello"))
        assert await asyncio.gather(*(one.result(120) for one in answers)) == [
            f"hello {n}" for n in range(20)
        ]
        assert await inline.result(120) == "inline"
        with pytest.raises(agentjobs.JobFailed) as failed:
            await broken.result(120)
        assert failed.value.reason == "ModuleNotAllowed"
        assert "not_there" in failed.value.message
    assert await sql(dsn, "select count(*) from awaited") == [(0,)]


async def test_a_role_without_the_right_is_told_so(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(
            "do $$ begin create role may_nothing; exception when duplicate_object then null; end $$"
        )
        admin.execute("grant usage on schema agentjobs to may_nothing")
        admin.execute("revoke all on function agentjobs.await_ends(uuid[], interval) from public")
    try:
        async with await agentjobs.Queue.open(
            f"{dsn}{'&' if '?' in dsn else '?'}options=-crole%3Dmay_nothing"
        ) as queue:
            with pytest.raises(GrantRefused, match="await_ends"):
                await queue.handle((HELLO.to_enqueue(None)).uid).wait(60)
    finally:
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute("drop owned by may_nothing; drop role may_nothing")
