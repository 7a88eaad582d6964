"""Enqueueing on a connection that the caller opened, in the caller's transaction, whatever the driver."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Sequence
from typing import Any, NamedTuple, NoReturn
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row

from agentjobs.database.fault import Fault, fault_of
from agentjobs.queue.awaiting import ENQUEUE_HERE, new_uids
from agentjobs.queue.bisection import is_about_a_row, why
from agentjobs.queue.codec import jobs_json
from agentjobs.queue.connection import queue_error
from agentjobs.queue.errors import JobRejected
from agentjobs.queue.records import NewJob

_PERCENT = ENQUEUE_HERE.format("%s")
_NAMED = ENQUEUE_HERE.format(":jobs")
_WANTED = "conn: a connection of psycopg, a connection or session of SQLAlchemy, or Django's connection is wanted, got {}"


class Stored(NamedTuple):
    """What one enqueue on a caller's connection has stored."""

    new: set[UUID]
    transaction: str
    """The caller's transaction, as Postgres numbers it."""


async def enqueue(conn: object, jobs: Sequence[NewJob]) -> Stored:
    """Stores jobs in the caller's transaction. Raises TypeError for what is no connection; of a psycopg underneath
    the queue's errors, else the driver's own."""
    text = jobs_json(jobs)
    try:
        row = _asked(conn, text)
        return _stored(await row if inspect.isawaitable(row) else row)
    except Exception as error:
        _raise_known(error)


def enqueue_blocking(conn: object, jobs: Sequence[NewJob]) -> Stored:
    """As ``enqueue``, for a connection that blocks."""
    text = jobs_json(jobs)
    if isinstance(conn, psycopg.AsyncConnection) or _is_async_sqlalchemy(conn):
        raise TypeError(f"conn: {_name(conn)} is asyncio's: use agentjobs.Queue, or a connection that blocks")
    try:
        return _stored(_asked(conn, text))
    except Exception as error:
        _raise_known(error)


def _asked(conn: Any, text: str) -> Any:
    """The row of the answer, or an awaitable of it."""
    if isinstance(conn, psycopg.AsyncConnection):
        return _psycopg_row(conn, text)
    if isinstance(conn, psycopg.Connection):
        # the caller's own connection may make other rows
        return psycopg.Cursor(conn, row_factory=tuple_row).execute(_PERCENT, (text,)).fetchone()
    packages = _packages(conn)
    if "sqlalchemy" in packages and hasattr(conn, "execute"):  # an engine has none
        import sqlalchemy

        answer = conn.execute(sqlalchemy.text(_NAMED), {"jobs": text})
        return _sqlalchemy_row(answer) if inspect.isawaitable(answer) else answer.one()
    if packages & {"django", "psycopg2"}:
        if (vendor := getattr(conn, "vendor", "postgresql")) != "postgresql":
            raise TypeError(
                f"conn: Django's connection {conn.alias!r} is {vendor}; one to the queue's Postgres is wanted"
            )
        with conn.cursor() as cursor:
            cursor.execute(_PERCENT, (text,))
            return cursor.fetchone()
    raise TypeError(_WANTED.format(_name(conn)))


async def _psycopg_row(conn: psycopg.AsyncConnection[Any], text: str) -> Any:
    cursor = psycopg.AsyncCursor(conn, row_factory=tuple_row)
    return await (await cursor.execute(_PERCENT, (text,))).fetchone()


async def _sqlalchemy_row(answer: Awaitable[Any]) -> Any:
    return (await answer).one()


def _stored(row: Sequence[Any]) -> Stored:
    return Stored(new_uids(row[0]), row[1])


def _packages(conn: object) -> set[str]:
    return {kind.__module__.partition(".")[0] for kind in type(conn).__mro__}


def _is_async_sqlalchemy(conn: object) -> bool:
    return any(kind.__module__.startswith("sqlalchemy.ext.asyncio") for kind in type(conn).__mro__)


def _name(conn: object) -> str:
    return f"{type(conn).__module__}.{type(conn).__qualname__}"


def _raise_known(error: Exception) -> NoReturn:
    """Raises the queue's error where it knows one; else the error itself. What was rolled back is the caller's own
    transaction, to be repeated as a whole: it stays the driver's."""
    beneath = error if isinstance(error, psycopg.Error) else getattr(error, "orig", None) or error.__cause__
    if isinstance(beneath, psycopg.Error) and fault_of(beneath) is not Fault.ROLLED_BACK:
        if is_about_a_row(beneath):
            raise JobRejected("job", "one of them", f"it cannot be stored: {why(beneath)}") from error
        if (known := queue_error(beneath)) is not None:
            raise known from error
    raise error
