"""The session store's tables: made as ADK makes them, and left to ADK's own service where they are of another version."""

from __future__ import annotations

import asyncio
import logging

import psycopg
import pytest
from google.adk.sessions.migration import _schema_check_utils as adk_schema
from google.adk.sessions.schemas import v0
from runs import ECHO, Job
from sqlalchemy import create_engine

from agentjobs.agents.sessions import sql
from agentjobs.agents.sessions.adk import AdkSessions
from agentjobs.agents.sessions.fence import Fence
from agentjobs.agents.sessions.service import JobSessions, service_for
from agentjobs.agents.verdict.errors import SessionStoreUnavailable
from agentjobs.agents.verdict.outcome import Verdict
from session_stores import ADKS, KEY, OURS, opened

pytestmark = pytest.mark.usefixtures("own_process")

CATALOG = (
    """select table_name, column_name, ordinal_position, data_type, character_maximum_length, is_nullable, column_default
         from information_schema.columns where table_schema = 'adk' and table_name not in ('fence', 'artifact', 'credential', 'memory') order by 1, 3""",
    """select conrelid::regclass::text, conname, pg_get_constraintdef(oid)
         from pg_constraint where connamespace = 'adk'::regnamespace
          and conrelid not in (select oid from pg_class where relname in ('fence', 'artifact', 'credential', 'memory')) order by 1, 2""",
    "select indexname, indexdef from pg_indexes where schemaname = 'adk' and tablename not in ('fence', 'artifact', 'credential', 'memory') order by 1",
    "select key, value from adk.adk_internal_metadata",
)


def run(dsn: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        done = connection.execute(statement)
        return done.fetchall() if done.description else []


async def make(kind: str, dsn: str) -> list[list[tuple[object, ...]]]:
    """The tables as that service makes them in an empty database."""
    run(dsn, "create schema if not exists adk")
    async with opened(kind, dsn) as service:
        await service.list_sessions(app_name="makes the tables")
    return [run(dsn, query) for query in CATALOG]


async def test_the_tables_are_those_of_the_installed_adk(empty_dsn: str, dsn: str) -> None:
    assert adk_schema.LATEST_SCHEMA_VERSION == sql.SCHEMA_VERSION, (
        "a new ADK: compare its tables and its encoding"
    )
    theirs, ours = await make(ADKS, empty_dsn), await make(OURS, dsn)
    assert theirs == ours
    assert len(ours[0]) > 20


async def test_an_event_that_adk_is_writing_outlives_that_our_tables_are_made(empty_dsn: str) -> None:
    await make(ADKS, empty_dsn)
    with psycopg.connect(empty_dsn) as adk:
        adk.execute("set deadlock_timeout = '10ms'")  # who looks first is who is ended
        adk.execute("update adk.sessions set update_time = now()")
        ours = asyncio.create_task(make(OURS, empty_dsn))
        waits = "select exists (select from pg_locks where not granted and locktype = 'relation')"
        async with asyncio.timeout(30):
            while not (await asyncio.to_thread(run, empty_dsn, waits))[0][0]:
                assert not ours.done(), "the tables were made beside the event"
                await asyncio.sleep(0.01)
        await asyncio.to_thread(
            adk.execute,
            "insert into adk.events (id, app_name, user_id, session_id, invocation_id, timestamp)"
            " select 'e', app_name, user_id, id, 'i', now() from adk.sessions",
        )
        adk.commit()
        await ours


async def test_tables_of_either_are_taken_as_they_are(empty_dsn: str, dsn: str) -> None:
    for first, then, database in ((ADKS, OURS, empty_dsn), (OURS, ADKS, dsn)):
        assert await make(first, database) == await make(then, database)


async def test_tables_that_are_missing_in_part_are_completed(dsn: str) -> None:
    whole = await make(OURS, dsn)
    for statement in (
        "drop table adk.user_states",
        "delete from adk.adk_internal_metadata",
        "drop table adk.fence",
    ):
        run(dsn, statement)
        assert await make(OURS, dsn) == whole
        assert run(dsn, "select count(*) from adk.fence") == [(0,)]


async def adks_own_is_used(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """A job runs to its end in tables that our store does not know, and its fence holds there too."""
    caplog.set_level(logging.WARNING, logger="agentjobs")
    job = Job(ECHO, dsn=dsn)
    assert (await job.attempt()).verdict is Verdict.COMPLETE
    assert [e.content.parts[0].text for e in await job.stored()] == ["hello", "hello"]
    service = service_for(dsn)
    assert isinstance(service, JobSessions)
    assert isinstance(service._chosen, AdkSessions)
    assert "ADK's own service is used" in caplog.text
    await service.open(Fence(**job.session_key, job=job.uid, run=9))
    outcome = await job.attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.SNOOZE, "SessionFenced")
    await service.release()


async def test_tables_of_adks_first_version_are_left_to_adk(
    dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    run(dsn, "create schema adk")
    engine = create_engine(
        "postgresql+psycopg" + dsn[dsn.index("://") :], connect_args={"options": "-csearch_path=adk"}
    )
    v0.Base.metadata.create_all(engine)
    engine.dispose()
    await adks_own_is_used(dsn, caplog)


async def test_tables_of_a_newer_adk_are_left_to_it(
    dsn: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(ADKS, dsn)
    run(dsn, "update adk.adk_internal_metadata set value = '2'")
    monkeypatch.setattr(adk_schema, "LATEST_SCHEMA_VERSION", "2")  # what that ADK would say
    await adks_own_is_used(dsn, caplog)


async def test_h11_adks_own_service_tells_a_store_that_is_away_from_a_job_that_failed(dsn: str) -> None:
    await make(ADKS, dsn)
    service = JobSessions(dsn)
    service._chosen = AdkSessions("postgresql://nobody:secret@127.0.0.1:1/none")
    with pytest.raises(SessionStoreUnavailable, match="SESSION_DATABASE_URL") as caught:
        await service.get_session(**KEY)
    assert "secret" not in str(caught.value)
