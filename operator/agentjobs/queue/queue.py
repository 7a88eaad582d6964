"""The queue: each operation is one statement, one transaction, one round trip."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

import psycopg

from agentjobs.database.connection import Target, parts_of
from agentjobs.database.fault import Fault, fault_of
from agentjobs.dsn import Dsn, current
from agentjobs.queue import codec, numbers, replies, stats
from agentjobs.queue.audit import Audit
from agentjobs.queue.awaiting import Awaiting
from agentjobs.queue.bisection import each_alone, is_about_a_row, why
from agentjobs.queue.board import Boards
from agentjobs.queue.bulk_acts import BulkActs
from agentjobs.queue.claim_hint import ClaimHint
from agentjobs.queue.connection import CallersConnection, Database, fetch, raise_as_queue_error
from agentjobs.queue.controls import Controls
from agentjobs.queue.erasure import Erasure
from agentjobs.queue.errors import InvalidUrl, JobRejected
from agentjobs.queue.kubernetes import KubernetesObjects
from agentjobs.queue.listen import CHANNELS, DEAF_SECONDS, Kind, Note, listen
from agentjobs.queue.records import (
    JobView,
    NewJob,
    QueueState,
    State,
    TickResult,
    WorkerInfo,
)
from agentjobs.queue.schedule_list import ScheduleLists
from agentjobs.queue.schedules import Schedules
from agentjobs.queue.workers import Workers
from agentjobs.telemetry.job_spans import Timeline

log = logging.getLogger(__name__)

_ENQUEUE = "select agentjobs.enqueue(%s::json)"


class Queue(
    Workers, Controls, KubernetesObjects, BulkActs, Boards, Schedules, ScheduleLists, Audit, Erasure, Awaiting
):
    """The queue's face for workers, operators and commands. Tasks of one event loop may share it.

    All methods raise QueueUnavailable where the database cannot be reached, and may then be repeated.
    """

    def __init__(
        self,
        dsn: Dsn,
        *,
        direct_dsn: Dsn | None = None,
        application_name: str = "agentjobs",
        expiry_seconds: float = numbers.EXPIRY_SECONDS,
        retention_seconds: float = numbers.RETENTION_SECONDS,
        audit_retention_seconds: float = numbers.AUDIT_RETENTION_SECONDS,
        connections: int = 4,
    ) -> None:
        """A ``dsn`` through a pooler in transaction mode needs ``direct_dsn`` too, for LISTEN."""
        pooled = direct_dsn is not None and current(direct_dsn) != current(dsn)
        self._db = Database(dsn, name=application_name, size=connections, pooled=pooled)
        # a connection of its own: a heartbeat must not wait behind claims (H12)
        self._beats = Database(
            dsn,
            name=f"{application_name}-beat",
            size=1,
            pooled=pooled,
            answer_seconds=numbers.BEAT_ANSWER_SECONDS,
        )
        self._direct_dsn, self._name = direct_dsn or dsn, application_name
        self._expiry = timedelta(seconds=expiry_seconds)
        self._retention = timedelta(seconds=retention_seconds)
        self._audit_retention = timedelta(seconds=audit_retention_seconds)
        self._hints: dict[UUID, ClaimHint] = {}

    @staticmethod
    def check(dsn: Dsn | None) -> None:
        """Raises InvalidUrl where a URL that is given as a text cannot be read, which no waiting cures."""
        if isinstance(dsn, str):
            try:
                parts_of(dsn)
            except psycopg.OperationalError as error:
                raise InvalidUrl(str(error)) from None

    @classmethod
    async def open(cls, dsn: Dsn, **options: Any) -> Self:
        """Makes a queue without waiting for the database: the first call fails where it is away.

        :param options: as the constructor's; ``beats=False``: this process sends no heartbeat, and needs no connection for them.
        """
        beats = options.pop("beats", True)
        queue = cls(dsn, **options)
        await queue._db.open()
        if beats:
            await queue._beats.open()
        return queue

    async def close(self) -> None:
        await asyncio.gather(self._db.close(), self._beats.close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- enqueue ----------------------------------------------------------------------------------

    async def enqueue(
        self, jobs: Sequence[NewJob], conn: CallersConnection | None = None
    ) -> dict[UUID, bool]:
        """Stores jobs, idempotent by uid; True for those that are new. Raises JobRejected.

        :param conn: stores them in the caller's own transaction: they become visible, and workers are woken,
            when the caller commits. Takes no lock for which a worker could have to wait (H12).
        """
        if not jobs:
            return {}
        params = (codec.jobs_json(jobs),)
        try:
            rows = await (fetch(conn, _ENQUEUE, params) if conn else self._db.fetch(_ENQUEUE, params))
        except Exception as error:
            if isinstance(error, JobRejected) or not is_about_a_row(error):
                if isinstance(error, psycopg.Error) and fault_of(error) is not Fault.ROLLED_BACK:
                    raise_as_queue_error(error)
                raise  # rolled back: the caller's own transaction, to be repeated as a whole
            uid = await self._unstorable(jobs)
            raise JobRejected(
                "job", str(uid or "one of them"), f"it cannot be stored: {why(error)}"
            ) from error
        new = set(rows[0][0] or ())
        return {job.uid: job.uid in new for job in jobs}

    async def _unstorable(self, jobs: Sequence[NewJob]) -> UUID | None:
        """The first job that the database refuses, found in transactions that are rolled back."""

        async def fits(some: Sequence[NewJob]) -> None:
            await self._db.try_out(_ENQUEUE, (codec.jobs_json(some),))

        async def found(job: NewJob, _: Exception) -> UUID:
            return job.uid

        return next(filter(None, await each_alone(jobs, fits, found)), None)

    # -- upkeep -----------------------------------------------------------------------------------

    async def tick(self, caller: UUID) -> TickResult:
        """One tick: promotes, enforces deadlines, rescues; one process at a time (H26)."""
        rows = await self._db.fetch(
            "select held_elsewhere, promoted, expired, rescued, admit, paused, next_due, failed"
            " from agentjobs.tick(%s, %s)",
            (caller, self._expiry),
        )
        elsewhere, promoted, expired, rescued, admit, paused, next_due, failed = rows[0]
        admitted = await self.admit() if admit else 0
        for queue in paused or ():
            await self._yield_paused(queue)
        return TickResult(
            elsewhere, admitted, promoted or 0, expired or 0, rescued or 0, next_due, tuple(failed or ())
        )

    async def prune(self) -> int:
        """Removes finished jobs whose retention is over, in transactions of their own; how many. And the audit's rows
        whose own, longer retention is over, a batch with each transaction.

        All processes may call it: one at a time does the work, and again a minute later at the earliest.
        """
        removed = 0
        while True:
            rows = await self._db.fetch(
                "select agentjobs.retention(%s, %s, %s)",
                (self._retention, numbers.PRUNE_JOBS, self._audit_retention),
            )
            batch = int(rows[0][0])
            removed += batch
            if batch < numbers.PRUNE_JOBS:
                return removed

    async def kept_records(self, uids: Sequence[UUID]) -> frozenset[UUID]:
        """Those of these jobs whose record retention has not removed."""
        rows = await self._db.fetch("select agentjobs.kept_records(%s::uuid[])", (list(uids),))
        return frozenset(rows[0][0])

    async def admit(self) -> int:
        """Admits due jobs of shared sessions: each takes its session, or its place behind it (H17)."""
        return int((await self._db.fetch("select agentjobs.admit()"))[0][0])

    # -- reading ----------------------------------------------------------------------------------

    async def queues(self) -> list[QueueState]:
        """The queues that were ever paused or limited; all others are open."""
        rows = await self._db.fetch(
            "select name, paused, paused_at, paused_by, reason, max_running from agentjobs.queues()"
        )
        return [QueueState(*row) for row in rows]

    async def show(self, uid: UUID, *, runs: bool = True) -> JobView | None:
        """One job with all its ended runs and the tails of their logs; without ``runs`` the job alone, for who looks often."""
        rows = await self._db.fetch(
            "select job::text from agentjobs.show(%s, %s, %s)",
            (uid, 1000 if runs else 0, runs),
        )
        return await self._job_view(rows[0][0]) if rows else None

    async def timelines(self, uids: Sequence[UUID]) -> Sequence[Timeline]:
        """When jobs waited and ran in their last round, of those that have ended; without texts."""

        async def read(some: Sequence[UUID]) -> list[Timeline]:
            rows = await self._db.fetch("select job from agentjobs.timeline(%s)", (list(some),))
            return [replies.timeline(row[0]) for row in rows]

        async def leave_out(uid: UUID, error: Exception) -> list[Timeline]:
            log.error("the timeline of job %s cannot be read", uid, exc_info=error)
            return []

        found = await each_alone(uids, read, leave_out) if uids else []
        return [timeline for part in found for timeline in part]

    async def counts(self) -> dict[tuple[str, State], int]:
        """The number of unfinished jobs by queue and state."""
        rows = await self._db.fetch("select queue, state, n from agentjobs.counts()")
        return {(queue, State(state)): n for queue, state, n in rows}

    async def stats(self, *, most_queues: int, other: str) -> stats.QueueStats:
        """The numbers for metrics. Reads all waiting jobs: cache the answer."""
        return await stats.read(self._db, self._expiry, most_queues, other)

    async def workers(self) -> Sequence[WorkerInfo]:
        """The live processes, operators included."""
        rows = await self._db.fetch(
            "select id, name, queues, version, pool from agentjobs.worker"
            " where beat_at > clock_timestamp() - %s order by name",
            (self._expiry,),
        )
        return [WorkerInfo(*row) for row in rows]

    def listen(
        self, channels: Sequence[Kind] = CHANNELS, *, deaf_seconds: float = DEAF_SECONDS
    ) -> AsyncGenerator[Note, None]:
        """Notifications, for ever, on a direct connection of its own."""
        return listen(Target(self._direct_dsn, f"{self._name}-listen"), channels, deaf_seconds=deaf_seconds)
