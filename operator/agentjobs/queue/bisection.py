"""Bisection: of a batch that cannot be sent, the items that are at fault are found, and harm no other (H6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import psycopg

from agentjobs.database.fault import Fault, fault_of
from agentjobs.queue.errors import JobRejected, QueueError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_ROWS_AT_FAULT = ("21", "P0", "XX")
"""SQLSTATE classes, beside data, limits and constraints, of errors that one row of a batch can cause: cardinality, raised
by a function, damaged pages."""


async def each_alone(
    items: Sequence[Item],
    send: Callable[[Sequence[Item]], Awaitable[Answer]],
    refused: Callable[[Item, Exception], Awaitable[Answer]],
) -> list[Answer]:
    """Sends the items together; where one of them is at fault, by halves until that one is alone.

    For example, the third of four acks holds a text that the database's encoding lacks: the first two go together,
    the fourth goes alone, and ``refused`` decides about the third.

    :param send: encodes and sends some of the items, all or none of them.
    :param refused: answers for an item that cannot be sent, with the error that says why.
    :returns: the answers of ``send`` and ``refused``, in the order of the items; one, where all went together.
    """
    try:
        return [await send(items)]
    except Exception as error:
        if not is_about_a_row(error):
            raise
        if len(items) == 1:
            return [await refused(items[0], error)]
    middle = len(items) // 2
    first = await each_alone(items[:middle], send, refused)
    return first + await each_alone(items[middle:], send, refused)


def is_about_a_row(error: Exception) -> bool:
    """True where one item's value is at fault: it could not be encoded, or the database refused it.

    False where the statement, the role or the connection is: halves of the batch would fail alike.
    """
    if isinstance(error, QueueError):
        return isinstance(error, JobRejected)
    if not isinstance(error, psycopg.Error):
        return True  # of building the statement: TypeError, UnicodeEncodeError, RecursionError …
    fault = fault_of(error)
    if fault is Fault.OTHER:
        state = error.sqlstate  # none: psycopg itself could not adapt a value
        return state.startswith(_ROWS_AT_FAULT) if state else isinstance(error, psycopg.ProgrammingError)
    return fault in (Fault.DATA, Fault.KEY)


def why(error: Exception) -> str:
    """What a person is told of the fault: Postgres' first line alone, since its detail quotes the values."""
    if isinstance(error, JobRejected):
        return str(error)
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    if isinstance(error, UnicodeError):
        return f"{type(error).__name__}: {error.reason}" if hasattr(error, "reason") else type(error).__name__
    return f"{type(error).__name__}: {error}"[:200]
