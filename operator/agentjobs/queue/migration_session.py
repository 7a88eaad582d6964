"""The one connection that migrates a database at a time, and its patience with those who use the tables."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import psycopg
from psycopg import errors, sql

from agentjobs.database.connection import READ_COMMITTED, Connection, Target
from agentjobs.database.fault import Fault, fault_of, one_line, waiting_may_cure
from agentjobs.queue.connection import raise_as_queue_error
from agentjobs.queue.errors import Misconfigured, QueueUnavailable, SchemaBusy, SessionNotKept

SCHEMA = "agentjobs"
LOCK_TIMEOUT = "1s"
"""For so long a step stands in line for a table, with all claims behind it; then it steps back and tries again."""
PATIENCE_SECONDS = 60.0
"""For so long it tries again before it gives up."""
PAUSE_SECONDS = 0.1
"""Between two batches at most; between two looks at the lock of another migration, or at rows that others hold."""
_POOLER_SECONDS = 5.0
"""A second connection that is not there after this time tells nothing about a pooler."""
_SETTINGS = f"{READ_COMMITTED} -c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
_LOCK = "select pg_try_advisory_lock(hashtext('agentjobs migrate'))"
_UNLOCK = "select pg_advisory_unlock(hashtext('agentjobs migrate'))"
_PID = "select pg_backend_pid()"
_HOLDS = """
select exists (select from pg_locks where locktype = 'advisory' and granted and pid = pg_backend_pid() and objsubid = 1
  and database = (select oid from pg_database where datname = current_database())
  and objid::bigint = hashtext('agentjobs migrate')::bigint & 4294967295)"""

T = TypeVar("T")


@asynccontextmanager
async def session(dsn: str) -> AsyncIterator[Connection]:
    """A connection that is the only one that migrates this database. Waits for others as long as they take.

    Raises QueueUnavailable where the server goes away in the middle; what was done before is kept.
    """
    async with await connect(dsn) as conn:
        try:
            await _refuse_transaction_pooler(conn, dsn)
            # tried again and again, not waited for: who waits in a statement holds a snapshot, and `create index
            # concurrently` of the process that has the lock would wait for that snapshot: a deadlock
            while not await value(conn, _LOCK):  # noqa: ASYNC110
                await asyncio.sleep(PAUSE_SECONDS)
            try:
                await conn.execute(sql.SQL("set search_path = {}, pg_temp").format(sql.Identifier(SCHEMA)))
                yield conn
            finally:
                with suppress(
                    psycopg.Error
                ):  # the connection may be what has failed; then the lock went with it
                    await conn.execute(_UNLOCK)
        except psycopg.Error as error:
            if fault_of(error) is Fault.SCHEMA:
                raise  # not for want of a migration: a defect of this one
            raise_as_queue_error(error)


async def connect(dsn: str) -> Connection:
    """A connection without time limits of its own, whatever the database has: building an index takes its time.

    Raises QueueUnavailable; Misconfigured where waiting does not cure it.
    """
    try:
        return await Connection.connect(
            target=Target(dsn, "agentjobs-migrate", _SETTINGS, answer_seconds=None)
        )
    except psycopg.OperationalError as error:
        unavailable = QueueUnavailable if waiting_may_cure(error) else Misconfigured
        raise unavailable(f"database: {one_line(error)}") from error


async def _refuse_transaction_pooler(conn: Connection, dsn: str) -> None:
    """Raises SessionNotKept where a pooler hands one server connection to whoever has a transaction.

    Its sign: beside a second connection, in its transaction and after that, the first one is not always on the same
    server connection, or the second one is on that, too.
    """
    mine = await value(conn, _PID)
    try:
        async with asyncio.timeout(_POOLER_SECONDS), await connect(dsn) as other:
            async with other.transaction():
                theirs = await value(other, _PID)
                seen = {await value(conn, _PID)} if theirs != mine else set()
            seen |= {await value(conn, _PID), await value(conn, _PID)}
    except (TimeoutError, QueueUnavailable):
        return  # no second connection is to be had; transaction() looks for the lock
    if theirs == mine or seen != {mine}:
        raise SessionNotKept


@asynccontextmanager
async def transaction(conn: Connection) -> AsyncIterator[None]:
    """A transaction that stands in line for a lock for LOCK_TIMEOUT at most."""
    async with conn.transaction():
        await session_kept(conn)
        await conn.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
        yield


async def patiently(what: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """Repeats what could not have a lock, with pauses in which the claims that stood behind it go on."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await attempt()
        except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
            if time.monotonic() >= until:
                raise SchemaBusy(what, PATIENCE_SECONDS) from error
        await asyncio.sleep(random.uniform(0.5, 1.5))


async def session_kept(conn: Connection) -> None:
    """Raises SessionNotKept where this connection has lost its lock."""
    if not await value(conn, _HOLDS):
        raise SessionNotKept


async def value(conn: Connection, query: str) -> object:
    row = await (await conn.execute(query.encode())).fetchone()
    assert row is not None
    return row[0]
