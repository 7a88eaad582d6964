"""A guard for awaits that may swallow the cancellation of their task."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def cancellation_kept() -> Iterator[None]:
    """Raises CancelledError at its end where the task was cancelled inside and the block swallowed it.

    For example, psycopg waits by asyncio.wait_for. Before Python 3.12, wait_for swallows a cancellation that
    comes together with its result. The task would go on for ever, and its canceller would wait for ever.
    https://github.com/python/cpython/issues/86296
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    yield
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
