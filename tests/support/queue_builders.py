"""Small builders for the queue's tests: a test names only what it is about."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import (
    Ack,
    AckKind,
    ClaimedJob,
    JobView,
    NewJob,
    ObjectChange,
    ObjectRef,
    StepResult,
    WorkerInfo,
)

CLUSTER = "cluster-1"


def new_job(**fields: Any) -> NewJob:
    return NewJob(**{"uid": uuid4(), "payload": {"v": 1}, **fields})


def mirrored_job(name: str = "a", namespace: str = "team", **fields: Any) -> NewJob:
    return new_job(ref=ObjectRef(CLUSTER, namespace, name), **fields)


def change(uid: UUID | None = None, generation: int = 1, name: str = "a", **fields: Any) -> ObjectChange:
    """An object as intake saw it; ``job`` fields by keyword go into its job."""
    uid = uid or uuid4()
    own = {k: fields.pop(k) for k in list(fields) if k in ObjectChange.__dataclass_fields__}
    if not ({"gone", "rejected", "imported"} & own.keys()):
        own.setdefault("job", NewJob(**{"uid": uid, "payload": {"v": 1}, **fields}))
    return ObjectChange(uid=uid, ref=ObjectRef(CLUSTER, "team", name), generation=generation, **own)


@dataclass
class TestWorker:
    """A worker as the queue sees one: it claims, acks and beats when a test says so."""

    __test__ = False
    queue: Queue
    slots: Mapping[str, int] = field(default_factory=lambda: {"agents": 10})
    id: UUID = field(default_factory=uuid4)
    pool: str = "default"
    tokens: Any = field(default_factory=lambda: itertools.count(1))
    held: list[ClaimedJob] = field(default_factory=list)

    async def register(self) -> TestWorker:
        name = f"worker-{self.id.hex[:4]}"
        await self.queue.register(WorkerInfo(self.id, name, self.slots, "test", self.pool))
        return self

    async def step(
        self, acks: Sequence[Ack] = (), slots: Mapping[str, int] | None = None, **options: Any
    ) -> StepResult:
        result = await self.queue.step(
            self.id, next(self.tokens), acks, self.slots if slots is None else slots, **options
        )
        self.held += result.jobs
        return result

    async def claim(self, n: int | None = None, **options: Any) -> list[ClaimedJob]:
        result = await self.step(total=n, **options)
        if (
            not result.alive
        ):  # it beats when it is asked to: on a busy machine a test may take longer than the expiry
            assert (await self.beat()).alive, "the worker was taken for dead: it gets no jobs any more"
            result = await self.step(total=n, **options)
        return list(result.jobs)

    async def one(self, **options: Any) -> ClaimedJob:
        (job,) = await self.claim(1, **options)
        return job

    async def ack(self, job: ClaimedJob, kind: AckKind = AckKind.COMPLETE, **fields: Any) -> str:
        if kind is AckKind.COMPLETE:
            fields.setdefault("result", "done")
        result = await self.step([Ack(job.id, job.token, kind, **fields)], {})
        self.held = [h for h in self.held if (h.id, h.token) != (job.id, job.token)]
        return result.answers[job.id].value

    async def beat(self, in_flight: Sequence[int] = ()) -> Any:
        return await self.queue.beat(self.id, [(j.id, j.token) for j in self.held], in_flight)


async def sql(dsn: str, statement: str, *params: Any) -> list[tuple[Any, ...]]:
    """A look into, or a nudge to, the tables: tests move clocks by moving times in rows."""
    async with await psycopg.AsyncConnection.connect(
        dsn, autocommit=True, options="-c search_path=agentjobs"
    ) as conn:
        cursor = await conn.execute(statement.encode(), params)
        return await cursor.fetchall() if cursor.description else []


async def whereabouts(dsn: str) -> dict[str, int]:
    """How many rows each of the three places holds, for 'a job is in exactly one of them'."""
    rows = await sql(
        dsn,
        "select json_build_object('waiting', (select count(*) from waiting), 'running', (select count(*) from running),"
        " 'outcome', (select count(*) from outcome), 'job', (select count(*) from job))::text",
    )
    return dict(json.loads(rows[0][0]))


async def expire_worker(dsn: str, *workers: TestWorker) -> None:
    """These workers sent no heartbeat for an hour."""
    await sql(
        dsn,
        "update worker set beat_at = beat_at - interval '1 hour' where id = any(%s)",
        [worker.id for worker in workers],
    )


async def make_steady(dsn: str, worker: TestWorker) -> None:
    """This worker has beaten without a gap for an hour: it may judge others (H11)."""
    await sql(
        dsn, "update worker set steady_since = steady_since - interval '1 hour' where id = %s", worker.id
    )


def time_passing(seconds: float) -> str:
    """A statement after which so much time has passed for every job and queue: all times in their rows move back."""
    columns = {
        "waiting": (
            "run_at",
            "since",
            "counts_from",
            "started_at",
            "deadline",
            "wait_since",
            "held_until",
            "next_at",
            "asked_until",
        ),
        "running": ("run_at", "since", "started_at", "deadline", "wait_since"),
        "outcome": ("started_at", "run_started_at", "finished_at"),
        "queue": ("paused_at",),
        "pause": ("paused_at", "unpaused_at"),
        "model_breaker": ("since", "failed_at", "probe_at"),
        "upkeep": ("pruned_at",),
        "audit": ("at",),
        "facet": ("made_at",),
        "tally": ("minute",),
        "tally_minute": ("minute",),
        "tally_first": ("minute",),
    }
    statements = []
    for table, names in columns.items():
        moved = ", ".join(f"{name} = {name} - make_interval(secs => {seconds})" for name in names)
        statements.append(f"update {table} set {moved}")
    # Sums of times that are no multiples of theirs any more would count twice at the ends of a series: they are added up anew.
    statements.append("delete from tally_key")
    statements.append(
        "insert into tally_key select k.by, p.minutes, date_bin(make_interval(mins => p.minutes), m.minute, '1970-01-01Z'), k.key, m.state,"
        " sum(m.n), sum(m.tokens), sum(m.seconds) from tally_minute m join facet f on f.id = m.facet cross join lateral (values"
        " ('q'::\"char\", f.queue), ('n', f.namespace), ('a', f.agent), ('m', f.model), ('r', m.reason)) k(by, key)"
        " cross join (values (5), (60)) p(minutes) group by 1, 2, 3, 4, 5"
    )
    return "; ".join(statements)


async def pass_time(dsn: str, seconds: float) -> None:
    """Time passes, for every job that waits or runs."""
    await sql(dsn, time_passing(seconds))


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 60) -> None:
    """Waits for a condition, with a deadline."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for is in the database
            await asyncio.sleep(0.01)


async def waits_for_a_lock(dsn: str) -> bool:
    """Whether some statement in this database waits for another's lock."""
    rows = await sql(
        dsn,
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    )
    return bool(rows[0][0])


async def shown(queue: Queue, job: NewJob | ClaimedJob | ObjectChange) -> JobView:
    """What is known of a job; fails where nothing is."""
    view = await queue.show(job.uid)
    assert view is not None, f"{job.uid} is not known"
    return view
