"""The queue against a plain model of it (``support/queue_model.py``), in any order that Hypothesis thinks of.

``AGENTJOBS_MACHINE_EXAMPLES`` and ``AGENTJOBS_MACHINE_STEPS`` make it longer; ``AGENTJOBS_MACHINE_SEED`` repeats a run
(a failure shows its seed in the captured log).

Every delay of the rules is a multiple of 125 s off the whole thousands, by which alone the clock moves: the real time
that a step takes decides nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import queue_model as model
from agentjobs.queue import replies
from agentjobs.queue.claim_hint import ClaimHint
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, ClaimedJob, InputAnswer, JobView, NewJob, ObjectRef, RetryPolicy
from agentjobs.values.requests import InputRequest
from queue_builders import CLUSTER, TestWorker, time_passing
from sabotage import pass_by_rows_that_were_locked_once

EXPIRY = 3600.0
QUEUES = ("agents", "slow")
T = TypeVar("T")

# Clocks of waiting jobs with the pauses that have ended and are not in the row yet (shift_clocks).
EVERYTHING = """
select json_build_object(
  'waiting', (select json_object_agg(id, json_build_object('state', state, 'attempts', attempt, 'run', run, 'reason', reason,
      'started', started_at is not null, 'losses', coalesce(losses, 0), 'releases', coalesce(releases, 0),
      'deadline', extract(epoch from deadline + case when started_at is null then of_start else paused end - clock_timestamp()),
      'wait_since', extract(epoch from wait_since + of_wait - clock_timestamp()),
      'answer_by', extract(epoch from asked_until + paused - clock_timestamp()),
      'drains', coalesce(drains, 0), 'snoozes', coalesce(snoozes, 0), 'queue', queue, 'session', session)) from
    (select w.*, paused_between(queue, counts_from, till) as paused,
            paused_between(queue, greatest(counts_from, wait_since), till) as of_wait,
            paused_between(queue, greatest(counts_from, run_at), till) as of_start
       from (select w.*, case when state in ('s', 'h') then counts_from
                              else coalesce((select paused_at from queue q where q.name = w.queue), clock_timestamp()) end as till
               from waiting w) w) waiting),
  'running', (select json_object_agg(id, json_build_object('worker', worker, 'token', token, 'attempts', attempt, 'run', run,
      'control', control, 'solo', solo, 'deadline', extract(epoch from deadline - clock_timestamp()), 'losses', coalesce(losses, 0))) from running),
  'outcome', (select json_object_agg(id, json_build_object('state', state, 'reason', reason, 'attempts', attempt, 'run', run)) from outcome),
  'job', (select json_object_agg(uid, json_build_object('id', id, 'tombstone', tombstone, 'round', round, 'max', max_attempts)) from job),
  'session', (select json_object_agg(key, holder) from session),
  'outbox', (select json_agg(id) from outbox))::text"""
NUMBER = st.integers(0, 63)
SHOWN = (
    "state", "reason", "message", "attempts", "run", "round", "max_attempts", "priority", "generation", "result"
)  # fmt: skip
"""What a status shows, but for times, which move when a test passes time, and for a lost worker's name."""


@dataclass(frozen=True)
class Spec:
    """A job to be; its due time is reckoned from when it is enqueued, by the model's clock."""

    queue: str
    priority: int
    session: str | None
    delay: int
    suspend: bool
    max_attempts: int
    starting: int | None
    active: int | None
    max_wait: int
    with_object: bool

    def job(self, began: datetime) -> NewJob:
        """``began``: when the machine did. Jobs that the model calls due at once are due at once, to the microsecond."""
        uid = uuid4()
        return NewJob(
            uid,
            {"v": 1},
            self.queue,
            self.priority,
            self.session,
            run_at=began + timedelta(seconds=self.delay) if self.delay else None,
            max_attempts=self.max_attempts,
            retry=RetryPolicy(max_wait_seconds=self.max_wait),
            starting_deadline_seconds=self.starting,
            active_deadline_seconds=self.active,
            suspend=self.suspend,
            ref=ObjectRef(CLUSTER, "team", uid.hex) if self.with_object else None,
        )


JOB = st.builds(
    Spec,
    queue=st.sampled_from(QUEUES),
    priority=st.sampled_from([2, 2, 0, 9]),
    session=st.sampled_from([None, "a", "a", None, "b"]),
    delay=st.sampled_from([0, 0, 0, 500, 1500]),
    suspend=st.sampled_from([False, False, False, False, True]),
    max_attempts=st.sampled_from([3, 2, 1]),
    starting=st.sampled_from([None, None, 1250]),
    active=st.sampled_from([None, None, 2125]),
    max_wait=st.sampled_from([86400, 2250]),
    with_object=st.booleans(),
)

CLAIM = st.tuples(
    NUMBER,
    st.sampled_from([3, 3, 2, 1, 0]),
    st.sampled_from([3, 3, 2, 1, 0]),
    st.sampled_from([6, 6, 3, 1]),
    st.sampled_from([False, False, False, True]),
    st.booleans(),
)
"""(worker, slots of agents, slots of slow, total, whether the reply is lost, whether it begins at a hint)"""
ACK = st.tuples(
    NUMBER,
    st.sampled_from([*AckKind, AckKind.COMPLETE, AckKind.RETRY, AckKind.RETRY, AckKind.ASK]),
    st.sampled_from([0, 0, 500, 1500]),
    st.booleans(),
    st.sampled_from([model.DRAINED, "Because"]),
)
"""(run in hand, how it ends, delay, whether it is said twice, why)"""

OPERATIONS: dict[str, tuple[int, tuple[st.SearchStrategy[Any], ...]]] = {
    "work": (
        6,
        (st.lists(CLAIM, min_size=1, max_size=2), st.lists(ACK, max_size=4), st.sampled_from([True, True, False])),
    ),
    "enqueue": (2, (st.lists(JOB, min_size=1, max_size=4),)),
    "time_passes": (2, (st.sampled_from([1, 0, 1, 2, 5]), st.sampled_from([True, True, False]))),
    "control": (
        3,
        (
            NUMBER,
            st.sampled_from(
                ["resume", "suspend", "retry", "priority", "attempts", "cancel", "resume", "retry", "suspend"]
            ),
            st.integers(1, 4),
        ),
    ),
    "answer": (1, (NUMBER,)),
    "queue_changes": (
        1,
        (
            st.sampled_from(QUEUES),
            st.sampled_from([None, False, None, False, True, None, False]),
            st.sampled_from(["same", None, 2, None, 1, 0]),
        ),
    ),
    "live_or_die": (
        2, (NUMBER, st.sampled_from(["beat", "beat", "expire", "expire and tick", "unregister", "register"]))
    ),
    "late_ack": (1, (NUMBER,)),
    "upkeep": (1, (st.sampled_from(["project", "project", "retain"]),)),
}  # fmt: skip
"""Weights and arguments. One rule with weights, for Hypothesis leaves out whole rules from an example, and without
work nothing happens."""


def hint_before_all() -> ClaimHint:
    """A hint by which a claim is no full rescan, and yet must find every job: one further on may delay a job, and has
    its own tests."""
    hint = ClaimHint()
    hint._short, hint._rescan_at = False, float("inf")
    return hint


def _operation(name: str) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(st.just(name), *OPERATIONS[name][1])


class QueueMachine(RuleBasedStateMachine):
    def __init__(self, runner: asyncio.Runner, queue: Queue, conn: psycopg.AsyncConnection) -> None:
        super().__init__()
        self.runner, self.queue, self.conn = runner, queue, conn
        self.model = model.Model(EXPIRY)
        self.ids: dict[UUID, int] = {}
        self.mirrored: set[UUID] = set()
        self.projected: dict[UUID, tuple[object, ...]] = {}
        self.workers: list[TestWorker] = []
        self.past: list[tuple[TestWorker, ClaimedJob]] = []

    def do(self, call: Awaitable[T]) -> T:
        async def called() -> T:
            return await call

        return self.runner.run(called())

    def sql(self, statement: str, *params: object) -> list[tuple[Any, ...]]:
        async def fetched() -> list[tuple[Any, ...]]:
            cursor = await self.conn.execute(statement.encode(), params or None)
            return await cursor.fetchall() if cursor.description else []

        return self.do(fetched())

    def worker(self, number: int) -> TestWorker:
        return self.workers[number % len(self.workers)]

    @initialize(jobs=st.lists(JOB, min_size=3, max_size=6))
    def begin(self, jobs: list[Spec]) -> None:
        self.sql(
            "truncate job, waiting, running, outcome, attempt, session, queue, pause, worker, outbox; update upkeep set pruned_at = 'infinity'"
        )
        self.began, self.began_seconds = datetime.now(UTC), time.monotonic()
        self.judge = self.do(TestWorker(self.queue, {}).register())
        self.model.workers[self.judge.id] = model.Worker({})
        for _ in range(2):
            self.register()
        self.enqueue(jobs)

    @rule(
        operation=st.sampled_from(
            [name for name, (weight, _) in OPERATIONS.items() for _ in range(weight)]
        ).flatmap(_operation)
    )
    def operate(self, operation: tuple[Any, ...]) -> None:
        name, *arguments = operation
        getattr(self, name)(*arguments)

    # -- in ---------------------------------------------------------------------------------------

    def enqueue(self, jobs: list[Spec]) -> None:
        if sum(job.state in model.WAITING for job in self.model.jobs.values()) > 15:
            return
        now = self.model.now
        batch = [spec.job(self.began) for spec in jobs]
        assert self.do(self.queue.enqueue(batch)) == {job.uid: True for job in batch}
        assert self.do(self.queue.enqueue(batch)) == {job.uid: False for job in batch}
        for spec, job in zip(jobs, batch, strict=True):
            self.model.enqueue(
                model.Job(
                    job.uid, job.queue, job.priority, job.session, job.max_attempts, job.retry.max_wait_seconds,
                    job.starting_deadline_seconds, job.active_deadline_seconds, now + spec.delay, now,
                ),
                suspend=job.suspend,
            )  # fmt: skip
            ((self.ids[job.uid],),) = self.sql("select id from job where uid = %s", job.uid)
            if job.ref is not None:
                self.mirrored.add(job.uid)

    # -- workers ----------------------------------------------------------------------------------

    def register(self) -> None:
        worker = self.do(TestWorker(self.queue, dict.fromkeys(QUEUES, 3)).register())
        self.workers.append(worker)
        self.model.workers[worker.id] = model.Worker(worker.slots)

    def work(self, claims: list[tuple[Any, ...]], acks: list[tuple[Any, ...]], admit: bool) -> None:
        if admit:
            self.do(self.queue.admit())
            self.model.admit()
        for claim in claims:
            self.claim(*claim)
        for ack in acks:
            self.ack(*ack)

    def claim(self, w: int, agents: int, slow: int, total: int, lost: bool, marked: bool) -> None:
        worker = self.worker(w)
        slots = {"agents": agents, "slow": slow}
        self.queue._hints[worker.id] = hint_before_all() if marked else ClaimHint()
        idle = not any(j.worker == worker.id and j.state == "@" for j in self.model.jobs.values())
        before = list(worker.held)
        result = self.do(worker.step((), slots, total=total, idle=idle))
        known = self.model.workers.get(worker.id)
        assert result.alive == (agents + slow == 0 or (known is not None and not known.dead))
        token = result.jobs[0].token if result.jobs else 0
        wanted = self.model.claim(worker.id, token, slots, min(total, agents + slow), idle=idle)
        got = [(j.uid, j.attempt, j.run, j.round, j.solo, j.snoozes, j.losses) for j in result.jobs]
        assert got == [(j.uid, j.attempts, j.run, j.round, j.solo, j.snoozes, j.losses) for j in wanted]
        if lost:
            worker.held = before

    def ack(self, n: int, kind: AckKind, delay: int, repeat: bool, reason: str) -> None:
        held = [(worker, job) for worker in self.workers for job in worker.held]
        if held:
            worker, claimed = held[n % len(held)]
            self.say(worker, claimed, kind, delay, reason)
            self.past.append((worker, claimed))
            if repeat:
                self.say(worker, claimed, kind, delay, reason)

    def late_ack(self, n: int) -> None:
        """The reply was lost, or the worker was given up and does not know it yet."""
        if self.past:
            worker, claimed = self.past[n % len(self.past)]
            self.say(worker, claimed, AckKind.RETRY, 0)

    def say(
        self, worker: TestWorker, claimed: ClaimedJob, kind: AckKind, delay: int, reason: str = "Because"
    ) -> None:
        asks = {"requests": (InputRequest("q", "t"),), "input_deadline_seconds": delay or None}
        more: dict[str, Any] = asks if kind is AckKind.ASK else {"delay_seconds": float(delay)}
        answer = self.do(worker.ack(claimed, kind, reason=reason, **more))
        job = self.model.jobs.get(claimed.uid)
        if job is not None and (job.state, job.worker, job.token) == ("@", worker.id, claimed.token):
            assert answer == "ok"
            self.model.ack(job, kind.value, delay, reason)
        else:
            assert answer == self.model.ended[claimed.uid, worker.id, claimed.token]

    def live_or_die(self, w: int, what: str) -> None:
        worker = self.worker(w)
        match what:
            case "beat":
                self.beat(worker)
            case "unregister":
                self.do(self.queue.unregister(worker.id))
                self.model.workers.pop(worker.id, None)
                self.bury(worker)
            case "register":
                self.register()
            case _:
                self.sql("update worker set beat_at = beat_at - interval '2 hours' where id = %s", worker.id)
                if worker.id in self.model.workers:
                    self.model.workers[worker.id].dead = True
                if what == "expire and tick":
                    self.tick()

    def bury(self, worker: TestWorker) -> None:
        self.workers.remove(worker)
        self.past += [(worker, job) for job in worker.held]
        if not self.workers:
            self.register()

    def beat(self, worker: TestWorker) -> None:
        known = self.model.workers.get(worker.id)
        beat = self.do(worker.beat())
        assert beat.alive == (known is not None)
        if known is None:
            self.bury(worker)
            return
        known.dead = False
        held = {(job.id, job.token) for job in worker.held}
        mine = [j for j in self.model.jobs.values() if j.state == "@" and j.worker == worker.id]
        controls = {(self.ids[j.uid], j.token): j.control for j in mine if j.control}
        assert {
            key: {"cancel": "k", "deadline": "d", "suspend": "s"}[c] for key, c in beat.controls.items()
        } == controls
        unheard = [
            j
            for j in mine
            if (self.ids[j.uid], j.token) not in held and j.since + EXPIRY / 3 < self.model.now
        ]
        assert set(beat.disowned) == {(self.ids[j.uid], j.token) for j in unheard}
        assert self.do(self.queue.disown(worker.id, beat.disowned)) == len(unheard)
        for job in unheard:
            self.model.ack(job, "lost", 0)

    # -- time -------------------------------------------------------------------------------------

    def time_passes(self, thousands: int, tick: bool) -> None:
        self.sql(time_passing(1000 * thousands))
        self.model.now += 1000 * thousands
        if tick:
            self.tick()

    def tick(self) -> None:
        self.sql(
            "update worker set beat_at = clock_timestamp(), steady_since = clock_timestamp() - interval '2 hours' where id = %s",
            self.judge.id,
        )
        before = {uid: job.losses for uid, job in self.model.jobs.items()}
        assert not self.do(self.queue.tick(self.judge.id)).ticked_elsewhere
        self.model.tick()
        for uid, job in self.model.jobs.items():
            if job.state == "l" and job.losses == 2 != before[uid]:
                # its delay is a random number: within the first backoff, then moved to where it decides nothing
                ((delay,),) = self.sql(
                    "update waiting set run_at = since + interval '500 s' where id = %s"
                    " returning (select extract(epoch from w.run_at - w.since)::float from waiting w where w.id = waiting.id)",
                    self.ids[uid],
                )
                assert 0 <= delay <= 30
                job.due = self.model.now + 500

    def upkeep(self, what: str) -> None:
        if what == "project":
            entries = self.do(self.queue.outbox(1000, 0))
            assert self.do(self.queue.projected([(e.job.id, e.version, e.job.run) for e in entries])) == []
            for entry in entries:
                self.projected[entry.job.uid] = self.shown(entry.job)
        else:
            self.tick()
            old = {uid for uid, job in self.model.jobs.items() if job.state in model.FINAL}
            self.sql("update outcome set finished_at = finished_at - interval '30 days'")
            self.sql("update upkeep set pruned_at = '-infinity'")
            assert self.do(self.queue.prune()) == len(
                [uid for uid in old if not self.model.jobs[uid].trimmed]
            )
            assert old == {uid for uid, job in self.model.jobs.items() if job.state in model.FINAL}
            self.model.prune(old - self.mirrored)

    # -- people -----------------------------------------------------------------------------------

    def control(self, n: int, what: str, number: int) -> None:
        jobs = list(self.model.jobs.values())
        fitting = {"resume": "s", "retry": "fk"}.get(what, "nprlbsqi@")
        jobs = [job for job in jobs if job.state in fitting] or jobs
        if not jobs:
            return
        job = jobs[n % len(jobs)]
        if what == "priority":
            assert self.do(self.queue.reprioritise(job.uid, number)) == (job.state not in model.FINAL)
            job.priority = number
        elif what == "attempts":
            assert self.do(self.queue.set_max_attempts(job.uid, number)) is True
            self.model.set_max_attempts(job, number)
        else:
            assert self.do(getattr(self.queue, what)(job.uid)) == getattr(self.model, what)(job)

    def answer(self, n: int) -> None:
        jobs = list(self.model.jobs.values())
        jobs = [job for job in jobs if job.asked] or jobs
        if jobs:
            job = jobs[n % len(jobs)]
            refused = self.do(self.queue.answer(job.uid, InputAnswer("q", True)))
            assert (refused == "") == self.model.answer(job)

    def queue_changes(self, name: str, paused: bool | None, limit: int | str | None) -> None:
        self.do(self.queue.set_queue(name, paused=paused, max_running=... if limit == "same" else limit))  # type: ignore[arg-type]
        self.model.set_queue(name, paused=paused, limit=limit)

    @staticmethod
    def shown(view: JobView) -> tuple[object, ...]:
        return tuple(getattr(view, name) for name in SHOWN)

    # -- what must always hold --------------------------------------------------------------------

    @invariant()
    def the_database_is_as_the_model_says(self) -> None:
        ((text,),) = self.sql(EVERYTHING)
        rows = {name: value or {} for name, value in json.loads(text).items()}
        assert set(rows["job"]) == {str(uid) for uid in self.model.jobs}
        for uid, job in self.model.jobs.items():
            known, key = rows["job"][str(uid)], str(self.ids[uid])
            assert (known["round"], known["max"]) == (job.round, job.max_attempts)
            places = [name for name in ("waiting", "running", "outcome") if key in rows[name]]
            if job.trimmed:
                assert (places, known["tombstone"]) == ([], job.state)
                continue
            assert len(places) == 1, f"in {places}"
            (place,) = places
            row = rows[place][key]
            assert (row["attempts"], row["run"]) == (job.attempts, job.run)
            if place == "waiting":
                assert (row["state"], row["started"]) == (job.state, job.started)
                self.same_time(row["deadline"], job.deadline)
                self.same_time(row["wait_since"], job.wait_since)
                if job.state == "i":
                    self.same_time(row["answer_by"], job.answer_by)
                counted = (row["losses"], row["drains"], row["snoozes"], row["releases"])
                assert counted == (job.losses, job.drains, job.snoozes, job.releases)
                if job.state == "l" or job.reason in (
                    "Suspended",
                    "BehindSession",
                    "WorkerLost",
                    "Quarantined",
                ):
                    assert row["reason"] == job.reason
            elif place == "running":
                assert job.state == "@"
                assert (row["worker"], row["token"]) == (str(job.worker), job.token)
                assert (row["control"], row["solo"]) == (job.control, job.solo)
                self.same_time(row["deadline"], job.deadline)
            else:
                assert row["state"] == job.state
                assert not job.reason or row["reason"] == job.reason
        assert rows["session"] == {key: self.ids[job.uid] for key, job in self.model.holders().items()}
        self.outbox_rows_stand_for_changes(set(rows["outbox"]))

    def same_time(self, seconds: float | None, wanted: float | None) -> None:
        """``seconds`` from now in the database, as far as the time allows that the machine itself has taken."""
        assert (seconds is None) == (wanted is None)
        if seconds is not None and wanted is not None:
            took = time.monotonic() - self.began_seconds + 1
            assert abs(seconds - (wanted - self.model.now)) < took

    def outbox_rows_stand_for_changes(self, stale: set[int]) -> None:
        assert stale <= {self.ids[uid] for uid in self.mirrored}, "only what has an object is projected"
        ids = [
            self.ids[uid] for uid, job in self.model.jobs.items() if uid in self.mirrored and not job.trimmed
        ]
        for id_, text in self.sql("select id, job from view(%s::bigint[], 0, false)", ids):
            view = replies.job_view(text)
            if id_ not in stale:
                assert self.shown(view) == self.projected.get(view.uid), "it changed, and nobody is told"

    @invariant()
    def the_model_keeps_its_own_rules(self) -> None:
        for job in self.model.jobs.values():
            if job.state == "@" and job.session is not None:
                others = [j for j in self.model.jobs.values() if j.session == job.session and j.state == "@"]
                assert others == [job]
            assert job.attempts <= job.run


@pytest.mark.timeout(1800)
def test_machine(dsn: str) -> None:
    """Invariants 2, 4, 5 and 6 over every operation, in random order."""
    number = int(os.environ.get("AGENTJOBS_MACHINE_SEED", random.randrange(1 << 32)))
    logging.getLogger(__name__).warning("repeat with AGENTJOBS_MACHINE_SEED=%d", number)
    run_machine(
        dsn, number, int(os.environ.get("AGENTJOBS_MACHINE_EXAMPLES", "25")), Phase.generate, Phase.shrink
    )


def test_the_machine_sees_a_wrong_claim_order(dsn: str) -> None:
    asyncio.run(pass_by_rows_that_were_locked_once(dsn))
    with pytest.raises(AssertionError) as failure:
        run_machine(dsn, 1, 100, Phase.generate)
    assert any(entry.name == "claim" for entry in failure.traceback), (
        "a claim brought other jobs than the model's"
    )


def run_machine(dsn: str, number: int, examples: int, *phases: Phase) -> None:
    async def opened() -> tuple[Queue, psycopg.AsyncConnection]:
        return await Queue.open(dsn, expiry_seconds=EXPIRY), await psycopg.AsyncConnection.connect(
            dsn, autocommit=True, options="-c search_path=agentjobs"
        )

    with asyncio.Runner() as runner:
        queue, conn = runner.run(opened())

        @seed(number)
        def machine() -> QueueMachine:
            return QueueMachine(runner, queue, conn)

        try:
            run_state_machine_as_test(
                machine,  # type: ignore[arg-type]  # any factory will do, says its documentation
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=int(os.environ.get("AGENTJOBS_MACHINE_STEPS", "40")),
                    deadline=None,
                    database=None,
                    print_blob=True,
                    report_multiple_bugs=False,
                    phases=phases,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(conn.close())
            runner.run(queue.close())
