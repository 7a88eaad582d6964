"""A cancelled task hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def cancellation_kept() -> Iterator[None]:
    """Raises CancelledError at its end where the task was cancelled inside and did not hear of it.

    psycopg waits by asyncio.wait_for, which until Python 3.12 swallows a cancellation that comes together with what
    it waits for; the task would then go on for ever, while whoever cancelled it waits for its end.
    https://github.com/python/cpython/issues/86296
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    yield
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
