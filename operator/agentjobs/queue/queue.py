"""The queue: each operation is one statement, one transaction, one round trip."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from types import EllipsisType
from typing import Any, Self
from uuid import UUID

import orjson
import psycopg
from psycopg import errors

from agentjobs.database.connection import Row, Target
from agentjobs.database.fault import Fault, fault_of
from agentjobs.dsn import Dsn, current
from agentjobs.queue import codec, numbers, stats
from agentjobs.queue.audit import Act, Audit, act_json
from agentjobs.queue.bisection import each_alone, is_about_a_row, why
from agentjobs.queue.board import Boards
from agentjobs.queue.breakers import model_rows
from agentjobs.queue.bulk_acts import BulkActs
from agentjobs.queue.claim_hint import ClaimHint
from agentjobs.queue.connection import CallersConnection, Database, fetch, raise_as_queue_error
from agentjobs.queue.erasure import Erasure
from agentjobs.queue.errors import JobRejected, QueueUnavailable
from agentjobs.queue.kubernetes import KubernetesObjects
from agentjobs.queue.listen import Note, listen
from agentjobs.queue.records import (
    Ack,
    AckAnswer,
    AckKind,
    BeatResult,
    ClaimedJob,
    InputAnswer,
    JobView,
    NewJob,
    OutputTail,
    Progress,
    QueueState,
    RunOutput,
    State,
    StepResult,
    TickResult,
    WorkerInfo,
)
from agentjobs.queue.schedule_list import ScheduleLists
from agentjobs.queue.schedules import Schedules
from agentjobs.telemetry.job_spans import Timeline
from agentjobs.values.reasons import Reason
from agentjobs.values.text import clean, dumps
from agentjobs.values.verbs import Verb

log = logging.getLogger(__name__)

_ENQUEUE = "select agentjobs.enqueue(%s::json)"


class Queue(KubernetesObjects, BulkActs, Boards, Schedules, ScheduleLists, Audit, Erasure):
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

        An ack that cannot be encoded, or that Postgres refuses, fails its own job alone (H6).

        :param token: the worker's claim counter, new for every call; with the worker's uuid the fence of the
            new runs.
        :param slots: free slots by queue; {}: claims nothing.
        :param idle: the worker has nothing in hand, so it may get a quarantined job (H14).
        """
        total = sum(slots.values()) if total is None else total
        try:
            return await self._step(worker, token, acks, slots, total, idle=idle, max_jobs=max_jobs)
        except Exception as error:
            if not acks or not is_about_a_row(error):
                raise
        results = await each_alone(
            acks,
            lambda some: self._step(worker, token, some, {}),
            partial(self._fail_unstorable, worker, token),
        )
        results.append(await self._step(worker, token, (), slots, total, idle=idle, max_jobs=max_jobs))
        return StepResult(
            {id_: answer for result in results for id_, answer in result.answers.items()},
            results[-1].jobs,
            results[-1].alive,
            frozenset().union(*(result.blocked for result in results)),
            {id_: error for result in results for id_, error in result.refused.items()},
        )

    async def _step(
        self,
        worker: UUID,
        token: int,
        acks: Sequence[Ack],
        slots: Mapping[str, int],
        total: int = 0,
        *,
        idle: bool = False,
        max_jobs: int = 0,
    ) -> StepResult:
        """One statement of ``step``."""
        done, back, asks = codec.ack_rows(acks)
        heard = model_rows(acks)
        queues = [queue for queue, n in slots.items() if n > 0]
        counts = [slots[queue] for queue in queues]
        asked = min(sum(counts), max_jobs, total)
        hint = self._hints.setdefault(worker, ClaimHint())
        started = time.monotonic()
        low = hint.low(queues, started)
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
        missed, alive, text, blocked = rows[0]
        jobs = [] if text is None else await self._claimed(text, token)
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
                rest = await self._step(
                    worker, token, (), left, asked - len(jobs), idle=idle and not jobs, max_jobs=max_jobs
                )
                jobs += rest.jobs
            except QueueUnavailable:
                pass  # the jobs of the first reply are in hand; the next call does a full rescan
        return StepResult(answers, jobs, alive is not False, frozenset(blocked or ()))

    async def _claimed(self, text: str, token: int) -> list[ClaimedJob]:
        """The jobs of a claim's reply. A caller of the SQL function may have stored a payload that cannot be read:
        such a job comes with ``payload_problem``."""
        try:
            return [codec.claimed_job(row, token) for row in orjson.loads(text)]
        except ValueError:
            rows = await self._db.fetch(
                "select x::text, (select json_agg(case when n = 7 then null else e end order by n)::text"
                " from json_array_elements(x) with ordinality as row(e, n)) from json_array_elements(%s::json) x",
                (text,),
            )
        jobs = []
        for whole, without_payload in rows:
            try:
                jobs.append(codec.claimed_job(orjson.loads(whole), token))
            except ValueError as error:
                problem = f"payload cannot be read as JSON: {error}"
                jobs.append(codec.claimed_job(orjson.loads(without_payload), token, problem))
        return jobs

    async def _fail_unstorable(self, worker: UUID, token: int, ack: Ack, error: Exception) -> StepResult:
        """Fails the job of an ack that cannot be stored; where not even that can be, the ack has no answer."""
        log.error("the ack of job %d cannot be stored", ack.id, exc_info=error)
        message = f"the result cannot be stored: {why(error)}"
        plain = Ack(ack.id, ack.token, AckKind.FAIL, 0.0, Reason.RESULT_UNSTORABLE, message, usage=ack.usage)
        try:
            return await self._step(worker, token, [plain], {})
        except Exception as again:
            if not is_about_a_row(again):
                raise
            return StepResult({}, (), alive=True, refused={ack.id: again})

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
        alive, release, controls, disowned, wanted = rows[0]
        return BeatResult(
            alive=alive,
            release=release,
            controls={(i, t): codec.control(c) for i, t, c in controls or ()},
            disowned=[(i, t) for i, t in disowned or ()],
            wanted={(i, t): stored for i, t, stored in wanted or ()},
        )

    async def _beat(
        self, worker: UUID, in_hand: Sequence[tuple[int, int]], in_flight: Sequence[int]
    ) -> list[Row]:
        return await self._beats.fetch(
            "select alive, release, controls, disowned, wanted from agentjobs.beat(%s, %s::json, %s::bigint[], %s)",
            (worker, dumps([{"i": i, "t": t} for i, t in in_hand]), list(in_flight), self._expiry),
        )

    async def disown(self, worker: UUID, runs: Sequence[tuple[int, int]]) -> int:
        """Gives back runs whose claim's reply was lost; attempts are refunded (H8)."""
        rows = await self._db.fetch(
            "select agentjobs.disown(%s, %s::json)", (worker, dumps([{"i": i, "t": t} for i, t in runs]))
        )
        return int(rows[0][0])

    async def progress(self, worker: UUID, rows: Sequence[Progress]) -> int:
        """Stores the progress of running jobs, skipping locked rows (H12). Returns how many rows changed.

        A row that cannot be stored is logged, left out and counted as changed.
        """

        async def store(some: Sequence[Progress]) -> int:
            said = codec.progress_rows(some)
            answer = await self._db.fetch("select agentjobs.progress(%s, %s::json)", (worker, dumps(said)))
            return int(answer[0][0])

        async def leave_out(row: Progress, error: Exception) -> int:
            log.error("the progress of job %d cannot be stored", row.id, exc_info=error)
            return 1

        return sum(await each_alone(rows, store, leave_out))

    async def store_output(self, worker: UUID, rows: Sequence[OutputTail]) -> int:
        """Stores what runs have printed that somebody reads. Returns how many were stored: the others are sent again as long as
        a beat names them."""
        answer = await self._db.fetch(
            "select agentjobs.store_output(%s, %s::json)", (worker, dumps(codec.output_rows(rows)))
        )
        return int(answer[0][0])

    async def want_output(
        self, uid: UUID, *, seconds: float = 30.0, seen: datetime | None = None
    ) -> RunOutput | None:
        """What the job's run has printed lately; None: it does not run. Its worker stores that for ``seconds`` from now on.

        :param seen: the moment (``at``) of the output that the reader has.
        """
        rows = await self._db.fetch(
            "select run, at, skipped, output from agentjobs.want_output(%s, %s, %s)",
            (uid, timedelta(seconds=seconds), seen),
        )
        run, at, skipped, text = rows[0]
        return None if run is None else RunOutput(run, at, skipped or 0, text)

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

    async def admit(self) -> int:
        """Admits due jobs of shared sessions: each takes its session, or its place behind it (H17)."""
        return int((await self._db.fetch("select agentjobs.admit()"))[0][0])

    # -- control: ``by`` is who acts, for the audit (docs/audit.md) -------------------------------

    async def cancel(self, uid: UUID, by: Act | None = None) -> State | None:
        """Cancels a waiting job, or asks a running one to end (then Running). None: unknown or finished."""
        return _state(await self._control(uid, Verb.CANCEL, "cancel", by))

    async def suspend(self, uid: UUID, by: Act | None = None) -> State | None:
        """Suspends a waiting job, or asks a running one to end (then Running). None: unknown or finished."""
        return _state(await self._control(uid, Verb.SUSPEND, "suspend", by))

    async def resume(self, uid: UUID, by: Act | None = None) -> State | None:
        """Resumes a suspended job; its new state. None: unknown or finished."""
        return _state(await self._control(uid, Verb.RESUME, "resume", by))

    async def retry(self, uid: UUID, by: Act | None = None) -> bool:
        """Begins a new round of a Failed or Cancelled job (H21). False: refused, or unknown."""
        return await self._control(uid, Verb.RETRY, "retry", by) == "Queued"

    async def reprioritise(self, uid: UUID, priority: int, by: Act | None = None) -> bool:
        codec.check_number("priority", priority)
        return await self._control(uid, Verb.REPRIORITISE, "priority", by, priority) == "ok"

    async def set_max_attempts(self, uid: UUID, n: int, by: Act | None = None) -> bool:
        """Changes how many attempts a round has. A running job goes on where none is left."""
        codec.check_number("max_attempts", n)
        return await self._control(uid, Verb.SET_MAX_ATTEMPTS, "maxAttempts", by, n) == "ok"

    async def answer(self, uid: UUID, answer: InputAnswer, by: Act | None = None) -> str:
        """Answers a job's open question. Empty: the answer was taken; else why not. Raises JobRejected.

        :param by: None: the audit has the name and the reason of the answer.
        """
        verb = Verb.APPROVE if answer.approved else Verb.REJECT
        rows = await self._db.fetch(
            "select agentjobs.answer(%s, %s::json, %s::json)",
            (uid, dumps(codec.answer_row(answer)), act_json(by, verb)),
        )
        return rows[0][0] or ""

    async def _control(
        self, uid: UUID, verb: Verb, what: str, by: Act | None, value: int | None = None
    ) -> str | None:
        rows = await self._db.fetch(
            "select agentjobs.control(%s, %s, %s, %s::json)", (uid, what, value, act_json(by, verb))
        )
        answer = rows[0][0]
        assert answer is None or isinstance(answer, str)
        return answer

    async def set_queue(
        self,
        name: str,
        *,
        paused: bool | None = None,
        max_running: int | EllipsisType | None = ...,
        by: Act | str = "",
        reason: str = "",
    ) -> None:
        """Pauses, unpauses and limits a queue (H22).

        :param paused: None: as it is.
        :param max_running: the limit on running jobs; None: no limit; ``...``: as it is.
        :param by: who acts; jobs that wait for the queue show the name, and the reason.
        """
        codec.check_queue(name)
        act = by if isinstance(by, Act) else Act(by, reason=reason)
        verb = Verb.LIMIT if paused is None else Verb.PAUSE if paused else Verb.UNPAUSE
        limit = None if max_running is ... else max_running
        if limit is not None:
            codec.check_whole("max_running", limit, 0, numbers.MOST_SLOTS)
        await self._db.fetch(
            "select agentjobs.set_queue(%s, %s, %s, %s, %s, %s, %s::json)",
            (
                name,
                paused,
                clean(act.actor),
                clean(act.reason or reason),
                max_running is not ...,
                limit,
                act_json(act, verb),
            ),
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
            "select job::text from agentjobs.view(array(select id from agentjobs.job where uid = %s), 1000, true)",
            (uid,),
        )
        return await self._job_view(rows[0][0]) if rows else None

    async def timelines(self, uids: Sequence[UUID]) -> Sequence[Timeline]:
        """When jobs waited and ran in their last round, of those that have ended; without texts."""

        async def read(some: Sequence[UUID]) -> list[Timeline]:
            rows = await self._db.fetch("select job from agentjobs.timeline(%s)", (list(some),))
            return [codec.timeline(row[0]) for row in rows]

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

    def listen(self) -> AsyncIterator[Note]:
        """Notifications, for ever, on a direct connection of its own."""
        return listen(Target(self._direct_dsn, f"{self._name}-listen"))


def _state(answer: str | None) -> State | None:
    return None if answer is None else State(answer)
