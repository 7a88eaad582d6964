"""This process's connection to the session store: one, made when it is needed, replaced when it broke.

A run writes one event after the other, so one connection is enough; who writes at the same time waits. Nothing here
needs a session of the server's: no statement is prepared, no setting is relied on.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from agentjobs.agents.sessions.url import SCHEMA, libpq_url
from agentjobs.agents.verdict.errors import SessionStoreUnavailable
from agentjobs.cancellation import cancellation_kept
from agentjobs.dsn import Dsn, current

Row = tuple[Any, ...]
Connection = psycopg.AsyncConnection[Row]

CONNECT_SECONDS = 10
STATEMENT_SECONDS = 30
"""No statement of a session store takes long; a hung one must not hold a job until its attempt times out."""
IDLE_SECONDS = 10
"""After that long without a word the connection is asked whether it still works: a model call of minutes lies between
two writes, and a firewall drops what is silent without telling anybody."""
PING_SECONDS = 5
OPTIONS = f"-c statement_timeout={STATEMENT_SECONDS}s -c idle_in_transaction_session_timeout=60s"
_FROM_A_POOLER = "unsupported startup parameter"


class SessionConnection:
    """The connection, and the errors of what is done with it."""

    def __init__(self, dsn: Dsn) -> None:
        """
        :raises ValueError: the URL is none of Postgres.
        """
        libpq_url(current(dsn))
        self._dsn = dsn
        self._connection: Connection | None = None
        self._one_at_a_time = asyncio.Lock()
        self._last_used = 0.0
        self._options = OPTIONS

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """The connection, for this task alone until the end of the block."""
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
        """Closes the connection, if there is one. What is done next makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def release(self) -> None:
        """The same, after what is being done."""
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
    """A connection of its own.

    :param options: added to those of the URL, as libpq's parameter of that name.
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


@asynccontextmanager
async def own_store() -> AsyncIterator[None]:
    """Turns failures of the database below into ours, so that no tool's database error is taken for one (H11).

    :raises SessionStoreUnavailable: cannot connect, lost the connection, or the schema is not usable.
    """
    try:
        yield
    except Exception as error:
        cause = getattr(error, "orig", None) or error  # SQLAlchemy's errors hold the driver's
        if not isinstance(cause, psycopg.Error | OSError) or _is_about_data(cause):
            raise
        lines = str(cause).strip().splitlines()
        told = lines[0][:300] if lines else "no answer"
        raise SessionStoreUnavailable(
            f"The session store failed ({type(cause).__name__}: {told}). The attempt is not charged. "
            f"Check the database of the setting session_database_url and its schema {SCHEMA}."
        ) from error


def _is_about_data(error: BaseException) -> bool:
    """True where a value is at fault, its kind, its size or its key, and no other moment would be better."""
    return (getattr(error, "sqlstate", None) or "").startswith(("22", "23", "54"))


def _is_clean(connection: Connection) -> bool:
    """False after an interrupted statement or a lost server: such a connection is not used again."""
    return not connection.closed and connection.info.transaction_status is TransactionStatus.IDLE


def _has_news(connection: Connection) -> bool:
    """Whether the server said something that nobody asked for: it does so when it goes."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
