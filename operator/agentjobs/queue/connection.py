"""The connections of the queue: pooled statements, typed errors, repeats after a deadlock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import errors as pg
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from agentjobs.cancellation import cancellation_kept
from agentjobs.dsn import Dsn
from agentjobs.queue import numbers
from agentjobs.queue.errors import QueueUnavailable, SchemaMismatch

DEADLOCK_REPEATS = 5
Row = tuple[Any, ...]
Params = Sequence[Any] | Mapping[str, Any]
Connection = psycopg.AsyncConnection[Row]
CallersConnection = psycopg.AsyncConnection[Any]
"""One that the caller opened, whatever rows it makes."""


class Database:
    """A small pool of autocommit connections; each call is one statement, one transaction, one round trip.

    A pooler in transaction mode may sit in between: no call needs a session, and no statement is prepared.
    """

    def __init__(self, dsn: Dsn, *, name: str, size: int, pooled: bool) -> None:
        """
        :param dsn: the URL, or a function that is asked for it at each connect.
        :param pooled: the URL leads through a pooler, which refuses settings of the session at the start.
        """
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            kwargs={"autocommit": True, "prepare_threshold": None, **connect_options(name, pooled=pooled)},
            min_size=1,
            max_size=size,
            open=False,
            timeout=numbers.CONNECT_TIMEOUT_SECONDS,
            reconnect_timeout=1.0,
            name=name,
        )

    async def open(self) -> None:
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close(timeout=2)

    async def fetch(self, statement: LiteralString, params: Params = ()) -> list[Row]:
        """All rows of one statement. Raises QueueUnavailable where the connection fails, SchemaMismatch."""
        for repeat in range(DEADLOCK_REPEATS + 1):
            try:
                with cancellation_kept():
                    async with self._pool.connection() as conn:
                        return await fetch(conn, statement, params)
            except (pg.DeadlockDetected, pg.SerializationFailure):
                if repeat == DEADLOCK_REPEATS:
                    raise
                await asyncio.sleep(random.uniform(0.001, 0.02) * 2**repeat)
            except (PoolTimeout, PoolClosed) as error:
                raise QueueUnavailable(f"database: no connection: {error}") from error
            except psycopg.OperationalError as error:
                raise QueueUnavailable(f"database: {error}".strip()) from error
            except (pg.UndefinedFunction, pg.UndefinedTable, pg.InvalidSchemaName) as error:
                raise SchemaMismatch(
                    f"the database lacks what this version needs ({error.diag.message_primary}); "
                    "run `agentjobs migrate up`"
                ) from error
        raise AssertionError("unreachable")


async def fetch(conn: CallersConnection, statement: LiteralString, params: Params = ()) -> list[Row]:
    # a caller's own connection may have another row factory, or server-side cursors
    cursor = psycopg.AsyncCursor(conn, row_factory=tuple_row)
    await cursor.execute(statement, params)
    return await cursor.fetchall()


def connect_options(name: str, *, pooled: bool) -> dict[str, Any]:
    """Connection options that bound how long a dead peer or a stuck statement can block us (H7)."""
    options: dict[str, Any] = {
        "application_name": name,
        "connect_timeout": numbers.CONNECT_TIMEOUT_SECONDS,
        "tcp_user_timeout": numbers.TCP_USER_TIMEOUT_SECONDS * 1000,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
    }
    if not pooled:
        options["options"] = (
            f"-c statement_timeout={numbers.STATEMENT_TIMEOUT_SECONDS * 1000}"
            f" -c idle_in_transaction_session_timeout={numbers.IDLE_IN_TRANSACTION_SECONDS * 1000}"
        )
    return options


def is_data_error(error: psycopg.Error) -> bool:
    """True: the data of one row is at fault, not the statement or the database (H6)."""
    state = error.sqlstate or ""
    return state.startswith(("22", "54"))
