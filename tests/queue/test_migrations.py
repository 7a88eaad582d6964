"""The schema goes up, down and up again, from any version to any other."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from agentjobs.queue import migrate
from agentjobs.queue.errors import QueueUnavailable, SchemaMismatch
from agentjobs.queue.queue import Queue
from queue_builders import TestWorker, new_job, sql

NEWEST = migrate.SCHEMA_VERSION


async def objects(dsn: str) -> list[tuple[object, ...]]:
    """Everything in our schema, for comparing two ways to one version."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        cursor = await conn.execute(
            "select 'function', p.oid::regprocedure::text, md5(p.prosrc), p.proconfig::text from pg_proc p"
            " join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'agentjobs'"
            " union all select c.relkind::text, c.relname, (select string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod)"
            " || a.attnotnull, ',' order by a.attnum) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), c.reloptions::text"
            " from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'agentjobs' order by 1, 2"
        )
        return list(await cursor.fetchall())


async def test_up_status_and_down_tell_what_they_did(empty_dsn: str) -> None:
    before = await migrate.status(empty_dsn)
    assert (before.version, before.wanted, len(before.pending)) == (0, NEWEST, NEWEST)
    done = await migrate.up(empty_dsn)
    assert done == list(before.pending)
    assert await migrate.up(empty_dsn) == [], "a second time there is nothing to do"
    after = await migrate.status(empty_dsn)
    assert (after.version, after.pending) == (NEWEST, ())
    assert await migrate.down(empty_dsn, 0) == done[::-1]
    assert (await migrate.status(empty_dsn)).version == 0


@pytest.mark.parametrize("version", range(NEWEST))
async def test_down_to_each_version_and_up_again_is_the_same_schema(dsn: str, version: int) -> None:
    wanted = await objects(dsn)
    await migrate.down(dsn, version)
    assert (await migrate.status(dsn)).version == version
    if version == 0:
        assert await objects(dsn) == []
    await migrate.up(dsn)
    assert await objects(dsn) == wanted


@pytest.mark.parametrize("version", range(1, NEWEST))
async def test_down_leaves_exactly_what_that_version_had(empty_dsn: str, dsn: str, version: int) -> None:
    await migrate.up(empty_dsn, to=version)
    await migrate.down(dsn, version)
    assert await objects(dsn) == await objects(empty_dsn)


async def test_down_to_nothing_leaves_nothing_and_other_schemas_alone(dsn: str) -> None:
    await sql(dsn, "create table public.mine (n int)")
    await migrate.down(dsn, 0)
    rows = await sql(dsn, "select nspname from pg_namespace where nspname = 'agentjobs'")
    assert rows == []
    assert await sql(dsn, "select count(*) from public.mine") == [(0,)]


async def test_two_processes_at_once_migrate_once(empty_dsn: str) -> None:
    done = await asyncio.gather(*(migrate.up(empty_dsn) for _ in range(4)))
    assert sorted(len(steps) for steps in done) == [0, 0, 0, NEWEST]


async def test_a_newer_schema_is_refused_with_the_remedy(dsn: str) -> None:
    await sql(dsn, "insert into migration (version, name) values (%s, 'from the future')", NEWEST + 1)
    for call in (migrate.up(dsn), migrate.down(dsn, 0)):
        with pytest.raises(SchemaMismatch, match=rf"schema version: {NEWEST + 1}: .*release that made it"):
            await call
    assert (await migrate.status(dsn)).version == NEWEST + 1
    assert await sql(dsn, "select count(*) from job") == [(0,)], "nothing was touched"


@pytest.mark.parametrize("to", [-1, NEWEST + 1])
async def test_a_version_that_does_not_exist_is_refused(dsn: str, to: int) -> None:
    with pytest.raises(ValueError, match=f"to: {to}: "):
        await migrate.down(dsn, to)
    assert (await migrate.status(dsn)).version == NEWEST


async def test_a_step_that_fails_leaves_the_version_before_it(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = migrate.migrations()
    broken = [*steps[:2], migrate.Migration(3, "broken", "create table half (n int); select 1/0", "")]
    monkeypatch.setattr(migrate, "migrations", lambda: broken)
    with pytest.raises(psycopg.errors.DivisionByZero):
        await migrate.up(empty_dsn)
    assert (await migrate.status(empty_dsn)).version == 2
    assert await sql(empty_dsn, "select to_regclass('agentjobs.half')") == [(None,)]


async def test_a_migration_does_not_wait_for_a_table_in_use_for_ever(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT", "100ms")
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("lock table agentjobs.job")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await migrate.down(dsn, 0)
    assert (await migrate.status(dsn)).version >= 1


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(QueueUnavailable):
        await migrate.up("postgresql://127.0.0.1:1/none?connect_timeout=1")


async def test_a_beat_tells_the_databases_version(queue: Queue, worker: TestWorker, dsn: str) -> None:
    assert (await worker.beat()).schema_version == NEWEST
    await sql(dsn, "insert into migration (version, name) values (%s, 'from the future')", NEWEST + 1)
    assert (await worker.beat()).schema_version == NEWEST + 1


async def test_every_function_has_its_own_search_path(dsn: str) -> None:
    """Whatever a caller's search_path says, ours finds our tables and nobody else's."""
    job = new_job(session="s")
    async with (
        await psycopg.AsyncConnection.connect(dsn, options="-c search_path=pg_catalog") as conn,
        await Queue.open(dsn) as queue,
    ):
        assert await queue.enqueue([job], conn=conn) == {job.uid: True}
