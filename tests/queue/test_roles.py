"""The roles of `agentjobs migrate roles`: the whole queue works under them, and what is not granted is refused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
import yaml
from psycopg import sql as compose
from typer.testing import CliRunner

import agentjobs
import agentjobs.queue
from agentjobs import Job
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.cli.main import app
from agentjobs.queue import migrate
from agentjobs.queue.audit import Act
from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, NewJob, State
from agentjobs.queue.roles import setup_sql
from agentjobs.values.requests import InputRequest
from agentjobs.values.verbs import Verb
from queue_builders import TestWorker, mirrored_job, new_job, sql
from roles import Roles, roles_in
from rotation import as_role
from worker_agents import call, write_modules
from workers import job, running_worker, state_of, step_of, submit, worker_config


@pytest.fixture
def roles(dsn: str) -> Iterator[Roles]:
    with roles_in(dsn) as made:
        yield made


async def test_a_worker_does_its_whole_work_with_its_role_and_that_of_the_sessions(
    roles: Roles, tmp_path: Path
) -> None:
    settings = AgentSettings(modules=("abuse",), preload=("abuse",), session_dsn=roles.dsn("sessions"))
    path = write_modules(tmp_path / "modules")
    config = worker_config(roles.admin, path, settings=settings, heartbeat_seconds=0.3, tick_seconds=0.3)
    async with await Queue.open(roles.admin) as queue:
        async with running_worker(replace(config, dsn=roles.dsn("worker"))):
            done = await submit(
                queue, job(), job(session="s"), job(session="s"), job("hello\necho:fail 503 1")
            )
            cancelled, suspended, late = await submit(
                queue, job(call("wait")), job(call("wait")), job(call("wait"), active_deadline_seconds=4)
            )
            for uid in (cancelled, suspended):
                await step_of(queue, uid, "wait")
            await queue.cancel(cancelled)
            await queue.suspend(suspended)
            for uid in done:
                view = await state_of(queue, uid)
                assert view.state is State.COMPLETE, (view.reason, view.message)
            assert (await state_of(queue, cancelled)).state is State.CANCELLED
            await state_of(queue, suspended, State.SUSPENDED)
            view = await state_of(queue, late)
            assert (view.state, view.reason) == (State.FAILED, "DeadlineExceeded")
            await queue.set_queue("agents", paused=True)
            (waits,) = await submit(queue, job(session="t"))
            await queue.set_queue("agents", paused=False)
            assert (await state_of(queue, waits)).state is State.COMPLETE
        assert await sql(roles.admin, "select id from worker") == [], "it has left"
    owners = await sql(roles.admin, "select distinct tableowner from pg_tables where schemaname = 'adk'")
    assert owners == [(f"{roles.prefix}_sessions",)]


async def test_claims_that_never_arrived_are_given_back_and_the_dead_are_rescued(roles: Roles) -> None:
    async with (
        await Queue.open(roles.admin) as people,
        await Queue.open(roles.dsn("worker")) as queue,
    ):
        worker = await TestWorker(queue).register()
        await people.enqueue([NewJob(uuid4(), {"v": 1}), NewJob(uuid4(), {"v": 1})])
        first, second = await worker.claim(2)
        assert await queue.disown(worker.id, [(first.id, first.token)]) == 1
        assert await worker.ack(second) == "ok"
        (again,) = await worker.claim(1)
        await sql(roles.admin, "update worker set beat_at = beat_at - interval '1 hour'")
        other = await TestWorker(queue).register()
        await sql(roles.admin, "update worker set steady_since = steady_since - interval '1 hour'")
        assert (await queue.tick(other.id)).rescued == 1
        assert (await other.one()).uid == again.uid


async def test_statistics_and_counts_are_what_an_operator_and_a_reader_may_have(roles: Roles) -> None:
    async with (
        await Queue.open(roles.admin) as people,
        await Queue.open(roles.dsn("operator")) as operator,
        await Queue.open(roles.dsn("read") + "?target_session_attrs=any") as reader,
    ):
        await people.enqueue([NewJob(uuid4(), {"v": 1})])
        assert (await operator.stats(most_queues=9, other="_other")).depth == {("agents", State.QUEUED): 1}
        assert await reader.counts() == {("agents", State.QUEUED): 1}
        await people.set_queue("agents", paused=True, by="anna", reason="in confidence")
        with psycopg.connect(roles.dsn("read")) as conn:
            told = conn.execute("select verb, name, queue from agentjobs.audit").fetchall()
        assert told == [("pause", "agents", "agents")], "what was done, not by whom"
        assert (await reader.stats(most_queues=9, other="_other")).depth == {("agents", State.QUEUED): 1}


async def test_an_operators_pod_can_be_asked_which_schema_the_database_has(roles: Roles) -> None:
    """`kubectl exec … agentjobs migrate status`, as docs/production.md has it."""
    found = await migrate.status(roles.dsn("operator"))
    assert not found.pending
    assert not found.newer
    assert found == await migrate.status(roles.admin)


async def test_the_runs_api_reads_and_steers_with_its_role(roles: Roles) -> None:
    """Each call that it makes of the queue (``agentjobs.web``)."""
    now = datetime.now(UTC)
    by = Act("anna", reason="why")
    async with (
        await Queue.open(roles.admin) as people,
        await Queue.open(roles.dsn("web")) as web,
    ):
        worker = await TestWorker(people).register()
        waiting, running, failed = new_job(), mirrored_job("a"), new_job()
        await people.enqueue([running, failed, waiting])
        _, bad = await worker.claim(2)
        await worker.ack(bad, AckKind.FAIL, reason="ToolFailed")
        assert len((await web.jobs(JobFilter())).jobs) == 3
        assert await web.count_jobs(JobFilter(states=frozenset({State.FAILED}))) == 1
        assert await web.job_at("team", "a") == running.uid
        view = await web.show(failed.uid)
        assert view is not None
        assert [run.reason for run in view.attempts_log] == ["ToolFailed"]
        assert await web.show(running.uid, runs=False) is not None
        assert (await web.want_output(running.uid)) is not None
        assert (await web.board_counts()).board("").queues
        assert await web.series(now - timedelta(hours=1), now + timedelta(minutes=1), by="reason")
        assert await web.listed_schedules() == []
        await web.set_queue("agents", paused=True, by=by)
        assert [(queue.name, queue.paused) for queue in await web.queues()] == [("agents", True)]
        assert await web.model_health() == []
        assert await web.models_of("team") == set()
        assert not await web.reset_model("default", "gemini", by)
        assert (await web.act_on_jobs([failed.uid], Verb.RETRY, by)).done == 1
        assert await web.cancel(waiting.uid, by) is State.CANCELLED
        assert (await web.erase("default", "max", by)).next is None
        assert {row.verb for row in await web.audit()} >= {"pause", "retry", "cancel", "erase"}


async def test_a_program_enqueues_awaits_and_steers_with_its_role(roles: Roles) -> None:
    """Each call that a handle makes, and one on a connection of the program's own."""
    hello = Job.module("my_agents.order", "Hello")
    dsn = roles.dsn("app")
    async with (
        await Queue.open(roles.admin) as people,
        await agentjobs.Queue.open(dsn) as queue,
        await psycopg.AsyncConnection.connect(dsn) as own,
    ):
        worker = await TestWorker(people).register()
        handle = await queue.enqueue(hello, conn=own, unique="order-17")
        waiting = asyncio.create_task(handle.result(60))
        await own.commit()
        asking = await worker.one()
        await worker.ack(asking, AckKind.ASK, requests=(InputRequest("q", "refund"),))
        await handle.answer(True)
        await worker.ack(await worker.one())
        assert await waiting == "done"
        assert (await handle.status()).state is State.COMPLETE
        assert len(await handle.attempts()) == 2
        other = await queue.enqueue(hello)
        assert await other.cancel(by="anna")
        await other.retry(by="anna")
        assert {(row.actor, row.role) for row in await people.audit(uid=other.uid)} == {
            ("anna", f"{roles.prefix}_app")
        }


REFUSED = [
    # (role, statement)
    ("worker", "select * from agentjobs.job"),
    ("worker", "select payload from agentjobs.job"),
    ("worker", "select result from agentjobs.outcome"),
    ("worker", "select * from agentjobs.waiting"),
    ("worker", "select id from agentjobs.worker"),
    ("worker", "delete from agentjobs.worker"),
    ("worker", "select agentjobs.schedule_save('[]', now())"),
    ("worker", "delete from agentjobs.running"),
    ("worker", "update agentjobs.queue set paused_at = null"),
    ("worker", "select agentjobs.enqueue('[]')"),
    ("worker", "select agentjobs.control(gen_random_uuid(), 'cancel')"),
    ("worker", "select agentjobs.apply('[]')"),
    ("worker", "select agentjobs.set_queue('agents', true, '', '', false, null)"),
    ("worker", "select * from agentjobs.view('{1}', 1, true)"),
    ("worker", "select agentjobs.prune('0', 1000)"),
    ("worker", "select agentjobs.cancel_job(1, '')"),
    ("worker", "select agentjobs.act_on_jobs('{}', 'cancel', null, '{}', '0')"),
    ("worker", "select agentjobs.erase(gen_random_uuid(), 'team', 'max', '{team,max}', '{}', 0, 100)"),
    ("worker", "select * from agentjobs.audit"),
    ("worker", "insert into agentjobs.audit (actor) values ('me')"),
    ("operator", "select agentjobs.erase(gen_random_uuid(), 'team', 'max', '{team,max}', '{}', 0, 100)"),
    ("operator", "select * from agentjobs.audit_page(null, null, null, null, 1)"),
    ("operator", "select agentjobs.record_act('cancel', '', '', null, null, null, null, '{}')"),
    ("operator", "delete from agentjobs.audit"),
    ("read", "select reason from agentjobs.audit"),
    ("read", "select actor from agentjobs.audit"),
    ("read", "select role from agentjobs.audit"),
    ("web", "select * from agentjobs.job"),
    ("web", "select agentjobs.enqueue('[]')"),
    ("web", "select * from adk.fence"),
    ("app", "select * from agentjobs.job"),
    ("app", "select result from agentjobs.outcome"),
    ("app", "select * from agentjobs.awaited"),
    ("app", "delete from agentjobs.awaited"),
    ("app", "select agentjobs.list('{}', null, 10, 10)"),
    ("app", "select agentjobs.audit_page(null, null, null, null, 1)"),
    ("app", "select agentjobs.act_on_jobs('{}', 'cancel', null, '{}', '0')"),
    ("app", "select agentjobs.set_queue('agents', true, '', '', false, null)"),
    ("app", "select agentjobs.erase(gen_random_uuid(), 'team', 'max', '{team,max}', '{}', 0, 100)"),
    ("app", "select agentjobs.step(gen_random_uuid(), 1, null, null, '{agents}', '{1}', 1, true, null, '15 s')"),
    ("app", "select agentjobs.apply('[]')"),
    ("app", "select agentjobs.want_output(gen_random_uuid(), '1 s', null)"),
    ("app", "select agentjobs.tell_ended('{1}')"),
    ("app", "select agentjobs.prune('0', 1000)"),
    ("app", "create table agentjobs.mine (x int)"),
    ("app", "select * from adk.fence"),
    ("worker", "select agentjobs.await_ends('{}', '1 s')"),
    ("read", "select agentjobs.await_ends('{}', '1 s')"),
    ("worker", "select agentjobs.show(gen_random_uuid(), 0, false)"),
    ("worker", "create table agentjobs.mine (x int)"),
    ("worker", "create function agentjobs.mine() returns int language sql as 'select 1'"),
    ("worker", "drop table agentjobs.job"),
    ("worker", "select nextval('agentjobs.position')"),
    ("worker", "select * from adk.fence"),
    ("operator", "select payload from agentjobs.job"),
    ("operator", "select result from agentjobs.outcome"),
    ("operator", "select agentjobs.step(gen_random_uuid(), 1, null, null, '{agents}', '{1}', 1, true, null, '15 s')"),
    ("operator", "select agentjobs.control(gen_random_uuid(), 'cancel')"),
    ("operator", "update agentjobs.outbox set version = 0"),
    ("operator", "delete from agentjobs.outbox"),
    ("operator", "select * from agentjobs.schedule"),
    ("operator", "select * from adk.fence"),
    ("sessions", "select * from agentjobs.counts()"),
    ("sessions", "select * from agentjobs.waiting"),
    ("sessions", "select agentjobs.beat(gen_random_uuid(), '[]', '{}', '15 s')"),
    ("sessions", "create schema mine"),
    ("read", "select payload from agentjobs.job"),
    ("read", "select result from agentjobs.outcome"),
    ("read", "select message from agentjobs.outcome"),
    ("read", "select log_tail from agentjobs.attempt"),
    ("read", "select * from agentjobs.view('{1}', 1, true)"),
    ("read", "begin; set transaction read write; delete from agentjobs.worker"),
    ("read", "select agentjobs.tick(gen_random_uuid(), '15 s')"),
    ("read", "select * from adk.fence"),
    ("owner", "select * from adk.fence"),
    ("owner", "create role mine"),
]  # fmt: skip


def refused(dsn: str, statement: str) -> bool:
    with psycopg.connect(dsn, autocommit=True) as conn:
        try:
            conn.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege:
            return True
    return False


async def test_what_is_not_granted_is_refused(roles: Roles) -> None:
    with psycopg.connect(roles.dsn("sessions"), autocommit=True) as conn:
        conn.execute("create table adk.fence (x int)")
    for role, statement in REFUSED:
        assert refused(roles.dsn(role), statement), f"{role} may: {statement}"


async def test_a_reader_sees_numbers_names_and_reasons(roles: Roles) -> None:
    columns = "queue, state, reason, since, run_at, attempt"
    with psycopg.connect(roles.dsn("read"), autocommit=True) as conn:
        for statement in (
            f"select {columns} from agentjobs.waiting",
            "select queue, since, worker, event_count, usage from agentjobs.running",
            "select id, state, reason, queue, started_at, finished_at, usage from agentjobs.outcome",
            "select run, kind, reason, worker_name, started_at, ended_at from agentjobs.attempt",
            "select uid, queue, namespace, name, created_at from agentjobs.job",
            "select name, pool, queues, beat_at from agentjobs.worker",
            "select version, applied_at from agentjobs.migration",
        ):
            conn.execute(statement.encode())
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            conn.execute("create temp table mine (x int)")


def test_the_query_that_keda_asks_postgres_is_answered(roles: Roles) -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    documents = [
        d for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) for d in yaml.safe_load_all(text)
    ]
    triggers = [t for d in documents for t in d.get("triggers", ())]
    (query,) = [t["metadata"]["query"] for t in triggers if t["type"] == "postgresql"]

    async def fill() -> None:
        async with await Queue.open(roles.admin) as people:
            await people.enqueue([new_job() for _ in range(3)] + [new_job(queue="other")])
            worker = await TestWorker(people).register()
            await worker.one()

    with psycopg.connect(roles.dsn("read"), autocommit=True) as conn:
        assert conn.execute(query.encode()).fetchone() == (0,)
        asyncio.run(fill())
        assert conn.execute(query.encode()).fetchone() == (3,), "two that are ready, one that runs"
    with psycopg.connect(roles.admin, autocommit=True) as conn:
        conn.execute("select agentjobs.set_queue('agents', true, '', '', false, null)")
    with psycopg.connect(roles.dsn("read"), autocommit=True) as conn:
        assert conn.execute(query.encode()).fetchone() == (1,), "a paused queue wants no more slots"


def called() -> set[str]:
    """The functions of the schema that this package's statements call."""
    folder = Path(agentjobs.queue.__file__).parent
    return {
        name for file in folder.glob("*.py") for name in re.findall(r"agentjobs\.(\w+)\(", file.read_text())
    } - {"mirror"}


PEOPLE = {
    "enqueue", "control", "answer", "set_queue", "reset_model", "list", "act_on_jobs", "erase", "models_of", "audit_page",
    "list_ids", "job_at", "schedule_page", "want_output",
    "show", "queues", "await_ends",
}  # fmt: skip
"""Granted by hand to whoever asks for things."""
AUTOSCALERS = {"wanted_slots"}
"""What KEDA asks Postgres (docs/metrics.md)."""
PREVIOUS: set[str] = set()
"""What only processes of the release before call; granted until the release that drops it (H30)."""


async def test_every_function_that_a_client_calls_is_granted_to_somebody(roles: Roles) -> None:
    rows = await sql(
        roles.admin,
        "select p.proname, bool_or(exists (select from unnest(%s::text[]) r where has_function_privilege(r, p.oid, 'execute'))),"
        " bool_and(p.prosecdef or p.provolatile = 'i') from pg_proc p where pronamespace = 'agentjobs'::regnamespace group by 1",
        [f"{roles.prefix}_{role}" for role in ("worker", "operator", "read")],
    )
    granted = {name for name, yes, _ in rows if yes}
    definers = {name for name, _, yes in rows if yes}
    assert called() - granted == PEOPLE, "a new function belongs into queue/sql/grants.sql"
    assert granted <= called() | AUTOSCALERS | PREVIOUS | {"state_name"}, "granted, and nobody calls it"
    assert called() <= definers


async def test_functions_that_run_with_their_owners_rights_keep_their_own_search_path(roles: Roles) -> None:
    rows = await sql(
        roles.admin,
        "select proname, proconfig, rolname, rolsuper from pg_proc p join pg_roles r on r.oid = p.proowner"
        " where pronamespace = 'agentjobs'::regnamespace and prosecdef",
    )
    assert rows
    for name, config, owner, superuser in rows:
        assert "search_path=agentjobs, pg_temp" in config, name
        assert (owner, superuser) == (f"{roles.prefix}_owner", False)


async def test_an_application_may_be_allowed_to_enqueue_and_nothing_else(roles: Roles) -> None:
    name = f"{roles.prefix}_enqueuer"
    with psycopg.connect(roles.admin, autocommit=True) as conn:
        conn.execute(
            f"create role {name} login password 'secret'; grant usage on schema agentjobs to {name};"
            f" grant execute on function agentjobs.enqueue(json) to {name}"
        )
        try:
            dsn = as_role(roles.admin, name, "secret")
            async with await Queue.open(dsn) as queue, await psycopg.AsyncConnection.connect(dsn) as own:
                one = NewJob(uuid4(), {"v": 1})
                assert await queue.enqueue([one], conn=own) == {one.uid: True}
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    await own.execute("select * from agentjobs.job")
        finally:
            conn.execute(f"drop owned by {name}; drop role {name}")


# installing -----------------------------------------------------------------------------------------------


def command(dsn: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setenv("AGENTJOBS_DATABASE_URL", dsn)
    done = CliRunner().invoke(app, ["migrate", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


async def work_once(worker_dsn: str, people_dsn: str) -> str:
    async with await Queue.open(worker_dsn) as queue, await Queue.open(people_dsn) as people:
        worker = await TestWorker(queue).register()
        await people.enqueue([NewJob(uuid4(), {"v": 1})])
        return await worker.ack(await worker.one())


def test_the_owner_migrates_an_empty_database_and_grants(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with roles_in(empty_dsn) as roles:
        for _ in range(2):
            output = command(roles.dsn("owner"), monkeypatch, "up", "--grant-to", roles.prefix)
        assert f"Granted to the roles of {roles.prefix}." in output
        assert asyncio.run(work_once(roles.dsn("worker"), roles.dsn("owner"))) == "ok"
        with psycopg.connect(roles.admin, autocommit=True) as conn:
            conn.execute("update agentjobs.bundle set digest = 'of other functions'")
        output = command(roles.dsn("owner"), monkeypatch, "up")
        assert f"Granted to the roles of {roles.prefix}." in output, "they are remembered"
        assert asyncio.run(work_once(roles.dsn("worker"), roles.dsn("owner"))) == "ok"
        output = command(roles.dsn("owner"), monkeypatch, "up")
        assert "Granted" not in output, "nothing is new"
        assert "--grant-to" not in output
        command(roles.dsn("owner"), monkeypatch, "down", "--to", "0", "--yes")


def test_functions_that_were_made_definers_by_hand_stay_so_and_the_owner_is_reminded(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("alter function agentjobs.enqueue(json) security definer")
        conn.execute("update agentjobs.bundle set digest = 'of other functions'")
        assert "--grant-to PREFIX" in command(dsn, monkeypatch, "up")
        definer = "select prosecdef from pg_proc where proname = 'enqueue' and pronamespace = 'agentjobs'::regnamespace"
        assert conn.execute(definer).fetchall() == [(True,)]


async def test_an_administrator_need_not_be_a_superuser(dsn: str) -> None:
    """As on a managed service: it may create roles, and owns the database and what is installed in it."""
    admin, database = f"admin_{uuid4().hex[:8]}", urlsplit(dsn).path[1:]
    with psycopg.connect(dsn, autocommit=True) as conn:
        names = {"admin": compose.Identifier(admin), "database": compose.Identifier(database)}
        conn.execute(
            compose.SQL(
                "create role {admin} login createrole password 'secret'; alter database {database} owner to {admin};"
                " drop schema agentjobs cascade"
            ).format(**names)
        )
        try:
            own = as_role(dsn, admin, "secret")
            from agentjobs.queue import migrate

            await migrate.up(own)
            with roles_in(own, dsn) as roles:
                async with await Queue.open(roles.dsn("worker")) as queue:
                    await TestWorker(queue).register()
                assert (await sql(dsn, "select distinct rolname from pg_roles r join pg_proc p on p.proowner = r.oid"
                                       " where proname = 'step'")) == [(f"{roles.prefix}_owner",)]  # fmt: skip
        finally:
            conn.execute(
                compose.SQL(
                    "alter database {database} owner to current_user; reassign owned by {admin} to current_user;"
                    " drop owned by {admin}; drop role {admin}"
                ).format(**names)
            )


def test_the_command_prints_what_is_run_and_says_who_runs_it() -> None:
    printed = CliRunner().invoke(app, ["migrate", "roles", "--print-sql", "--prefix", "team_a"])
    assert printed.exit_code == 0
    assert printed.output.strip() == setup_sql("team_a").strip()
    assert "@" not in printed.output
    assert "team_a_worker" in printed.output


@pytest.mark.parametrize("prefix", ["Team", "a-b", "a'b", "", "x" * 41, "1a"])
def test_a_prefix_that_would_need_quotes_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        setup_sql(prefix)


async def test_rights_do_not_stand_in_the_way_of_what_runs(roles: Roles) -> None:
    """Granting again is possible while a claim is open: no table is locked."""
    async with await Queue.open(roles.admin) as people:
        await people.enqueue([NewJob(uuid4(), {"v": 1})])
    with psycopg.connect(roles.admin) as busy:
        busy.execute("select * from agentjobs.waiting for update")
        busy.execute("lock table agentjobs.running in row exclusive mode")
        with psycopg.connect(roles.admin, autocommit=True, options="-c lock_timeout=30s") as conn:
            conn.execute(setup_sql(roles.prefix).encode())
