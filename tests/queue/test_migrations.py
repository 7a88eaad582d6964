"""The schema goes up, down and up again, from any version to any other; functions are what their release says."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import psycopg
import pytest

from agentjobs.queue import migrate, migration_session
from agentjobs.queue.errors import (
    GrantRefused,
    QueueUnavailable,
    SchemaBusy,
    SchemaMismatch,
    SessionNotKept,
)
from agentjobs.queue.queue import Queue
from agentjobs.queue.release import RELEASE, Release, Step, current, sections
from poolers import in_transaction_mode, refusing_options
from queue_builders import TestWorker, new_job, sql
from releases import dump, releases
from roles import roles_in
from rotation import as_role

NEWEST = migrate.SCHEMA_VERSION
PAIRS = list(combinations(range(3), 2))


@pytest.fixture
def line(tmp_path: Path) -> list[Release]:
    """This program's release and the two after it."""
    return releases(tmp_path / "sql")


async def newer_functions(dsn: str) -> None:
    await sql(dsn, "update bundle set release = release + 1")


async def test_up_status_and_down_tell_what_they_did(empty_dsn: str) -> None:
    before = await migrate.status(empty_dsn)
    assert (before.version, before.wanted, len(before.pending)) == (0, NEWEST, NEWEST + 1)
    assert (before.release, before.wanted_release) == (0, RELEASE)
    done = await migrate.up(empty_dsn)
    assert done == list(before.pending)
    assert await migrate.up(empty_dsn) == [], "a second time there is nothing to do"
    after = await migrate.status(empty_dsn)
    assert (after.version, after.release, after.pending) == (NEWEST, RELEASE, ())
    assert await migrate.down(empty_dsn, 0) == done[::-1]
    assert (await migrate.status(empty_dsn)).version == 0


# proof by pg_dump: each way to a release leads to the same schema ------------------------------------------


@pytest.mark.parametrize(("old", "new"), PAIRS)
async def test_installed_over_an_older_release_is_as_installed_fresh(
    empty_dsn: str, line: list[Release], other_empty_dsn: str, old: int, new: int
) -> None:
    await migrate.up(other_empty_dsn, release=line[new])
    await migrate.up(empty_dsn, release=line[old])
    await migrate.up(empty_dsn, release=line[new])
    assert dump(empty_dsn) == dump(other_empty_dsn)


@pytest.mark.parametrize(("old", "new"), PAIRS)
async def test_down_leaves_exactly_what_that_release_had(
    empty_dsn: str, line: list[Release], old: int, new: int
) -> None:
    await migrate.up(empty_dsn, release=line[old])
    wanted = dump(empty_dsn)
    await migrate.up(empty_dsn, release=line[new])
    newer = dump(empty_dsn)
    assert newer != wanted
    await migrate.down(empty_dsn, len(line[old].steps), release=line[new])
    assert dump(empty_dsn) == wanted
    assert (await migrate.status(empty_dsn, release=line[old])).pending == ()
    await migrate.up(empty_dsn, release=line[new])
    assert dump(empty_dsn) == newer


@pytest.mark.parametrize("version", range(3))
async def test_down_to_each_version_and_up_again_is_the_same_schema(
    empty_dsn: str, line: list[Release], version: int
) -> None:
    newest = line[-1]
    await migrate.up(empty_dsn, release=newest)
    wanted = dump(empty_dsn)
    await migrate.down(empty_dsn, version, release=newest)
    found = await migrate.status(empty_dsn, release=newest)
    assert (found.version, found.release) == (version, 0), "at that version there never were functions"
    if version == 0:
        assert await sql(empty_dsn, "select nspname from pg_namespace where nspname = 'agentjobs'") == []
    await migrate.up(empty_dsn, release=newest)
    assert dump(empty_dsn) == wanted


async def test_a_release_with_other_functions_alone_goes_up_and_down(dsn: str, line: list[Release]) -> None:
    first = line[0]
    second = replace(first, number=RELEASE + 1, functions=line[1].functions.replace("95_", ""))
    second = replace(second, functions=first.functions.replace("is paused", "stands still"))
    wanted = dump(dsn)
    assert await migrate.up(dsn, release=second) == [second.title]
    assert dump(dsn) != wanted
    with pytest.raises(ValueError, match="to_release: 7: "):
        await migrate.down(dsn, NEWEST, to_release=7, release=second)
    assert await migrate.down(dsn, NEWEST, to_release=RELEASE, release=second) == [first.title]
    assert dump(dsn) == wanted


# roles ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), PAIRS)
async def test_what_was_granted_stays_granted_over_an_upgrade_and_back(
    empty_dsn: str, line: list[Release], old: int, new: int
) -> None:
    await migrate.up(empty_dsn, release=line[new])
    with roles_in(empty_dsn) as roles:
        wanted = dump(empty_dsn)
        await migrate.down(empty_dsn, 0, release=line[new])
        await migrate.up(empty_dsn, grant_to=roles.prefix, release=line[old])
        await sql(empty_dsn, f"alter schema agentjobs owner to {roles.prefix}_owner")
        older = dump(empty_dsn)
        owner = roles.dsn("owner")
        for kind in ("table", "sequence", "function"):
            await hand_over(empty_dsn, kind, f"{roles.prefix}_owner")
        older = dump(empty_dsn)
        assert await migrate.granted_to(owner) == [roles.prefix]
        await migrate.up(owner, release=line[new])
        assert dump(empty_dsn) == wanted
        await migrate.down(owner, len(line[old].steps), release=line[new])
        assert dump(empty_dsn) == older


async def hand_over(dsn: str, kind: str, owner: str) -> None:
    names = {
        "table": "select relname from pg_class where relkind = 'r' and relnamespace = 'agentjobs'::regnamespace",
        "sequence": "select relname from pg_class c where relkind = 'S' and relnamespace = 'agentjobs'::regnamespace"
        " and not exists (select from pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i'))",
        "function": "select oid::regprocedure::text from pg_proc where pronamespace = 'agentjobs'::regnamespace",
    }
    for (name,) in await sql(dsn, names[kind]):
        await sql(dsn, f"alter {kind} {name} owner to {owner}")


async def test_old_workers_are_not_cut_off_by_an_upgrade_without_grants(
    dsn: str, line: list[Release]
) -> None:
    with roles_in(dsn) as roles:
        app = f"{roles.prefix}_enqueuer"
        await sql(dsn, f"create role {app}; grant usage on schema agentjobs to {app}")
        await sql(
            dsn, f"grant execute on function enqueue(json), register(uuid, text, text, json, text) to {app}"
        )
        async with await Queue.open(roles.dsn("worker")) as queue:
            worker = await TestWorker(queue).register()
            await migrate.up(roles.dsn("owner"), release=line[1])
            assert (await worker.beat()).release == RELEASE + 1
            await worker.claim()
        may = "select has_function_privilege(%s, p.oid, 'execute') and p.prosecdef from pg_proc p where proname = %s"
        for name in ("enqueue", "register"):
            assert await sql(dsn, may, app, name) == [(True,)], (
                "register() returns something else: it was dropped"
            )
        await sql(dsn, f"drop owned by {app}; drop role {app}")


async def test_an_existing_schema_needs_no_right_to_create_one(empty_dsn: str) -> None:
    name = "t_plain_owner"
    await sql(empty_dsn, f"create role {name} login password 'secret'")
    try:
        own = as_role(empty_dsn, name, "secret")
        with pytest.raises(
            GrantRefused, match=rf"schema agentjobs is not there, and role {name} may not create it"
        ):
            await migrate.up(own)
        await sql(empty_dsn, f"create schema agentjobs authorization {name}")
        await migrate.up(own)
        assert await migrate.up(own) == []
        await sql(empty_dsn, "alter schema agentjobs owner to current_user; delete from bundle")
        with pytest.raises(
            GrantRefused, match=rf"belongs to role postgres, and role {name} may not change it"
        ):
            await migrate.up(own)
    finally:
        await sql(empty_dsn, f"drop owned by {name} cascade; drop role {name}")


# sections of a step ---------------------------------------------------------------------------------------


def step(version: int, up: str, down: str = "") -> Step:
    return Step(version, "test", tuple(sections(up)), down)


def with_step(up: str, down: str = "") -> Release:
    return replace(current(), number=RELEASE + 1, steps=(*current().steps, step(NEWEST + 1, up, down)))


async def test_a_step_that_fails_leaves_the_version_before_it(empty_dsn: str) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        await migrate.up(empty_dsn, release=with_step("create table half (n int); select 1/0"))
    assert (await migrate.status(empty_dsn)).version == NEWEST
    assert await sql(empty_dsn, "select to_regclass('agentjobs.half')") == [(None,)]


INTERRUPTED = """
create table part (n int, m int);
insert into part select n, null from generate_series(1, 25) n;
-- section: batch of part until not exists (select from part where m is null)
update part set m = n / {}
  where ctid = any (array(select ctid from part where ctid >= @from@ and ctid < @to@ and m is null for update skip locked));
-- section: concurrently
create unique index concurrently part_m on part (m);
"""


async def test_an_interrupted_step_goes_on_where_it_was(dsn: str) -> None:
    """First the batches fail, then the index does and leaves an invalid one behind; what was done is not repeated."""
    broken, release = (with_step(INTERRUPTED.format(d), "drop table if exists part") for d in ("0", "1"))
    with pytest.raises(psycopg.errors.DivisionByZero):
        await migrate.up(dsn, release=broken)
    assert (await migrate.status(dsn, release=release)).version == NEWEST
    await sql(dsn, "update part set m = 1 where n = 25")  # twice, once 1 is
    with pytest.raises(psycopg.errors.UniqueViolation):
        await migrate.up(dsn, release=release)
    assert await sql(dsn, "select indisvalid from pg_index where indexrelid = 'part_m'::regclass") == [
        (False,)
    ]
    assert (await migrate.status(dsn, release=release)).pending == (f"{NEWEST + 1:04} test", release.title)
    await sql(dsn, "update part set m = n where n = 25")
    assert await migrate.up(dsn, release=release) == [f"{NEWEST + 1:04} test", release.title]
    assert await sql(dsn, "select count(*), count(m), max(n) from part") == [(25, 25, 25)]
    assert await sql(dsn, "select indisvalid from pg_index where indexrelid = 'part_m'::regclass") == [
        (True,)
    ]


async def test_a_half_done_step_can_be_taken_back(dsn: str) -> None:
    before = dump(dsn)
    release = with_step(INTERRUPTED.format("0"), "drop table if exists part")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await migrate.up(dsn, release=release)
    assert dump(dsn) != before
    await migrate.down(dsn, NEWEST, release=release)
    assert dump(dsn) == before
    assert (await migrate.status(dsn)).pending == ()


async def test_two_processes_at_once_migrate_once(empty_dsn: str, line: list[Release]) -> None:
    """The others do not wait in a statement: `create index concurrently` would wait for them, and they for it."""
    done = await asyncio.gather(*(migrate.up(empty_dsn, release=line[-1]) for _ in range(4)))
    assert sorted(len(steps) for steps in done) == [0, 0, 0, 4]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-- section: batch of job\nupdate job set bytes = 1", "until <condition>"),
        ("-- section: batch of job until true\nupdate job set bytes = 1", "@from@"),
        ("-- section: concurrently\ncreate index job_x on job (bytes)", "create index concurrently"),
        (
            "-- section: concurrently\ncreate index concurrently a on job (id); select 1",
            "create index concurrently",
        ),
    ],
)
def test_a_section_that_cannot_run_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        list(sections(text))


# whom it waits for, and what it refuses ---------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_migration_does_not_wait_for_a_table_in_use_for_ever(
    dsn: str, monkeypatch: pytest.MonkeyPatch, line: list[Release], direction: str
) -> None:
    monkeypatch.setattr(migration_session, "LOCK_TIMEOUT", "100ms")
    monkeypatch.setattr(migration_session, "PATIENCE_SECONDS", 0.2)
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("lock table agentjobs.waiting in access share mode")
        with pytest.raises(SchemaBusy, match=r"in use for \d+ s; end the transactions"):
            await (migrate.up(dsn, release=line[1]) if direction == "up" else migrate.down(dsn, 0))
    assert (await migrate.status(dsn)).version == NEWEST


async def test_rows_that_somebody_holds_are_waited_for_and_then_changed(dsn: str) -> None:
    release = with_step(INTERRUPTED.format("1"))
    begun, rest = release.steps[-1].up[0], release.steps[-1].up[1:]
    first = replace(release, steps=(*current().steps, Step(NEWEST + 1, "table", (begun,), "")))
    await migrate.up(dsn, release=first)
    whole = replace(release, number=RELEASE + 2, steps=(*first.steps, Step(NEWEST + 2, "rest", rest, "")))
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("select from agentjobs.part where n = 3 for update")
        up = asyncio.create_task(migrate.up(dsn, release=whole))
        async with asyncio.timeout(60):
            while await sql(dsn, "select count(*) from part where m is null") != [(1,)]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert not up.done()
    await up
    assert await sql(dsn, "select count(*) from part where m is null") == [(0,)]


async def test_a_newer_schema_is_refused_with_the_remedy(dsn: str) -> None:
    await sql(dsn, "insert into migration (version, name) values (%s, 'from the future')", NEWEST + 1)
    for call in (migrate.up(dsn), migrate.down(dsn, 0)):
        with pytest.raises(SchemaMismatch, match=rf"schema version: {NEWEST + 1}: .*release that made it"):
            await call
    assert (await migrate.status(dsn)).version == NEWEST + 1
    assert await sql(dsn, "select count(*) from job") == [(0,)], "nothing was touched"


async def test_newer_functions_are_refused_with_the_remedy(dsn: str) -> None:
    await newer_functions(dsn)
    for call in (migrate.up(dsn), migrate.down(dsn, 0)):
        with pytest.raises(
            SchemaMismatch, match=rf"functions: release {RELEASE + 1}: .*release that made it"
        ):
            await call
    assert (await migrate.status(dsn)).newer


@pytest.mark.parametrize("to", [-1, NEWEST + 1])
async def test_a_version_that_does_not_exist_is_refused(dsn: str, to: int) -> None:
    with pytest.raises(ValueError, match=f"to: {to}: "):
        await migrate.down(dsn, to)
    assert (await migrate.status(dsn)).version == NEWEST


async def test_down_to_nothing_leaves_nothing_and_other_schemas_alone(dsn: str) -> None:
    await sql(dsn, "create table public.mine (n int)")
    await migrate.down(dsn, 0)
    rows = await sql(dsn, "select nspname from pg_namespace where nspname = 'agentjobs'")
    assert rows == []
    assert await sql(dsn, "select count(*) from public.mine") == [(0,)]


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(QueueUnavailable):
        await migrate.up("postgresql://127.0.0.1:1/none?connect_timeout=1")


async def test_a_pool_in_session_mode_is_as_good_as_the_database(empty_dsn: str, line: list[Release]) -> None:
    async with refusing_options(empty_dsn) as pooled:
        assert await migrate.up(pooled, release=line[-1])
        assert await migrate.down(pooled, 0, release=line[-1])


async def test_a_pool_in_transaction_mode_is_refused_in_words(empty_dsn: str) -> None:
    async with in_transaction_mode(empty_dsn) as pooled:
        for _ in range(3):
            with pytest.raises(SessionNotKept, match="AGENTJOBS_DATABASE_DIRECT_URL"):
                await migrate.up(pooled)
        assert (await migrate.status(pooled)).version == 0
    await migrate.up(empty_dsn)  # nobody has kept the lock


# functions ------------------------------------------------------------------------------------------------


async def test_a_beat_tells_the_databases_release(queue: Queue, worker: TestWorker, dsn: str) -> None:
    """H30 speaks of releases: a release may have any number of steps, or none."""
    assert (await worker.beat()).release == RELEASE
    await newer_functions(dsn)
    assert (await worker.beat()).release == RELEASE + 1


async def test_every_function_has_its_own_search_path(dsn: str) -> None:
    """Whatever a caller's search_path says, ours finds our tables and nobody else's."""
    job = new_job(session="s")
    async with (
        await psycopg.AsyncConnection.connect(dsn, options="-c search_path=pg_catalog") as conn,
        await Queue.open(dsn) as queue,
    ):
        assert await queue.enqueue([job], conn=conn) == {job.uid: True}
    open_ = await sql(
        dsn,
        "select proname from pg_proc where pronamespace = 'agentjobs'::regnamespace and provolatile <> 'i'"
        " and not coalesce(array_to_string(proconfig, ',') like '%%search_path=agentjobs%%', false)",
    )
    assert open_ == []
