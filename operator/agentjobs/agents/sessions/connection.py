"""The one connection of a process to the session store: opened at its first use, replaced when it broke.

A run writes one event after the other, so one connection is enough; tasks that write at the same time take
turns. The connection works through a pooler in transaction mode: it prepares no statement and relies on no
setting.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import select
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from agentjobs.agents.sessions.url import SCHEMA, libpq_url
from agentjobs.agents.verdict.errors import SessionStoreUnavailable
from agentjobs.cancellation import cancellation_kept
from agentjobs.dsn import Dsn, current

T = TypeVar("T")
Row = tuple[Any, ...]
Connection = psycopg.AsyncConnection[Row]

CONNECT_SECONDS = 10
STATEMENT_SECONDS = 30
"""Time limit of a statement. Without it, one that hangs would keep the job until the attempt's time-out."""
IDLE_SECONDS = 10
"""Idle time after which the connection is tested before its next use. A model call of minutes may lie between
two writes, and a firewall may drop a silent connection without telling either end."""
PING_SECONDS = 5
"""Time limit of that test."""
ROLLBACK_REPEATS = 5
"""Repeats of a transaction that Postgres rolled back for the sake of another one."""
OPTIONS = f"-c statement_timeout={STATEMENT_SECONDS}s -c idle_in_transaction_session_timeout=60s"
_FROM_A_POOLER = "unsupported startup parameter"


class SessionConnection:
    """The connection of this process, opened at its first use."""

    def __init__(self, dsn: Dsn) -> None:
        """
        :raises ValueError: the URL is not one of Postgres.
        """
        libpq_url(current(dsn))
        self._dsn = dsn
        self._connection: Connection | None = None
        self._one_at_a_time = asyncio.Lock()
        self._last_used = 0.0
        self._options = OPTIONS

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """The connection, for this task alone until the end of the block; opened again where it broke."""
        async with self._one_at_a_time:
            with cancellation_kept():
                try:
                    async with asyncio.timeout(CONNECT_SECONDS + PING_SECONDS):
                        connection = await self._working()
                    async with asyncio.timeout(STATEMENT_SECONDS):
                        yield connection
                finally:
                    self._last_used = time.monotonic()
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
        if self._connection is not None and not await self._answers(self._connection):
            await self.close()
        if self._connection is None:
            self._connection = await self._connect()
        return self._connection

    async def _answers(self, connection: Connection) -> bool:
        if connection.closed or _has_news(connection):
            return False
        if time.monotonic() - self._last_used < IDLE_SECONDS:
            return True
        try:
            async with asyncio.timeout(PING_SECONDS):
                await connection.execute("select 1")
        except (psycopg.Error, TimeoutError):
            return False
        return True

    async def _connect(self) -> Connection:
        try:
            return await connect(self._dsn, self._options)
        except psycopg.OperationalError as error:
            if not self._options or _FROM_A_POOLER not in str(error):
                raise
        self._options = ""
        return await connect(self._dsn, self._options)


async def connect(dsn: Dsn, options: str, *, autocommit: bool = True) -> Connection:
    """A new connection to ``dsn``.

    :param options: libpq's parameter ``options``, appended to the one in the URL.
    """
    url = libpq_url(current(dsn))
    given = str(conninfo_to_dict(url).get("options") or "")
    return await psycopg.AsyncConnection.connect(
        url,
        autocommit=autocommit,
        prepare_threshold=None,
        application_name="agentjobs-session",
        options=f"{given} {options}".strip(),
        connect_timeout=CONNECT_SECONDS,
        tcp_user_timeout=STATEMENT_SECONDS * 1000,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
    )


async def fetch(connection: Connection, statement: LiteralString, values: Mapping[str, Any]) -> list[Row]:
    """All rows of one statement."""
    return await (await connection.execute(statement, values)).fetchall()


async def in_own_store(work: Callable[[], Awaitable[T]]) -> T:
    """The result of ``work``, whose database errors come from the session store and nowhere else (H11).

    Repeats the work where Postgres rolled its transaction back for the sake of another one: a deadlock, for
    example with ADK's own service, which inserts in another order, or a conflict at a stricter isolation.
    An agent's tool may raise the same psycopg errors for a database of its own. Only errors of such work
    come from our store, and only they are refunded.

    :raises SessionStoreUnavailable: connecting failed, the connection was lost, or the schema cannot be used.
    """
    for repeat in itertools.count():
        try:
            return await work()
        except Exception as error:
            cause = getattr(error, "orig", None) or error  # SQLAlchemy's errors hold the driver's
            if isinstance(cause, pg.DeadlockDetected | pg.SerializationFailure) and repeat < ROLLBACK_REPEATS:
                await asyncio.sleep(random.uniform(0.001, 0.02) * 2**repeat)
                continue
            if not isinstance(cause, psycopg.Error | OSError) or _is_about_data(cause):
                raise
            lines = str(cause).strip().splitlines()
            told = lines[0][:300] if lines else "no answer"
            raise SessionStoreUnavailable(
                f"The session store failed ({type(cause).__name__}: {told}). The attempt is not charged. "
                f"Check the database of the setting session_database_url and its schema {SCHEMA}."
            ) from error
    raise AssertionError("unreachable")


def _is_about_data(error: BaseException) -> bool:
    """Whether a value's type, size or key causes the error, so that a retry would fail as well."""
    return (getattr(error, "sqlstate", None) or "").startswith(("22", "23", "54"))


def _is_clean(connection: Connection) -> bool:
    """Whether the connection can be used again: not after an interrupted statement or a lost server."""
    return not connection.closed and connection.info.transaction_status is TransactionStatus.IDLE


def _has_news(connection: Connection) -> bool:
    """Whether the server has sent something unasked, as it does when it shuts down."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
