"""What workers ask of the queue: registration, beats, claims and acks, progress; a part of Queue."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from uuid import UUID

import orjson
from psycopg import errors

from agentjobs.database.connection import Row
from agentjobs.queue import codec, numbers, replies
from agentjobs.queue.bisection import each_alone, is_about_a_row, why
from agentjobs.queue.breakers import model_rows
from agentjobs.queue.claim_hint import ClaimHint
from agentjobs.queue.connection import Database
from agentjobs.queue.errors import QueueUnavailable
from agentjobs.queue.records import (
    Ack,
    AckAnswer,
    AckKind,
    BeatResult,
    ClaimedJob,
    OutputTail,
    Progress,
    RunOutput,
    StepResult,
    WorkerInfo,
)
from agentjobs.values.reasons import Reason
from agentjobs.values.text import dumps

log = logging.getLogger(__name__)


class Workers:
    """The queue's face for workers; a part of Queue."""

    _db: Database
    _beats: Database
    """A connection of its own: a heartbeat must not wait behind claims (H12)."""
    _expiry: timedelta
    _hints: dict[UUID, ClaimHint]

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
        if files := codec.files_rows(acks):
            # before the ack, which takes the run from the worker; told again where the ack is sent again
            await self._db.fetch("select agentjobs.note_files(%s, %s::json)", (worker, dumps(files)))
        queues = [queue for queue, n in slots.items() if n > 0]
        counts = [slots[queue] for queue in queues]
        asked = min(sum(counts), max_jobs, total)
        hint = self._hints.setdefault(worker, ClaimHint())
        started = time.monotonic()
        low = hint.low(queues, started)
        # a rescan that is due by time alone is left out where another worker had one just now (H25)
        told = [] if low is None and not hint.short else low
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
                told,
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
        if told is not None and alive and len(jobs) < asked and not any(job.solo for job in jobs):
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
            return [replies.claimed_job(row, token) for row in orjson.loads(text)]
        except ValueError:
            rows = await self._db.fetch(
                "select x::text, (select json_agg(case when n = 7 then null else e end order by n)::text"
                " from json_array_elements(x) with ordinality as row(e, n)) from json_array_elements(%s::json) x",
                (text,),
            )
        jobs = []
        for whole, without_payload in rows:
            try:
                jobs.append(replies.claimed_job(orjson.loads(whole), token))
            except ValueError as error:
                problem = f"payload cannot be read as JSON: {error}"
                jobs.append(replies.claimed_job(orjson.loads(without_payload), token, problem))
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
        self,
        worker: UUID,
        in_hand: Sequence[tuple[int, int]],
        in_flight: Sequence[int],
        room: Sequence[str] | None = None,
        *,
        hears: bool = True,
    ) -> BeatResult:
        """The heartbeat, in a transaction of its own (H12).

        :param in_hand: (job id, token) of the runs in hand.
        :param in_flight: tokens of claims without a reply yet.
        :param room: queues for which it has free slots; None: it claims nothing.
        :param hears: notifications arrive, so it can look out for a queue.
        """
        try:
            rows = await self._beat(worker, in_hand, in_flight, room, hears)
        except QueueUnavailable as error:
            if isinstance(error.__cause__, errors.ConnectionTimeout):
                self._db.give_up_silent()
            raise
        alive, release, controls, disowned, wanted, seats, ready, workers, ticks = rows[0]
        return BeatResult(
            alive=alive,
            release=release,
            controls={(i, t): replies.control(c) for i, t, c in controls or ()},
            disowned=[(i, t) for i, t in disowned or ()],
            wanted={(i, t): stored for i, t, stored in wanted or ()},
            seats=None
            if room is None or not hears
            else {queue: (place, n) for queue, (place, n) in (seats or {}).items()},
            ready=ready is True,
            workers=workers or 0,
            ticks=ticks is not False,
        )

    async def _beat(
        self,
        worker: UUID,
        in_hand: Sequence[tuple[int, int]],
        in_flight: Sequence[int],
        room: Sequence[str] | None,
        hears: bool,
    ) -> list[Row]:
        hint = self._hints.get(worker)
        low = hint.low(room, time.monotonic()) if hint is not None and room else None
        return await self._beats.fetch(
            "select alive, release, controls, disowned, wanted, seats, ready, workers, ticks"
            " from agentjobs.beat(%s, %s::json, %s::bigint[], %s, %s::text[], %s::bigint[], %s)",
            (
                worker,
                dumps([{"i": i, "t": t} for i, t in in_hand]),
                list(in_flight),
                self._expiry,
                None if room is None else list(room),
                low,
                hears,
            ),
        )

    async def pass_on(self, queues: Sequence[str]) -> None:
        """Calls other lookouts, where jobs are left in these queues that this worker has no slot for."""
        await self._db.fetch("select agentjobs.pass_on(%s)", (list(queues),))

    async def anything_for(self, queues: Sequence[str]) -> bool:
        """Whether a job waits in one of these queues: far cheaper than a claim of nothing."""
        rows = await self._db.fetch("select agentjobs.anything_for(%s)", (list(queues),))
        return rows[0][0] is True

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
