"""The one connection of a process to the session store: opened at its first use, replaced when it broke.

A run writes one event after the other, so one connection is enough; tasks that write at the same time take
turns. The connection works through a pooler in transaction mode: it prepares no statement and relies on no
setting.

A run that has its session waits for a store that is away: what it has done since its last event, a model's answer or a
tool's result, would be lost with it, and be paid for or done once more. A run that has not begun ends at once instead.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from agentjobs.agents.sessions.fence import holding
from agentjobs.agents.sessions.url import SCHEMA, libpq_url
from agentjobs.agents.verdict.errors import SessionStoreUnavailable
from agentjobs.cancellation import cancellation_kept
from agentjobs.database.connection import READ_COMMITTED, Connection, Row, Target
from agentjobs.database.fault import Fault, fault_of, one_line, waiting_may_cure
from agentjobs.dsn import Dsn, current
from agentjobs.values.setting_names import both_names

log = logging.getLogger(__name__)
T = TypeVar("T")

WAIT_SECONDS = 600
"""The longest wait of a run for a store that is away. Where it is the queue's database, its lease is over before."""
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
        self._away_since: float | None = None
        """The monotonic time since which the store has not answered. None: it did the last time."""

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """The connection, for this task alone until the end of the block; opened again where it broke."""
        async with self._one_at_a_time, self._used() as connection:
            yield connection

    async def surely(self, work: Callable[[Connection, bool], Awaitable[T]]) -> T:
        """The result of ``work``, which a run does again where the store was lost before its answer.

        Until then no other task uses the connection: it would not know what was done.

        :param work: takes the connection, and whether it may have been done before.
        """
        async with self._one_at_a_time:
            again = False
            while True:
                try:
                    async with self._used() as connection:
                        return await work(connection, again)
                except (psycopg.Error, TimeoutError) as error:
                    if fault_of(error) is not Fault.AWAY or not await self._waited(error):
                        raise
                again = True

    @asynccontextmanager
    async def _used(self) -> AsyncIterator[Connection]:
        with cancellation_kept():
            try:
                connection = await self._in_order()
                async with asyncio.timeout(STATEMENT_SECONDS):
                    yield connection
            except psycopg.Error as error:
                if fault_of(error).ends_connection:
                    await self.close()
                raise
            finally:
                if self._connection is not None and not _is_clean(self._connection):
                    await self.close()
        if self._away_since is not None:
            log.warning("the session store is back after %.0f s", time.monotonic() - self._away_since)
            self._away_since = None

    async def _in_order(self) -> Connection:
        """The connection, found in order or opened. A run waits for it."""
        while True:
            try:
                async with asyncio.timeout(OPEN_SECONDS):
                    return await self._working()
            except (psycopg.Error, TimeoutError) as error:
                if not await self._waited(error):
                    raise

    async def _waited(self, error: psycopg.Error | TimeoutError) -> bool:
        """Waits a moment where a run waits for its store, and waiting may help. False: it does not, or has for too long."""
        if holding.get() is None or (isinstance(error, psycopg.Error) and not waiting_may_cure(error)):
            return False
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            log.warning(
                "the session store is away: %s; the run waits for it, at most %d s",
                one_line(error),
                WAIT_SECONDS,
            )
        lasted = now - self._away_since
        if lasted >= WAIT_SECONDS:
            return False
        await asyncio.sleep(random.uniform(0.5, 1) * min(2.0, 0.1 + lasted / 4))
        return True

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
