"""The queue: each operation is one statement, one transaction, one round trip."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from operator import attrgetter
from types import EllipsisType
from typing import Any, Self
from uuid import UUID

import orjson
import psycopg
from psycopg import errors

from agentjobs.database.connection import Row, Target
from agentjobs.database.fault import Fault, fault_of, one_line
from agentjobs.dsn import Dsn, current
from agentjobs.queue import codec, numbers, stats
from agentjobs.queue.breakers import Breakers, model_rows
from agentjobs.queue.claim_hint import ClaimHint
from agentjobs.queue.connection import CallersConnection, Database, fetch, is_data_error, raise_as_queue_error
from agentjobs.queue.errors import JobRejected, QueueUnavailable
from agentjobs.queue.kubernetes import KubernetesObjects
from agentjobs.queue.listen import Note, listen
from agentjobs.queue.records import (
    Ack,
    AckAnswer,
    AckKind,
    BeatResult,
    InputAnswer,
    JobView,
    NewJob,
    Progress,
    QueueState,
    State,
    StepResult,
    TickResult,
    WorkerInfo,
)
from agentjobs.queue.schedules import Schedules
from agentjobs.telemetry.job_spans import Timeline
from agentjobs.values.reasons import Reason
from agentjobs.values.text import dumps


class Queue(KubernetesObjects, Breakers, Schedules):
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
        self._hints: dict[UUID, ClaimHint] = {}

    @classmethod
    async def open(cls, dsn: Dsn, **options: Any) -> Self:
        """Makes a queue without waiting for the database: the first call fails where it is away."""
        queue = cls(dsn, **options)
        await queue._db.open()
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
        rows = await self._fetch_on(conn, "select agentjobs.enqueue(%s::json)", (codec.jobs_json(jobs),))
        new = set(rows[0][0] or ())
        return {job.uid: job.uid in new for job in jobs}

    async def _fetch_on(self, conn: CallersConnection | None, statement: Any, params: Sequence[Any]) -> Any:
        try:
            return await (fetch(conn, statement, params) if conn else self._db.fetch(statement, params))
        except psycopg.Error as error:
            if is_data_error(error):
                raise JobRejected("job", one_line(error), "see the message for what is wanted") from error
            if fault_of(error) is Fault.ROLLED_BACK:
                raise  # the caller's own transaction, to be repeated as a whole
            raise_as_queue_error(error)

    # -- workers ----------------------------------------------------------------------------------

    async def register(self, info: WorkerInfo) -> None:
        """Registers a worker, before its first beat or claim. Each registration needs a fresh uuid (H10)."""
        await self._beats.fetch(
            "select agentjobs.register(%s, %s, %s, %s::json, %s)",
            (info.id, info.name, info.pool, dumps(dict(info.queues)), info.version),
        )
        self._hints[info.id] = ClaimHint()

    async def unregister(self, worker: UUID) -> None:
        """Removes a worker at the end of its drain. The next tick rescues jobs that it still has."""
        await self._beats.fetch("select agentjobs.unregister(%s)", (worker,))
        self._hints.pop(worker, None)

    async def step(
        self,
        worker: UUID,
        token: int,
        acks: Sequence[Ack],
        slots: Mapping[str, int],
        *,
        total: int | None = None,
        idle: bool = False,
        max_jobs: int = numbers.CLAIM_JOBS,
    ) -> StepResult:
        """Acks runs that ended and claims jobs for free slots, in one commit.

        An ack with data that Postgres cannot store fails its own job alone (H6).

        :param token: the worker's claim counter, new for every call; with the worker's uuid the fence of the
            new runs.
        :param slots: free slots by queue; {}: claims nothing.
        :param idle: the worker has nothing in hand, so it may get a quarantined job (H14).
        """
        done, back, asks = codec.ack_rows(acks)
        heard = model_rows(acks)
        queues = [queue for queue, n in slots.items() if n > 0]
        counts = [slots[queue] for queue in queues]
        asked = min(sum(counts), max_jobs, sum(counts) if total is None else total)
        hint = self._hints.setdefault(worker, ClaimHint())
        started = time.monotonic()
        low = hint.low(queues, started)
        try:
            rows = await self._db.fetch(
                "select missed, alive, jobs, held from agentjobs.step("
                "%s, %s, %s::json, %s::json, %s, %s, %s, %s, %s::bigint[], %s, %s::json, %s::json)",
                (
                    worker,
                    token,
                    dumps(done) if done else None,
                    dumps(back) if back else None,
                    queues,
                    counts,
                    asked,
                    idle,
                    low,
                    self._expiry,
                    dumps(heard) if heard else None,
                    dumps(asks) if asks else None,
                ),
            )
        except psycopg.Error as error:
            if not (acks and is_data_error(error)):
                raise
            answers = await self._bisect(worker, token, acks, error)
            rest = await self.step(worker, token, (), slots, total=total, idle=idle, max_jobs=max_jobs)
            return StepResult(answers | dict(rest.answers), rest.jobs, rest.alive)
        missed, alive, text, blocked = rows[0]
        jobs = [] if text is None else [codec.claimed_job(row, token) for row in orjson.loads(text)]
        jobs.sort(key=attrgetter("pos"))  # in claim order; cheaper here than in SQL
        if asked > 0:
            hint.claimed(
                ((job.queue, job.pos) for job in jobs),
                short=len(jobs) < asked,
                rescan=low is None,
                started=started,
                ended=time.monotonic(),
            )
        answers = dict.fromkeys((ack.id for ack in acks), AckAnswer.OK)
        for id_, already in missed or ():
            answers[id_] = AckAnswer.ALREADY if already else AckAnswer.LOST
        if low is not None and alive and len(jobs) < asked and not any(job.solo for job in jobs):
            # jobs may have come back before the hint's places: look there now, the next call may be a poll
            # away (H25)
            left = dict(zip(queues, counts, strict=True))
            for job in jobs:
                left[job.queue] -= 1
            try:
                rest = await self.step(
                    worker, token, (), left, total=asked - len(jobs), idle=idle and not jobs
                )
                jobs += rest.jobs
            except QueueUnavailable:
                pass  # the jobs of the first reply are in hand; the next call does a full rescan
        return StepResult(answers, jobs, alive is not False, frozenset(blocked or ()))

    async def _bisect(
        self, worker: UUID, token: int, acks: Sequence[Ack], error: psycopg.Error
    ) -> dict[int, AckAnswer]:
        """Acks by halves until the ack that Postgres cannot store is alone; its job fails (H6)."""
        if len(acks) > 1:
            middle = len(acks) // 2
            first = await self.step(worker, token, acks[:middle], {})
            second = await self.step(worker, token, acks[middle:], {})
            return dict(first.answers) | dict(second.answers)
        bad = acks[0]
        what = f"the result cannot be stored: {error.diag.message_primary or type(error).__name__}"
        if bad.reason == Reason.RESULT_UNSTORABLE:
            raise error
        plain = Ack(bad.id, bad.token, AckKind.FAIL, reason=Reason.RESULT_UNSTORABLE, message=what)
        return dict((await self.step(worker, token, [plain], {})).answers)

    async def beat(
        self, worker: UUID, in_hand: Sequence[tuple[int, int]], in_flight: Sequence[int]
    ) -> BeatResult:
        """The heartbeat, in a transaction of its own (H12).

        :param in_hand: (job id, token) of the runs in hand.
        :param in_flight: tokens of claims without a reply yet.
        """
        try:
            rows = await self._beat(worker, in_hand, in_flight)
        except QueueUnavailable as error:
            if isinstance(error.__cause__, errors.ConnectionTimeout):
                self._db.give_up_silent()
            raise
        alive, release, controls, disowned = rows[0]
        return BeatResult(
            alive=alive,
            release=release,
            controls={(i, t): codec.control(c) for i, t, c in controls or ()},
            disowned=[(i, t) for i, t in disowned or ()],
        )

    async def _beat(
        self, worker: UUID, in_hand: Sequence[tuple[int, int]], in_flight: Sequence[int]
    ) -> list[Row]:
        return await self._beats.fetch(
            "select alive, release, controls, disowned from agentjobs.beat(%s, %s::json, %s::bigint[], %s)",
            (worker, dumps([{"i": i, "t": t} for i, t in in_hand]), list(in_flight), self._expiry),
        )

    async def disown(self, worker: UUID, runs: Sequence[tuple[int, int]]) -> int:
        """Gives back runs whose claim's reply was lost; attempts are refunded (H8)."""
        rows = await self._db.fetch(
            "select agentjobs.disown(%s, %s::json)", (worker, dumps([{"i": i, "t": t} for i, t in runs]))
        )
        return int(rows[0][0])

    async def progress(self, worker: UUID, rows: Sequence[Progress]) -> int:
        """Stores the progress of running jobs, skipping locked rows (H12). Returns how many rows changed."""
        said = [
            {"i": p.id, "t": p.token, "s": p.step, "e": p.event_count, "u": codec.usage_row(p.usage)}
            for p in rows
        ]
        answer = await self._db.fetch("select agentjobs.progress(%s, %s::json)", (worker, dumps(said)))
        return int(answer[0][0])

    async def tick(self, caller: UUID) -> TickResult:
        """One tick: promotes, enforces deadlines, rescues; one process at a time (H26)."""
        rows = await self._db.fetch(
            "select held_elsewhere, promoted, expired, rescued, admit, paused, next_due from agentjobs.tick(%s, %s)",
            (caller, self._expiry),
        )
        elsewhere, promoted, expired, rescued, admit, paused, next_due = rows[0]
        admitted = await self.admit() if admit else 0
        for queue in paused or ():
            await self._yield_paused(queue)
        return TickResult(elsewhere, admitted, promoted or 0, expired or 0, rescued or 0, next_due)

    async def prune(self) -> int:
        """Removes finished jobs whose retention is over, in transactions of their own; how many.

        All processes may call it: one at a time does the work, and again a minute later at the earliest.
        """
        removed = 0
        while True:
            rows = await self._db.fetch(
                "select agentjobs.retention(%s, %s)", (self._retention, numbers.PRUNE_JOBS)
            )
            batch = int(rows[0][0])
            removed += batch
            if batch < numbers.PRUNE_JOBS:
                return removed

    async def admit(self) -> int:
        """Admits due jobs of shared sessions: each takes its session, or its place behind it (H17)."""
        return int((await self._db.fetch("select agentjobs.admit()"))[0][0])

    # -- control ----------------------------------------------------------------------------------

    async def cancel(self, uid: UUID) -> State | None:
        """Cancels a waiting job, or asks a running one to end (then Running). None: unknown or finished."""
        return _state(await self._control(uid, "cancel"))

    async def suspend(self, uid: UUID) -> State | None:
        """Suspends a waiting job, or asks a running one to end (then Running). None: unknown or finished."""
        return _state(await self._control(uid, "suspend"))

    async def resume(self, uid: UUID) -> State | None:
        """Resumes a suspended job; its new state. None: unknown or finished."""
        return _state(await self._control(uid, "resume"))

    async def retry(self, uid: UUID) -> bool:
        """Begins a new round of a Failed or Cancelled job (H21). False: refused, or unknown."""
        return await self._control(uid, "retry") == "Queued"

    async def reprioritise(self, uid: UUID, priority: int) -> bool:
        if not 0 <= priority <= 9:
            raise JobRejected("priority", priority, "0 (first) to 9 is wanted")
        return await self._control(uid, "priority", priority) == "ok"

    async def set_max_attempts(self, uid: UUID, n: int) -> bool:
        """Changes how many attempts a round has. A running job goes on where none is left."""
        if n < 1:
            raise JobRejected("max_attempts", n, "at least 1 is wanted")
        return await self._control(uid, "maxAttempts", n) == "ok"

    async def answer(self, uid: UUID, answer: InputAnswer) -> str:
        """Answers a job's open question. Empty: the answer was taken; else why not. Raises JobRejected."""
        rows = await self._db.fetch(
            "select agentjobs.answer(%s, %s::json)", (uid, dumps(codec.answer_row(answer)))
        )
        return rows[0][0] or ""

    async def _control(self, uid: UUID, what: str, value: int | None = None) -> str | None:
        rows = await self._db.fetch("select agentjobs.control(%s, %s, %s)", (uid, what, value))
        answer = rows[0][0]
        assert answer is None or isinstance(answer, str)
        return answer

    async def set_queue(
        self,
        name: str,
        *,
        paused: bool | None = None,
        max_running: int | EllipsisType | None = ...,
        by: str = "",
        reason: str = "",
    ) -> None:
        """Pauses, unpauses and limits a queue (H22).

        :param paused: None: as it is.
        :param max_running: the limit on running jobs; None: no limit; ``...``: as it is.
        """
        codec.check_queue(name)
        if isinstance(max_running, int) and max_running < 0:
            raise JobRejected("max_running", max_running, "0 or more is wanted; None takes the limit away")
        limit = None if max_running is ... else max_running
        await self._db.fetch(
            "select agentjobs.set_queue(%s, %s, %s, %s, %s, %s)",
            (name, paused, by, reason, max_running is not ..., limit),
        )
        while paused and await self._yield_paused(name) == numbers.YIELD_JOBS:
            pass

    async def _yield_paused(self, queue: str) -> int:
        rows = await self._db.fetch("select agentjobs.yield_paused(%s, %s)", (queue, numbers.YIELD_JOBS))
        return int(rows[0][0])

    # -- reading ----------------------------------------------------------------------------------

    async def queues(self) -> list[QueueState]:
        """The queues that were ever paused or limited; all others are open."""
        rows = await self._db.fetch(
            "select name, paused_at is not null, paused_at, coalesce(paused_by, ''), coalesce(paused_reason, ''), max_running"
            " from agentjobs.queue order by name"
        )
        return [QueueState(*row) for row in rows]

    async def show(self, uid: UUID) -> JobView | None:
        """One job with all its ended runs and the tails of their logs."""
        rows = await self._db.fetch(
            "select job from agentjobs.view(array(select id from agentjobs.job where uid = %s), 1000, true)",
            (uid,),
        )
        return codec.job_view(rows[0][0]) if rows else None

    async def list(
        self,
        *,
        queue: str | None = None,
        state: State | None = None,
        namespace: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[JobView]:
        """A page of jobs, the newest first. ``before``: the id of the last job of the page before."""
        found: list[JobView] = []
        look = limit
        while True:
            wanted = limit - len(found)
            ((jobs, before),) = await self._db.fetch(
                "select jobs, seen from agentjobs.list(%s, %s, %s, %s, %s, %s)",
                (queue, state, namespace, before, wanted, max(look, wanted)),
            )
            found += [codec.job_view(job) for job in jobs or ()]
            if before is None or len(found) == limit:
                return found
            look = min(4 * look, numbers.LIST_LOOK)

    async def timelines(self, uids: Sequence[UUID]) -> Sequence[Timeline]:
        """When jobs waited and ran in their last round, of those that have ended; without texts."""
        rows = await self._db.fetch("select job from agentjobs.timeline(%s)", (list(uids),))
        return [codec.timeline(row[0]) for row in rows]

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

    def listen(self) -> AsyncIterator[Note]:
        """Notifications, for ever, on a direct connection of its own."""
        return listen(Target(self._direct_dsn, f"{self._name}-listen"))


def _state(answer: str | None) -> State | None:
    return None if answer is None else State(answer)
