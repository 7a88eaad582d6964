"""The session fence orders claims, whatever jobs they are of: the last claim of a session holds it (H13, invariant 2)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import psycopg
import pytest

from agentjobs.agents.sessions.fence import HOLD, RAISE, Fence
from agentjobs.agents.sessions.service import JobSessions
from agentjobs.agents.verdict.errors import SessionFenced
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind
from agentjobs.worker.supervisor.payload import attempt_spec
from databases import migrate
from queue_builders import TestWorker, new_job

KEY = {"app_name": "team/app", "user_id": "u", "session_id": "s"}
CLAIMS = {
    "A1": Fence(**KEY, job="A", run=1, claim=11),
    "A2": Fence(**KEY, job="A", run=2, claim=12),
    "B1": Fence(**KEY, job="B", run=1, claim=13),
    "A3": Fence(**KEY, job="A", run=3, claim=14),
}
"""Runs of two jobs on one session, in the order of their claims: B was between two rounds of A."""


def orders(names: tuple[str, ...]) -> Iterator[tuple[tuple[str, str], ...]]:
    """Every order of a raise and a write of each, the write after the raise."""
    steps = [(kind, name) for name in names for kind in ("raise", "write")]
    for order in permutations(steps):
        if all(order.index(("raise", name)) < order.index(("write", name)) for name in names):
            yield order


def wrong(connection: psycopg.Connection, order: tuple[tuple[str, str], ...]) -> str | None:
    """What is wrong with the answers to these raises and writes, or None."""
    connection.execute("delete from adk.fence")
    raised: list[str] = []
    for kind, name in order:
        later = [other for other in raised if CLAIMS[other].claim > CLAIMS[name].claim]
        statement = RAISE if kind == "raise" else HOLD
        done = connection.execute(statement, CLAIMS[name].parameters()).fetchone() is not None
        if done == bool(later):
            what = "was refused" if later == [] else f"was let through after the raise of {', '.join(later)}"
            return f"{' '.join(f'{k}-{n}' for k, n in order)}: {kind}-{name} {what}"
        if kind == "raise":
            raised.append(name)
    return None


@pytest.mark.parametrize("names", [("A1", "A2", "B1"), ("A1", "B1", "A3"), ("A2", "B1", "A3")], ids="-".join)
async def test_h13_of_runs_of_several_jobs_the_last_claim_holds_the_session(
    dsn: str, names: tuple[str, ...]
) -> None:
    await JobSessions(dsn).prepare()
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = [problem for order in orders(names) if (problem := wrong(connection, order))]
    assert not found, f"{len(found)} of {len(list(orders(names)))} orders\n" + "\n".join(found)


async def test_h13_each_claim_has_a_later_number_than_all_before_it(queue: Queue, worker: TestWorker) -> None:
    """Across jobs, runs and rounds; and the number reaches the executor."""
    jobs = [new_job(payload={"v": 1, "agent": {"module": "m"}}, session="s") for _ in range(2)]
    await queue.enqueue(jobs)
    numbers = []
    for kind in (AckKind.RELEASE, AckKind.RETRY, AckKind.FAIL, AckKind.COMPLETE):
        await queue.admit()
        claimed = await worker.one()
        assert attempt_spec(claimed).claim == claimed.claim
        numbers.append(claimed.claim)
        await worker.ack(claimed, kind)
    await queue.retry(jobs[0].uid)
    await queue.admit()
    numbers.append((await worker.one()).claim)
    assert numbers == sorted(set(numbers))


async def test_h13_a_database_that_is_made_anew_gives_later_numbers(dsn: str, empty_dsn: str) -> None:
    """A session store outlives the queue's database: its fences must not outrank all claims of the next one."""
    last = []
    migrate(empty_dsn)
    for database in (dsn, empty_dsn):
        async with await Queue.open(database) as queue:
            worker = await TestWorker(queue).register()
            await queue.enqueue([new_job()])
            last.append((await worker.one()).claim)
    assert last[0] < last[1]


async def test_h13_a_fence_without_numbers_gets_them_and_its_rows_give_way(dsn: str) -> None:
    """A table that was made before claims were numbered."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "create schema adk; create table adk.fence (app_name text not null, user_id text not null, session_id text"
            " not null, job text not null, run bigint not null, raised_at timestamptz not null default clock_timestamp(),"
            " primary key (app_name, user_id, session_id));"
            " insert into adk.fence values ('team/app', 'u', 's', 'A', 5)"
        )
        sessions = JobSessions(dsn)
        with pytest.raises(SessionFenced):
            await sessions.open(Fence(**KEY, job="A", run=4, claim=20))
        session = await sessions.open(Fence(**KEY, job="B", run=1, claim=21))
        assert session.id == "s"
        assert connection.execute("select job, run, claim from adk.fence").fetchall() == [("B", 1, 21)]
        await sessions.release()
