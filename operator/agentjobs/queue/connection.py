"""The connections of the queue: pooled statements, typed errors, repeats of what was not done."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, LiteralString, NoReturn

import psycopg
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from agentjobs.cancellation import cancellation_kept
from agentjobs.database.connection import (
    ANSWER_SECONDS,
    LIFETIME_SECONDS,
    PING_SECONDS,
    READ_COMMITTED,
    Connection,
    Row,
    Target,
)
from agentjobs.database.fault import ConnectionStale, Fault, fault_of, one_line
from agentjobs.dsn import Dsn
from agentjobs.queue import numbers
from agentjobs.queue.errors import (
    GrantRefused,
    LoginRefused,
    QueueError,
    QueueTimeout,
    QueueUnavailable,
    SchemaMismatch,
)

ROLLBACK_REPEATS = 5
_REPEATS = {Fault.STALE: 2, Fault.READ_ONLY: 1, Fault.ROLLED_BACK: ROLLBACK_REPEATS}
"""Of a statement that was not done; others may have been."""
_SETTINGS = (
    f"{READ_COMMITTED} -c statement_timeout={numbers.STATEMENT_TIMEOUT_SECONDS}s"
    f" -c idle_in_transaction_session_timeout={numbers.IDLE_IN_TRANSACTION_SECONDS}s"
)
"""Bound how long a stuck statement, or a client that vanished, can block others (H7)."""
Params = Sequence[Any] | Mapping[str, Any]
CallersConnection = psycopg.AsyncConnection[Any]
"""One that the caller opened, whatever rows it makes."""


class Database:
    """A small pool of autocommit connections; each call is one statement, one transaction, one round trip.

    A pooler in transaction mode may sit in between: no call needs a session, and no statement is prepared.
    """

    def __init__(
        self,
        dsn: Dsn,
        *,
        name: str,
        size: int,
        pooled: bool,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """
        :param dsn: the URL, or a function that is asked for it at each connect.
        :param pooled: the URL leads through a pooler, which refuses settings of the session at the start.
        :param answer_seconds: the longest wait for an answer.
        """
        self._target = Target(dsn, name, "" if pooled else _SETTINGS, answer_seconds=answer_seconds)
        self._under_way: set[Connection] = set()
        wait_seconds = self._target.connect_seconds()
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            connection_class=Connection,
            kwargs={"target": self._target},
            min_size=1,
            max_size=size,
            open=False,
            timeout=wait_seconds,
            # as long as a call waits: a server that comes back is found within a second or two
            reconnect_timeout=wait_seconds,
            max_lifetime=LIFETIME_SECONDS,
            name=name,
        )

    async def open(self) -> None:
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close(timeout=2)

    def give_up_silent(self) -> None:
        """Has statements fail that have no answer yet, where another connection was found to be dead."""
        before = time.monotonic() - PING_SECONDS
        for conn in self._under_way:
            if conn.used_at < before:
                conn.break_off()

    async def fetch(self, statement: LiteralString, params: Params = ()) -> list[Row]:
        """All rows of one statement.

        Raises QueueUnavailable where no server serves it, QueueTimeout, SchemaMismatch, GrantRefused; for the data
        of a row, and for a defect, psycopg's own error.
        """
        repeat = 0
        while True:
            try:
                with cancellation_kept():
                    return await self._fetch(statement, params)
            except PoolClosed as error:
                raise QueueUnavailable("database: the queue is closed") from error
            except PoolTimeout as error:
                unavailable = LoginRefused if self._target.login_refused else QueueUnavailable
                raise unavailable(f"database: {self._target.failure or error}") from error
            except psycopg.Error as error:
                fault = fault_of(error)
                if repeat >= _REPEATS.get(fault, 0):
                    raise_as_queue_error(error)
            if fault is Fault.ROLLED_BACK:
                await asyncio.sleep(random.uniform(0.001, 0.02) * 2**repeat)
            repeat += 1

    async def _fetch(self, statement: LiteralString, params: Params) -> list[Row]:
        fault: Fault | None = None
        try:
            async with self._pool.connection() as conn:
                try:
                    if not await conn.works():
                        raise ConnectionStale("the connection was lost while it was not used")
                    self._under_way.add(conn)
                    rows = await fetch(conn, statement, params)
                    fault = Fault.READ_ONLY if conn.misplaced else None
                except psycopg.Error as error:
                    fault = fault_of(error)
                    raise
                finally:
                    self._under_way.discard(conn)
                    if fault is not None and fault.ends_connection:
                        await conn.close()
        finally:
            if fault is not None and fault.ends_pool:
                await self._pool.drain()
        return rows

    async def try_out(self, statement: LiteralString, params: Params = ()) -> None:
        """Runs one statement in a transaction that is rolled back. Raises what the statement raises."""
        async with self._pool.connection() as conn, conn.transaction(force_rollback=True):
            await fetch(conn, statement, params)


async def fetch(conn: CallersConnection, statement: LiteralString, params: Params = ()) -> list[Row]:
    # a caller's own connection may have another row factory, or server-side cursors
    cursor = psycopg.AsyncCursor(conn, row_factory=tuple_row)
    await cursor.execute(statement, params)
    return await cursor.fetchall()


def raise_as_queue_error(error: psycopg.Error) -> NoReturn:
    """Raises the queue's error for psycopg's, or that itself where a row's data or a defect is at fault."""
    known = queue_error(error)
    if known is None:
        raise error
    raise known from error


def queue_error(error: psycopg.Error) -> QueueError | None:
    """The queue's error for psycopg's; None: the data of a row, or a defect."""
    told = one_line(error)
    match fault_of(error):
        case Fault.STALE | Fault.AWAY:
            return QueueUnavailable(f"database: {told}")
        case Fault.READ_ONLY:
            return QueueUnavailable(
                f"database: {told}; the server is a standby, or a primary that was demoted"
            )
        case Fault.SLOW:
            return QueueTimeout(f"database: {told}")
        case Fault.ROLLED_BACK:
            return QueueUnavailable(f"database: {told}; repeated {ROLLBACK_REPEATS} times in vain")
        case Fault.SCHEMA:
            return SchemaMismatch(
                f"the database lacks what this version needs ({told}); run `agentjobs migrate up`"
            )
        case Fault.RIGHT:
            return GrantRefused(
                f"database: {told}. Either nobody has granted it (as the schema's owner: `agentjobs migrate up --grant-to "
                "PREFIX`), or the URL names another part's role: operator, workers and web have one each"
            )
        case _:
            return None
