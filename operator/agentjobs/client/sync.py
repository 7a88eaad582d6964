"""The queue for programs that block: Django, Flask, Celery and the like.

What awaits runs in a thread of its own, with an event loop; a job on a caller's connection is enqueued in the caller's thread.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar, overload
from uuid import UUID

from agentjobs.client.callers_connection import enqueue_blocking
from agentjobs.client.handle import Handle, uid_of
from agentjobs.client.job import Job
from agentjobs.client.queue import Queue, Unique, to_enqueue
from agentjobs.dsn import Dsn
from agentjobs.queue import queue as inner
from agentjobs.queue.awaiting import End
from agentjobs.queue.errors import QueueUnavailable
from agentjobs.queue.records import AttemptRecord, JobView

T = TypeVar("T")
_LEFT_BEHIND: list[object] = []
"""What belongs to the process that this one was forked from: it must not be closed here, nor collected."""


@dataclass(slots=True)
class _Running:
    """A queue and the thread whose event loop it belongs to."""

    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    queue: Queue


class SyncQueue:
    """``Queue`` for code that blocks; threads share one. It connects with its first call, also anew after a fork: it
    may be made where a module is imported."""

    def __init__(
        self, dsn: Dsn, *, direct_dsn: Dsn | None = None, name: str = "agentjobs-app", connections: int = 4
    ) -> None:
        """As ``Queue.open``."""
        inner.Queue.check(dsn)
        inner.Queue.check(direct_dsn)
        self._open: Callable[[], Coroutine[Any, Any, Queue]] = lambda: Queue.open(
            dsn, direct_dsn=direct_dsn, name=name, connections=connections
        )
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._closed = False
        _QUEUES.add(self)

    @overload
    def enqueue(self, jobs: Job, *, conn: object | None = None, unique: str | None = None) -> SyncHandle: ...

    @overload
    def enqueue(
        self, jobs: Sequence[Job], *, conn: object | None = None, unique: Sequence[str | None] | None = None
    ) -> list[SyncHandle]: ...

    def enqueue(
        self, jobs: Job | Sequence[Job], *, conn: object | None = None, unique: Unique = None
    ) -> SyncHandle | list[SyncHandle]:
        """As ``Queue.enqueue``. ``conn``: one that blocks, such as Django's ``connection``."""
        made, one = to_enqueue(jobs, unique)
        if conn is None:
            new, transaction = self.run(lambda queue: queue.store(made)), None
        elif made:
            new, transaction = enqueue_blocking(conn, made)
        else:
            new, transaction = set(), None
        handles = [SyncHandle(job.uid, job.uid in new, transaction, self) for job in made]
        return handles[0] if one else handles

    def handle(self, uid: UUID | str) -> SyncHandle:
        """As ``Queue.handle``."""
        return SyncHandle(uid_of(uid), False, None, self)

    def run(self, call: Callable[[Queue], Coroutine[Any, Any, T]]) -> T:
        """What a call of the queue gives, once it has; an interrupt ends it."""
        running = self._started()
        future = asyncio.run_coroutine_threadsafe(call(running.queue), running.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Ends what waits with QueueUnavailable, closes all connections, and ends the thread."""
        with self._lock:
            self._closed = True
            running, self._running = self._running, None
        if running is not None:
            asyncio.run_coroutine_threadsafe(running.queue.close(), running.loop).result()
            running.loop.call_soon_threadsafe(running.loop.stop)
            running.thread.join()
            running.loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _started(self) -> _Running:
        with self._lock:
            if self._closed:
                raise QueueUnavailable("the queue is closed")
            if self._running is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=loop.run_forever, name="agentjobs-queue", daemon=True)
                thread.start()
                queue = asyncio.run_coroutine_threadsafe(self._open(), loop).result()
                self._running = _Running(loop, thread, queue)
            return self._running

    def forked(self) -> None:
        """In a child: the thread is the parent's, and so are the connections. The lock may have been held."""
        _LEFT_BEHIND.append(self._running)
        self._running, self._lock = None, threading.Lock()


_QUEUES: weakref.WeakSet[SyncQueue] = weakref.WeakSet()


def _forked() -> None:
    for queue in list(_QUEUES):
        queue.forked()


os.register_at_fork(after_in_child=_forked)


@dataclass(frozen=True, slots=True)
class SyncHandle:
    """``Handle`` for code that blocks."""

    uid: UUID
    new: bool
    _transaction: str | None = field(repr=False)
    _queue: SyncQueue = field(repr=False)

    def wait(self, timeout: float | None = None) -> End:
        """As ``Handle.wait``."""
        return self._run(lambda handle: handle.wait(timeout))

    def result(self, timeout: float | None = None) -> str:
        """As ``Handle.result``."""
        return self._run(lambda handle: handle.result(timeout))

    def status(self) -> JobView:
        """As ``Handle.status``."""
        return self._run(lambda handle: handle.status())

    def attempts(self) -> Sequence[AttemptRecord]:
        """As ``Handle.attempts``."""
        return self._run(lambda handle: handle.attempts())

    def cancel(self, *, by: str = "", reason: str = "") -> bool:
        """As ``Handle.cancel``."""
        return self._run(lambda handle: handle.cancel(by=by, reason=reason))

    def retry(self, *, by: str = "", reason: str = "") -> None:
        """As ``Handle.retry``."""
        self._run(lambda handle: handle.retry(by=by, reason=reason))

    def answer(
        self,
        approved: bool | None = None,
        *,
        question: str | None = None,
        payload: Any = None,
        by: str = "",
        reason: str = "",
    ) -> None:
        """As ``Handle.answer``."""
        self._run(
            lambda handle: handle.answer(approved, question=question, payload=payload, by=by, reason=reason)
        )

    def _run(self, call: Callable[[Handle], Coroutine[Any, Any, T]]) -> T:
        async def called(queue: Queue) -> T:
            return await call(queue.handle(self.uid, transaction=self._transaction))

        return self._queue.run(called)
