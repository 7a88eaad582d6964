"""Databases as their administrators set them: encodings, isolation, time limits, poolers, roles that only read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql

from agentjobs.agents.sessions.service import JobSessions
from agentjobs.agents.verdict.errors import SessionStoreUnavailable
from agentjobs.database.connection import Connection, Target
from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.queue import connection as queue_connection
from agentjobs.queue import migrate, migration_session, numbers
from agentjobs.queue.errors import (
    EncodingUnsuitable,
    JobRejected,
    LoginRefused,
    QueueTimeout,
    QueueUnavailable,
)
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckAnswer, State
from databases import OPTIONS
from databases import migrate as migrated
from poolers import in_transaction_mode, refusing_options
from queue_builders import TestWorker, new_job, until
from rotation import as_role
from tcp_proxy import tcp_proxy

T = TypeVar("T")
DASH = "Zagreb – 21 °C"


@pytest.fixture
def in_encoding(postgres: Any) -> Iterator[Callable[[str], str]]:
    """Makes empty databases of an encoding."""
    made: list[str] = []

    def make(encoding: str) -> str:
        name = f"t_{uuid4().hex[:16]}"
        with psycopg.connect(postgres.dsn(), autocommit=True) as conn:
            conn.execute(
                sql.SQL("create database {} template template0 encoding {} locale 'C'").format(
                    sql.Identifier(name), sql.Literal(encoding)
                )
            )
        made.append(name)
        return str(postgres.dsn(name))

    yield make
    with psycopg.connect(postgres.dsn(), autocommit=True) as conn:
        for name in made:
            conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "WIN1252", "EUC_JP"])
async def test_a_database_that_cannot_hold_all_texts_is_refused_with_the_remedy(
    in_encoding: Callable[[str], str], encoding: str
) -> None:
    dsn = in_encoding(encoding)
    with pytest.raises(EncodingUnsuitable, match=f"{encoding}.*encoding 'UTF8' template template0"):
        await migrate.up(dsn)
    assert (await migrate.status(dsn)).version == 0
    sessions = JobSessions(dsn)
    with pytest.raises(SessionStoreUnavailable, match=encoding):
        await sessions.create_session(app_name="a", user_id="u")
    await sessions.release()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_what_was_installed_there_before_still_speaks_text_and_hurts_one_job_alone(
    in_encoding: Callable[[str], str], encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = in_encoding(encoding)

    async def nothing(_: object) -> None: ...

    async def as_the_database_speaks(dsn: str) -> Any:
        return await psycopg.AsyncConnection.connect(dsn, autocommit=True)

    monkeypatch.setattr(migrate, "_refuse_encoding", nothing)
    monkeypatch.setattr(migration_session, "connect", as_the_database_speaks)
    await migrate.up(dsn)
    async with await Queue.open(dsn) as queue:
        worker = await TestWorker(queue).register()
        (known,) = await queue.workers()
        assert known.name.startswith("worker-")
        await queue.enqueue([new_job(), new_job()])
        first, second = await worker.claim(2)
        assert await worker.ack(first, result=DASH) == AckAnswer.OK.value
        assert await worker.ack(second) == AckAnswer.OK.value
        states = {(await queue.show(job.uid)).state for job in (first, second)}  # type: ignore[union-attr]
        assert states == ({State.FAILED, State.COMPLETE} if encoding == "LATIN1" else {State.COMPLETE})
        if encoding == "LATIN1":
            with pytest.raises(JobRejected):
                await queue.enqueue([new_job(payload={"v": 1, "message": DASH})])


SETTINGS = {
    "default_transaction_isolation": "serializable",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "client_encoding": "LATIN1",
    "client_min_messages": "debug1",
    "default_transaction_deferrable": "on",
}


async def test_settings_of_the_database_change_nothing(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        for name, value in SETTINGS.items():
            database = sql.Identifier(conn.info.dbname)
            conn.execute(
                sql.SQL("alter database {} set {} = {}").format(
                    database, sql.Identifier(name), sql.Literal(value)
                )
            )
    await migrate.up(empty_dsn)
    sessions = JobSessions(empty_dsn)
    async with await Queue.open(empty_dsn) as queue:
        assert await queue._db.fetch("show transaction_isolation") == [("read committed",)]
        async with sessions._connection.use() as conn:
            found = await (await conn.execute("show transaction_isolation")).fetchall()
            assert found == [("read committed",)]
        job = new_job(payload={"v": 1, "message": DASH})
        await queue.enqueue([job])
        worker = await TestWorker(queue).register()
        assert (await worker.one()).payload["message"] == DASH
    await sessions.create_session(app_name="a", user_id="u", state={"said": DASH})
    await sessions.release()


async def test_a_limit_is_kept_where_the_database_has_another_isolation(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        database = sql.Identifier(conn.info.dbname)
        conn.execute(
            sql.SQL("alter database {} set default_transaction_isolation = 'repeatable read'").format(
                database
            )
        )
    async with await Queue.open(dsn, connections=8) as queue:
        await queue.set_queue("agents", max_running=3)
        await queue.enqueue([new_job() for _ in range(40)])
        workers = [await TestWorker(queue).register() for _ in range(8)]
        await asyncio.gather(*(worker.claim(2) for worker in workers))
        assert sum(len(worker.held) for worker in workers) <= 3


async def test_a_statement_that_took_too_long_is_told_as_that(dsn: str) -> None:
    async with await Queue.open(dsn + "?options=-cstatement_timeout%3D50ms") as queue:
        with pytest.raises(QueueTimeout, match="statement timeout"):
            await queue._db.fetch("select pg_sleep(60)")
        assert await once_in_time(queue.counts) == {}


async def once_in_time(call: Callable[[], Awaitable[T]]) -> T:
    """A busy machine may take more than the limit for a short statement too."""
    async with asyncio.timeout(60):
        while True:
            with suppress(QueueTimeout):
                return await call()


async def test_a_host_that_is_gone_without_a_word_does_not_hide_the_one_behind_it(dsn: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        parts = urlsplit(dsn)
        gone = f"127.0.0.1:{mute.getsockname()[1]}"
        login, _, host = parts.netloc.rpartition("@")
        url = urlunsplit(parts._replace(netloc=f"{login}@{gone},{host}"))
        async with await Queue.open(url) as queue:
            assert await queue.enqueue([job := new_job()]) == {job.uid: True}


@pytest.mark.parametrize("given_direct", [True, False])
async def test_a_queue_works_through_poolers(dsn: str, given_direct: bool) -> None:
    for pooler in (in_transaction_mode, refusing_options):
        async with pooler(dsn) as url:
            direct = {"direct_dsn": dsn} if given_direct or pooler is in_transaction_mode else {}
            async with await Queue.open(url, **direct) as queue:
                assert await queue.enqueue([job := new_job()]) == {job.uid: True}


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", "read-write"),
        ("?target_session_attrs=any", "any"),
        ("?target_session_attrs=primary", "primary"),
    ],
)
async def test_a_url_decides_itself_where_it_says_which_servers_will_do(
    dsn: str, query: str, wanted: str
) -> None:
    async with await Connection.connect(target=Target(dsn + query, "test")) as conn:
        assert conn.info.get_parameters().get("target_session_attrs", "any") == wanted
        assert conn.info.encoding == "utf-8"


async def test_an_url_that_cannot_be_read_is_not_repeated(dsn: str) -> None:
    async with await Queue.open("postgresql//user:secret@host/db") as queue:
        with pytest.raises(QueueUnavailable, match="URL cannot be read") as raised:
            await queue.counts()
    assert "secret" not in str(raised.value)


async def test_a_refused_login_is_told_as_that(dsn: str) -> None:
    async with await Queue.open(as_role(dsn, "postgres", "wrong")) as queue:
        with pytest.raises(LoginRefused):
            await queue.counts()


async def test_a_statement_without_an_answer_fails_soon_after_a_heartbeat_without_one(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy's ends are alive, so nothing but the missing answers tells it."""
    async with tcp_proxy(dsn) as proxy, await Queue.open(proxy.url) as queue:
        worker = await TestWorker(queue).register()
        async with queue._beats._pool.connection() as beats:
            assert beats._answer_seconds == numbers.BEAT_ANSWER_SECONDS
            beats._answer_seconds = 1  # of this connection alone
        hanging = asyncio.create_task(queue._db.fetch("select pg_sleep(60)"))

        async def under_way() -> bool:
            return bool(queue._db._under_way)

        await until(under_way)
        proxy.silence()
        monkeypatch.setattr(queue_connection, "PING_SECONDS", 0)  # no short wait is spared
        with pytest.raises(QueueUnavailable, match="no answer"):
            await repeated(worker.beat)
        with pytest.raises(QueueUnavailable, match="no answer"):
            await hanging
        assert (await worker.beat()).alive


async def repeated(call: Callable[[], Awaitable[object]]) -> None:
    """Until it raises."""
    async with asyncio.timeout(60):
        while True:
            await call()


@pytest.fixture
def small_notify_queue() -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(options=OPTIONS | {"max_notify_queue_pages": "64"}).start()
    try:
        migrated(server.create_database("agentjobs"))
        yield server
    finally:
        server.stop()


async def test_a_full_notify_queue_is_an_outage_and_no_fault_of_a_job(
    small_notify_queue: EmbeddedPostgres,
) -> None:
    dsn = small_notify_queue.dsn("agentjobs")
    async with await Queue.open(dsn) as queue:
        worker = await TestWorker(queue).register()
        await queue.enqueue([held := new_job()])
        job = await worker.one()
        with psycopg.connect(dsn) as listener, psycopg.connect(dsn, autocommit=True) as filler:
            listener.execute("listen somebody")
            listener.commit()
            listener.execute("select 1")  # and stays in its transaction
            fill = "select pg_notify('somebody', repeat('x', 7000) || n) from generate_series(1, 50) n"
            with pytest.raises(errors.ProgramLimitExceeded):
                await repeated(partial(asyncio.to_thread, filler.execute, fill))
            with pytest.raises(QueueUnavailable, match="NOTIFY queue"):
                await repeated(lambda: queue.enqueue([new_job()]))
        view = await queue.show(held.uid)
        assert view is not None
        assert view.state is State.RUNNING
        assert await worker.ack(job) == "ok"
