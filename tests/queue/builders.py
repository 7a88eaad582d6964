"""Small builders: a test names only what it is about."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg

from agentjobs.queue.model import (
    Ack,
    AckKind,
    ClaimedJob,
    NewJob,
    ObjectChange,
    ObjectRef,
    StepResult,
    WorkerInfo,
)
from agentjobs.queue.queue import Queue

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
        own.setdefault("job", NewJob(uid=uid, payload={"v": 1}, **fields))
    return ObjectChange(uid=uid, ref=ObjectRef(CLUSTER, "team", name), generation=generation, **own)


@dataclass
class TestWorker:
    """A worker as the queue sees one: it claims, acks and beats when a test says so."""

    __test__ = False
    queue: Queue
    slots: Mapping[str, int] = field(default_factory=lambda: {"agents": 10})
    id: UUID = field(default_factory=uuid4)
    tokens: Any = field(default_factory=lambda: itertools.count(1))
    held: list[ClaimedJob] = field(default_factory=list)

    async def register(self) -> TestWorker:
        await self.queue.register(WorkerInfo(self.id, f"worker-{self.id.hex[:4]}", self.slots, "test"))
        return self

    async def step(self, acks: Sequence[Ack] = (), slots: Mapping[str, int] | None = None, **options: Any) -> StepResult:
        result = await self.queue.step(
            self.id, next(self.tokens), acks, self.slots if slots is None else slots, **options
        )
        self.held += result.jobs
        return result

    async def claim(self, n: int | None = None, **options: Any) -> list[ClaimedJob]:
        return list((await self.step(total=n, **options)).jobs)

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
