"""What a worker says, and where it goes on, when the database is there and refuses it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State
from processes import until
from rotation import RotatedRole
from worker_agents import write_modules
from workers import job, running_worker, state_of, submit, worker_config


@pytest.fixture
def role(dsn: str, tmp_path: Path) -> Iterator[RotatedRole]:
    """One that may do what a worker does, and no more."""
    made = RotatedRole(dsn, f"worker_{uuid4().hex[:8]}", tmp_path / "url")
    name = sql.Identifier(made.role)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("create role {}").format(name))
        for what in ("usage on schema agentjobs", "all on all tables in schema agentjobs"):
            conn.execute(sql.SQL("grant " + what + " to {}").format(name))
        conn.execute(sql.SQL("grant all on all sequences in schema agentjobs to {}").format(name))
    made.rotate()
    yield made
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("drop owned by {0} cascade; drop role {0}").format(name))


async def test_a_right_that_is_missing_is_told_and_not_fatal(
    dsn: str, role: RotatedRole, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(
        worker_config(dsn, write_modules(tmp_path / "modules"), heartbeat_seconds=0.5), dsn=role.dsn()
    )
    schema = "schema agentjobs {} " + role.role
    async with await Queue.open(dsn) as queue, running_worker(config) as worker:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(("revoke usage on " + schema.format("from")).encode())
            await until(
                lambda: any("permission denied" in told for told in worker.problems()),
                "it says what is wrong",
            )
            assert "--grant-to" in " ".join(worker.problems())
            assert worker.stuck() == "", "no restart could help"
            (uid,) = await submit(queue, job(max_attempts=1))
            conn.execute(("grant usage on " + schema.format("to")).encode())
        assert (await state_of(queue, uid)).state is State.COMPLETE
        await until(lambda: not worker.problems(), "it is ready again")
    told = {record.getMessage() for record in caplog.records}
    assert "database.refuses" in told
    assert "loop.failed" not in told


@pytest.mark.parametrize("from_file", [True, False])
async def test_a_password_that_only_a_restart_could_change_ends_the_worker_s_health(
    dsn: str, role: RotatedRole, tmp_path: Path, from_file: bool
) -> None:
    """A container's environment is read when it starts, a file at each connect."""
    config = worker_config(
        dsn,
        write_modules(tmp_path / "modules"),
        heartbeat_seconds=0.3,
        expiry_seconds=1.0,
        lease_grace_seconds=0.5,
        stop_grace_seconds=0.5,
    )
    given = role.dsn()
    async with running_worker(replace(config, dsn=given if from_file else given())) as worker:
        role.rotate(tell=False)
        await until(lambda: any("password" in told for told in worker.problems()), "it says what is wrong")
        if from_file:
            role.tell()
            await until(lambda: not worker.problems(), "it goes on by itself")
            assert worker.stuck() == ""
        else:
            await until(worker.stuck, "it asks for a restart")
            assert "environment" in worker.stuck()
            assert worker._healthz()[0] == 503
