"""The one connection of a process to the session store: opened at its first use, replaced when it broke.

A run writes one event after the other, so one connection is enough; tasks that write at the same time take
turns. The connection works through a pooler in transaction mode: it prepares no statement and relies on no
setting.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from agentjobs.agents.sessions.url import SCHEMA, libpq_url
from agentjobs.agents.verdict.errors import SessionStoreUnavailable
from agentjobs.cancellation import cancellation_kept
from agentjobs.database.connection import READ_COMMITTED, Connection, Row, Target
from agentjobs.database.fault import Fault, fault_of, one_line
from agentjobs.dsn import Dsn, current
from agentjobs.values.setting_names import both_names

T = TypeVar("T")

OPEN_SECONDS = 15
"""Time limit of finding the connection in order, or opening another."""
STATEMENT_SECONDS = 30
"""Time limit of a statement. Without it, one that hangs would keep the job until the attempt's time-out."""
SETTINGS = (
    f"{READ_COMMITTED} -c statement_timeout={STATEMENT_SECONDS}s -c idle_in_transaction_session_timeout=60s"
)

_REPEATS = {Fault.READ_ONLY: 1, Fault.ROLLED_BACK: 5}
"""Of work that was not done, by what was in its way."""


def target_of(dsn: Dsn, *, required: str = "") -> Target:
    """Where the session store's connections lead to.

    :param required: settings of the session that no pooler may leave out.
    """
    return Target(lambda: libpq_url(current(dsn)), "agentjobs-session", SETTINGS, required)


class SessionConnection:
    """The connection of this process, opened at its first use."""

    def __init__(self, dsn: Dsn) -> None:
        """
        :raises ValueError: the URL is not one of Postgres.
        """
        libpq_url(current(dsn))
        self._target = target_of(dsn)
        self._connection: Connection | None = None
        self._one_at_a_time = asyncio.Lock()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """The connection, for this task alone until the end of the block; opened again where it broke."""
        async with self._one_at_a_time:
            with cancellation_kept():
                try:
                    async with asyncio.timeout(OPEN_SECONDS):
                        connection = await self._working()
                    async with asyncio.timeout(STATEMENT_SECONDS):
                        yield connection
                except psycopg.Error as error:
                    if fault_of(error).ends_connection:
                        await self.close()
                    raise
                finally:
                    if self._connection is not None and not _is_clean(self._connection):
                        await self.close()

    async def close(self) -> None:
        """Closes the connection, if there is one. The next use opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def release(self) -> None:
        """Waits for the task that uses the connection, then closes it."""
        async with self._one_at_a_time:
            await self.close()

    async def _working(self) -> Connection:
        if self._connection is not None and not await self._connection.works():
            await self.close()
        if self._connection is None:
            self._connection = await Connection.connect(target=self._target)
        return self._connection


async def fetch(connection: Connection, statement: LiteralString, values: Mapping[str, Any]) -> list[Row]:
    """All rows of one statement."""
    return await (await connection.execute(statement, values)).fetchall()


async def in_own_store(work: Callable[[], Awaitable[T]]) -> T:
    """The result of ``work``, whose database errors come from the session store and nowhere else (H11).

    Repeats the work where Postgres rolled its transaction back for the sake of another one: a deadlock, for
    example with ADK's own service, which inserts in another order, or a conflict at a stricter isolation. And
    where its server was demoted, once, on another connection.
    An agent's tool may raise the same psycopg errors for a database of its own. Only errors of such work
    come from our store, and only they are refunded.

    :raises SessionStoreUnavailable: connecting failed, the connection was lost, or the schema cannot be used.
    """
    for repeat in itertools.count():
        try:
            return await work()
        except Exception as error:
            cause = getattr(error, "orig", None) or error  # SQLAlchemy's errors hold the driver's
            fault = fault_of(cause)
            if repeat < _REPEATS.get(fault, 0):
                await asyncio.sleep(random.uniform(0.001, 0.02) * 2**repeat)
                continue
            if not isinstance(cause, psycopg.Error | OSError) or fault in (Fault.DATA, Fault.KEY):
                raise
            told = one_line(cause)
            raise SessionStoreUnavailable(
                f"The session store failed ({type(cause).__name__}: {told}). The attempt is not charged. "
                f"Check the database of {both_names('session_database_url')} (the queue's where that is not set), and its schema {SCHEMA}."
            ) from error
    raise AssertionError("unreachable")


@dataclass(frozen=True, slots=True)
class Statements:
    """Statements of the session store, each in a transaction of its own and repeated where that was rolled back.

    They raise SessionStoreUnavailable.
    """

    connection: SessionConnection

    async def rows(self, statement: LiteralString, **values: object) -> list[Row]:
        """All rows of one."""

        async def once() -> list[Row]:
            async with self.connection.use() as connection:
                return await fetch(connection, statement, values)

        return await in_own_store(once)

    async def do(self, statement: LiteralString, **values: object) -> None:
        """One without rows."""

        async def once() -> None:
            async with self.connection.use() as connection:
                await connection.execute(statement, values)

        await in_own_store(once)


def lacks_tables(error: BaseException | None) -> bool:
    """Whether a table or the schema is missing; SQLAlchemy's errors hold the driver's."""
    missing = psycopg.errors.UndefinedTable | psycopg.errors.InvalidSchemaName
    return isinstance(getattr(error, "orig", None) or error, missing)


def _is_clean(connection: Connection) -> bool:
    """Whether the connection can be used again: not after an interrupted statement or a lost server."""
    return not connection.closed and connection.info.transaction_status is TransactionStatus.IDLE
