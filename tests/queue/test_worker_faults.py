"""What survives what: lost replies, an expired worker, a database that goes away."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.queue.errors import QueueUnavailable
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State, StepResult, WorkerInfo
from agentjobs.telemetry.log import TextFormatter
from agentjobs.worker.process.lease import boot_seconds
from processes import alive, until
from worker_agents import call, write_modules
from workers import is_ready, job, running_worker, state_of, step_of, submit, worker_config


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write_modules(tmp_path / "modules")


class LosesReplies(Queue):
    """The real queue; the next replies that a test marks are lost after the database has committed."""

    lose_acks = 0
    lose_claims = 0

    async def step(
        self, worker: UUID, token: int, acks: Sequence[Any], *args: Any, **options: Any
    ) -> StepResult:
        result = await super().step(worker, token, acks, *args, **options)
        if acks and LosesReplies.lose_acks:
            LosesReplies.lose_acks -= 1
            raise QueueUnavailable("the reply to the acks was lost")
        if result.jobs and LosesReplies.lose_claims:
            LosesReplies.lose_claims -= 1
            raise QueueUnavailable("the reply to the claim was lost")
        return result


async def test_h9_a_lost_ack_reply_is_answered_already_and_the_job_ran_once(
    dsn: str, path: str, tmp_path: Path
) -> None:
    file = tmp_path / "runs"
    LosesReplies.lose_acks, LosesReplies.lose_claims = 3, 0
    async with (
        await Queue.open(dsn) as queue,
        running_worker(worker_config(dsn, path), LosesReplies) as worker,
    ):
        uids = await submit(queue, *(job(call("note", file=str(file))) for _ in range(4)))
        views = [await state_of(queue, uid) for uid in uids]
        await until(lambda: not worker.runs.unacked, "every ack is answered")
    assert LosesReplies.lose_acks == 0
    assert {(view.state, view.run, view.attempts) for view in views} == {(State.COMPLETE, 1, 1)}
    assert len(file.read_text().splitlines()) == 4


class HoldsClaims(Queue):
    """The real queue; the reply to a claim waits, after the database has committed, until the test lets it go."""

    claimed: asyncio.Event
    go: asyncio.Event

    async def step(
        self, worker: UUID, token: int, acks: Sequence[Any], *args: Any, **options: Any
    ) -> StepResult:
        result = await super().step(worker, token, acks, *args, **options)
        if result.jobs:
            HoldsClaims.claimed.set()
            await HoldsClaims.go.wait()
        return result


async def test_a_drain_that_meets_a_claim_under_way_leaves_no_job_to_be_rescued(
    dsn: str, tmp_path: Path
) -> None:
    HoldsClaims.claimed, HoldsClaims.go = asyncio.Event(), asyncio.Event()
    async with await Queue.open(dsn) as queue:
        (uid,) = await submit(queue, job("hello"))
        config = worker_config(dsn, write_modules(tmp_path), drain_seconds=60.0)
        async with running_worker(config, HoldsClaims) as worker:
            await HoldsClaims.claimed.wait()
            worker.drain("test")
            await asyncio.sleep(0)
            HoldsClaims.go.set()
            view = await state_of(queue, uid)
        assert (view.state, view.run, view.attempts) == (State.COMPLETE, 1, 1)


async def test_h8_a_lost_claim_reply_gives_the_job_back_with_its_attempt(dsn: str, path: str) -> None:
    LosesReplies.lose_acks, LosesReplies.lose_claims = 0, 1
    config = worker_config(dsn, path, heartbeat_seconds=0.5)
    async with await Queue.open(dsn) as queue, running_worker(config, LosesReplies):
        (uid,) = await submit(queue, job(module="innocent", max_attempts=1))
        view = await state_of(queue, uid)
    assert (view.state, view.run, view.attempts) == (State.COMPLETE, 2, 1)
    assert (view.attempts_log[0].reason, view.attempts_log[0].charged) == ("ClaimLost", False)


async def test_h10_a_worker_that_finds_itself_expired_stops_its_runs_first_and_begins_anew(
    dsn: str, path: str, tmp_path: Path
) -> None:
    gate, inside, let_through = (tmp_path / name for name in ("gate", "gate.1.inside", "gate.2"))
    config = worker_config(dsn, path, heartbeat_seconds=1.0)
    async with await Queue.open(dsn) as queue, running_worker(config) as worker:
        (uid,) = await submit(queue, job(call("wait_for_run", file=str(gate))))
        await until(inside.exists, "the run is inside its tool")
        pid, before = int(inside.read_text()), worker.identity.uuid
        await expire_and_rescue(dsn, queue, before)
        await until(lambda: worker.identity.uuid != before, "the worker has a new uuid")
        assert not alive(pid), "it stopped the old run before it registered anew"
        let_through.touch()
        view = await state_of(queue, uid)
    assert (view.state, view.attempts, view.run) == (State.COMPLETE, 1, 2)
    assert (view.attempts_log[0].reason, view.attempts_log[0].charged) == ("WorkerLost", False)


async def expire_and_rescue(dsn: str, queue: Queue, worker: UUID) -> None:
    """Another process finds that worker dead, as it would after a silence of the expiry."""
    other = WorkerInfo(UUID(int=1), "other", {}, "test")
    await queue.register(other)
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        # a tick does nothing beside another one
        await connection.execute("select pg_advisory_xact_lock(hashtext('agentjobs tick'))")
        # one transaction: the worker's own beat cannot come in between
        await connection.execute(
            "update agentjobs.worker set steady_since = steady_since - interval '1 hour' where id = %s",
            (other.id,),
        )
        await connection.execute(
            "update agentjobs.worker set beat_at = beat_at - interval '1 hour' where id = %s", (worker,)
        )
        await connection.execute("select agentjobs.tick(%s, interval '15 s')", (other.id,))


async def test_h11_a_database_outage_longer_than_the_expiry_kills_and_charges_nothing(
    own_postgres: EmbeddedPostgres, path: str, tmp_path: Path
) -> None:
    dsn = own_postgres.dsn("agentjobs")
    gates = [tmp_path / name for name in ("short", "long")]
    memory = worker_config(dsn, path).settings
    config = worker_config(
        dsn,
        path,
        heartbeat_seconds=0.5,
        expiry_seconds=6.0,
        # in memory: a run waits for its session store; here the queue alone is meant
        settings=type(memory)(modules=memory.modules, models=memory.models),
    )
    async with await Queue.open(dsn) as queue, running_worker(config) as worker:
        short, long = await submit(queue, *(job(call("wait_for", file=str(gate))) for gate in gates))
        for uid in (short, long):
            await step_of(queue, uid, "wait_for")
        before = worker.identity.uuid
        own_postgres.kill()
        gates[0].touch()
        await until(lambda: worker.runs.unacked, "the short run ended while the database was away")
        await asyncio.sleep(7)  # longer than the expiry
        gates[1].touch()
        assert len(worker.runs.running) == 1, "the long one is there, and begins nothing (H13)"
        assert worker.problems()
        own_postgres.restart()
        views = [await state_of(queue, uid) for uid in (short, long)]
        await is_ready(worker)
        assert worker.identity.uuid == before
    assert [(view.state, view.run, view.attempts) for view in views] == [(State.COMPLETE, 1, 1)] * 2


@pytest.mark.parametrize("outage", ["within the lease", "longer than the lease"])
async def test_h11_runs_outlive_an_outage_of_the_database_of_queue_and_sessions(
    own_postgres: EmbeddedPostgres, path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, outage: str
) -> None:
    dsn = own_postgres.dsn("agentjobs")
    caplog.set_level(logging.INFO, "agentjobs.executor")
    caplog.handler.setFormatter(TextFormatter())
    gate = tmp_path / "gate"
    lease = 6.0 if outage == "longer than the lease" else 600.0
    config = worker_config(dsn, path, heartbeat_seconds=0.5, expiry_seconds=lease)
    async with await Queue.open(dsn) as queue, running_worker(config) as worker:
        uids = await submit(queue, *(job(call("wait_for", file=str(gate))) for _ in range(4)))
        for uid in uids:
            await step_of(queue, uid, "wait_for")
        own_postgres.kill()
        gate.touch()
        await until(
            lambda: caplog.text.count("session store is away") >= 4,
            "what the tool returned cannot be stored",
        )
        if outage == "longer than the lease":
            await until(lambda: boot_seconds() > worker.identity.lease_until, "the lease is over")
        own_postgres.restart()
        views = [await state_of(queue, uid, seconds=90) for uid in uids]
    assert [(view.state, view.run, view.attempts) for view in views] == [(State.COMPLETE, 1, 1)] * 4


async def test_h11_through_crashes_of_the_database_each_tool_is_called_once(
    own_postgres: EmbeddedPostgres, path: str, tmp_path: Path
) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    dsn = own_postgres.dsn("agentjobs")
    files = [tmp_path / f"calls-{n}" for n in range(12)]
    async with await Queue.open(dsn) as queue, running_worker(worker_config(dsn, path)):
        scripts = ("\n".join([call("stamp", file=str(file), seconds=0.3)] * 10) for file in files)
        uids = await submit(queue, *(job(script) for script in scripts))
        for uid in uids[:4]:
            await step_of(queue, uid, "stamp")
        for _ in range(4):
            own_postgres.kill()
            await asyncio.sleep(chance.uniform(0, 1))  # how long it is away
            own_postgres.restart()
            await asyncio.sleep(chance.uniform(0, 1))
        views = [await state_of(queue, uid, seconds=120) for uid in uids]
    assert {(view.state, view.attempts) for view in views} == {(State.COMPLETE, 1)}, f"seed {seed}"
    assert [len(file.read_text().splitlines()) for file in files] == [10] * 12, f"seed {seed}"


async def test_a_database_restart_in_the_middle_of_many_jobs_loses_none(
    own_postgres: EmbeddedPostgres, path: str
) -> None:
    dsn = own_postgres.dsn("agentjobs")
    async with await Queue.open(dsn) as queue, running_worker(worker_config(dsn, path)):
        uids = await submit(queue, *(job(call("wait", seconds=0.3)) for _ in range(30)))
        await state_of(queue, uids[4])
        own_postgres.kill()
        own_postgres.restart()
        views = [await state_of(queue, uid, seconds=90) for uid in uids]
    assert {view.state for view in views} == {State.COMPLETE}
    assert all(view.attempts == 1 for view in views), "session store and queue were away: nothing is charged"
    assert all(view.run <= 2 for view in views), "only a run that was about to open its session is done again"


async def test_a_worker_that_starts_before_its_database_waits_for_it(
    own_postgres: EmbeddedPostgres, path: str
) -> None:
    dsn = own_postgres.dsn("agentjobs")
    own_postgres.kill()
    config = worker_config(dsn, path, health_port=0, health_host="127.0.0.1")
    async with running_worker(config, ready=False) as worker:
        await until(lambda: worker.health.port, "health is served before the database is there")
        assert "not registered" in " ".join(worker.problems())
        own_postgres.restart()
        await is_ready(worker)
        assert worker.executors.warnings == []
        async with await Queue.open(dsn) as queue:
            (uid,) = await submit(queue, job(module="innocent"))
            assert (await state_of(queue, uid)).state is State.COMPLETE


async def test_a_killed_template_refunds_the_runs_it_takes_along(dsn: str, path: str) -> None:
    async with await Queue.open(dsn) as queue, running_worker(worker_config(dsn, path)) as worker:
        uids = await submit(queue, *(job(call("wait_in_first_run"), max_attempts=1) for _ in range(3)))
        for uid in uids:
            await state_of(queue, uid, State.RUNNING)
        template = worker.executors.template_pid
        assert template is not None
        os.kill(template, signal.SIGKILL)
        views = [await state_of(queue, uid) for uid in uids]
    assert [(view.state, view.attempts, view.run) for view in views] == [(State.COMPLETE, 1, 2)] * 3
