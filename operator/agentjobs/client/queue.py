"""The queue for asyncio programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, overload
from uuid import UUID

from agentjobs.client.callers_connection import enqueue
from agentjobs.client.ends import Ends
from agentjobs.client.errors import InvalidJob
from agentjobs.client.handle import Handle, uid_of
from agentjobs.client.job import Job
from agentjobs.dsn import Dsn
from agentjobs.queue import queue as inner
from agentjobs.queue.records import NewJob

Unique = str | Sequence[str | None] | None
"""One key, or one for each job of a list."""


class Queue:
    """Enqueues jobs and tells what becomes of them. The tasks of one event loop share one.

    All methods raise QueueUnavailable where the database cannot be reached, and may then be repeated.
    """

    def __init__(self, queue: inner.Queue) -> None:
        """Use ``open``."""
        self._queue, self._ends = queue, Ends(queue)

    @classmethod
    async def open(
        cls, dsn: Dsn, *, direct_dsn: Dsn | None = None, name: str = "agentjobs-app", connections: int = 4
    ) -> Self:
        """A queue, without waiting for the database: the first call fails where it is away.

        :param dsn: the URL, or a function that is asked for it at each connect.
        :param direct_dsn: the URL without the pooler in transaction mode that ``dsn`` leads through, for LISTEN.
        :param name: the connections' application_name.
        :param connections: at most so many, and one that listens while jobs are awaited.
        :raises InvalidUrl: a URL cannot be read.
        """
        inner.Queue.check(dsn)
        inner.Queue.check(direct_dsn)
        return cls(
            await inner.Queue.open(
                dsn, beats=False, direct_dsn=direct_dsn, application_name=name, connections=connections
            )
        )

    @overload
    async def enqueue(
        self, jobs: Job, *, conn: object | None = None, unique: str | None = None
    ) -> Handle: ...

    @overload
    async def enqueue(
        self, jobs: Sequence[Job], *, conn: object | None = None, unique: Sequence[str | None] | None = None
    ) -> list[Handle]: ...

    async def enqueue(
        self, jobs: Job | Sequence[Job], *, conn: object | None = None, unique: Unique = None
    ) -> Handle | list[Handle]:
        """Stores a job, or several in one transaction. Raises InvalidJob, JobRejected.

        :param conn: the caller's connection, of psycopg, SQLAlchemy (or a session) or Django: the job is there if, and
            only if, its transaction commits. None: it is there when this returns.
        :param unique: a key of which there is one job in its namespace, as long as it is kept: the second enqueue stores
            nothing and gives the handle of the first. Of a list: a key, or None, for each.
        """
        made, one = to_enqueue(jobs, unique)
        if conn is None:
            new, transaction = await self.store(made), None
        elif made:
            new, transaction = await enqueue(conn, made)
        else:
            new, transaction = set(), None
        handles = [Handle(job.uid, job.uid in new, transaction, self._queue, self._ends) for job in made]
        return handles[0] if one else handles

    async def store(self, jobs: Sequence[NewJob]) -> set[UUID]:
        """Stores jobs in a transaction of their own; those that are new."""
        return {uid for uid, new in (await self._queue.enqueue(jobs)).items() if new}

    def handle(self, uid: UUID | str, *, transaction: str | None = None) -> Handle:
        """The handle of a job that was enqueued before, by whomever; nothing is asked of the database yet. Raises ValueError.

        :param uid: as ``Handle.uid``, or its text.
        :param transaction: in which it was enqueued, as Postgres numbers it, where that may still be open. None: it is not.
        """
        return Handle(uid_of(uid), False, transaction, self._queue, self._ends)

    async def close(self) -> None:
        """Ends what waits with QueueUnavailable, and closes all connections."""
        await self._ends.close()
        await self._queue.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def to_enqueue(jobs: Job | Sequence[Job], unique: Unique) -> tuple[list[NewJob], bool]:
    """The jobs as the queue takes them, and whether it was one alone. Raises InvalidJob."""
    one = isinstance(jobs, Job)
    several = [jobs] if isinstance(jobs, Job) else list(jobs)
    keys = [unique] if one else [None] * len(several) if unique is None else list(unique)
    for job in several:
        if not isinstance(job, Job):
            raise InvalidJob([f"jobs: Job.module(…) or Job.inline(…) is wanted, got {type(job).__name__}"])
    if (isinstance(unique, str) and not one) or len(keys) != len(several):
        raise InvalidJob([f"unique: one key, or None, for each of the {len(several)} jobs is wanted"])
    made = []
    for job, key in zip(several, keys, strict=True):
        if key is not None and (not isinstance(key, str) or not key):
            raise InvalidJob([f"unique: a text that is not empty is wanted, got {key!r:.80}"])
        made.append(job.to_enqueue(key))
    return made, one
