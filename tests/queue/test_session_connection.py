"""The session store's one connection: poolers, silence, interruptions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import psycopg
import pytest
from google.adk.sessions import Session
from google.genai import types
from runs import ECHO, Job, until

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.sessions import connection as session_connection
from agentjobs.agents.sessions.artifacts import PostgresArtifacts
from agentjobs.agents.sessions.fence import Fence, holding
from agentjobs.agents.sessions.memory import PostgresMemory
from agentjobs.agents.sessions.service import JobSessions, limits_of
from agentjobs.agents.verdict.errors import SessionFenced, SessionStoreUnavailable
from agentjobs.agents.verdict.outcome import Verdict
from agentjobs.database import connection as database_connection
from poolers import refusing_options
from session_stores import KEY, said
from tcp_proxy import TcpProxy, tcp_proxy

pytestmark = pytest.mark.usefixtures("own_process")


async def test_a_pooler_that_takes_no_settings_is_done_without_them(dsn: str) -> None:
    async with refusing_options(dsn) as pooled:
        assert (await Job(ECHO, dsn=pooled).attempt()).verdict is Verdict.COMPLETE
        outcome = await Job(ECHO, dsn=pooled + "?options=-csearch_path%3Dadk").attempt()
        assert outcome.reason == "SessionStoreUnavailable", "what the URL itself asks for is not left out"


async def test_nothing_stays_behind_in_a_connection_that_another_client_gets_next(dsn: str) -> None:
    sessions = JobSessions(dsn)
    session = await sessions.create_session(**KEY)
    await sessions.append_event(session, said())
    await sessions.get_session(**KEY)
    async with sessions._connection.use() as connection:
        kept = await session_connection.fetch(
            connection,
            "select (select count(*) from pg_prepared_statements), current_setting('search_path')",
            {},
        )
    assert kept == [(0, '"$user", public')]
    await sessions.release()


async def test_options_of_the_url_are_kept_beside_ours(dsn: str) -> None:
    sessions = JobSessions(dsn + "?options=-cwork_mem%3D5MB")
    async with sessions._connection.use() as connection:
        settings = "select current_setting('work_mem'), current_setting('statement_timeout')"
        assert await session_connection.fetch(connection, settings, {}) == [("5MB", "30s")]
    await sessions.release()


async def test_a_connection_that_was_silent_for_long_is_asked_before_it_is_trusted(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_connection, "IDLE_SECONDS", 0)
    asked = 0
    sessions = JobSessions(dsn)
    session = await sessions.create_session(**KEY)
    connection = sessions._connection._connection
    assert connection is not None
    execute = connection.execute

    async def dies_when_asked(statement: object, *rest: object) -> object:
        nonlocal asked
        if statement == "select 1":
            asked += 1
            raise psycopg.OperationalError("no answer")
        return await execute(statement, *rest)  # type: ignore[call-overload]

    monkeypatch.setattr(connection, "execute", dies_when_asked)
    await sessions.append_event(session, said())
    assert (asked, connection.closed) == (1, True)
    assert len((await sessions.get_session(**KEY)).events) == 1  # type: ignore[union-attr]
    await sessions.release()


async def test_a_write_that_is_cancelled_while_it_waits_leaves_a_store_that_works(dsn: str) -> None:
    sessions = JobSessions(dsn)
    session = await sessions.create_session(**KEY)
    with psycopg.connect(dsn) as blocker:
        blocker.execute("select 1 from adk.sessions for update")
        writing = asyncio.create_task(sessions.append_event(session, said("cancelled")))
        async with asyncio.timeout(60):
            while not await waiting_for_a_lock(dsn):
                pass
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
    await sessions.append_event(session, said("later"))
    found = await sessions.get_session(**KEY)
    assert found is not None
    assert [event.content.parts[0].text for event in found.events] == ["later"]  # type: ignore[union-attr,index]
    await sessions.release()


async def waiting_for_a_lock(dsn: str) -> int:
    """Connections of sessions that do."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        found = await connection.execute(
            "select count(*) from pg_stat_activity where application_name = 'agentjobs-session'"
            " and datname = current_database() and wait_event_type = 'Lock'"
        )
        ((count,),) = await found.fetchall()
        return int(count)


async def test_h11_a_write_that_hangs_is_given_up(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = JobSessions(dsn)
    session = await sessions.create_session(**KEY)
    monkeypatch.setattr(session_connection, "STATEMENT_SECONDS", 0.2)
    with psycopg.connect(dsn) as blocker:
        blocker.execute("select 1 from adk.sessions for update")
        with pytest.raises(SessionStoreUnavailable, match="TimeoutError"):
            await sessions.append_event(session, said())
    await sessions.release()


async def test_a_value_that_cannot_be_stored_is_no_failure_of_the_store(dsn: str) -> None:
    sessions = JobSessions(dsn)
    with pytest.raises(psycopg.DataError):
        await sessions.create_session(app_name="a", user_id="u", session_id="s" * 129)
    await sessions.release()


# a run and its store -----------------------------------------------------------------------------------

FENCE = Fence(KEY["app_name"], KEY["user_id"], KEY["session_id"], job="job", run=1)
STARTING = ("57P03", "the database system is starting up")


@asynccontextmanager
async def of_a_run(dsn: str) -> AsyncIterator[tuple[TcpProxy, JobSessions, Session]]:
    """A session that a run has, and the proxy between it and its store."""
    async with tcp_proxy(dsn) as proxy:
        sessions = JobSessions(proxy.url)
        session = await sessions.open(FENCE)
        token = holding.set(FENCE)
        try:
            await sessions.append_event(session, said("before"))
            yield proxy, sessions, session
        finally:
            holding.reset(token)
            await sessions.release()


async def stored(dsn: str) -> list[str]:
    sessions = JobSessions(dsn)
    found = await sessions.get_session(**KEY)
    await sessions.release()
    assert found is not None
    return [event.content.parts[0].text for event in found.events]  # type: ignore[union-attr,index,misc]


async def test_h11_a_run_that_has_its_session_waits_for_a_store_that_is_away(
    dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with of_a_run(dsn) as (proxy, sessions, session):
        proxy.refuse(*STARTING)
        proxy.cut()
        seen = proxy.accepted
        writing = asyncio.create_task(sessions.append_event(session, said("during")))
        await until(lambda: proxy.accepted >= seen + 2, 60)  # it is tried again
        assert not writing.done()
        proxy.lead_to(dsn)
        await writing
        await sessions.append_event(session, said("after"))
    assert await stored(dsn) == ["before", "during", "after"]
    told = [record.getMessage() for record in caplog.records if "session store is" in record.getMessage()]
    assert [words.split(":")[0].split(" after")[0] for words in told] == [
        "the session store is away",
        "the session store is back",
    ], told


async def test_h11_an_event_whose_answer_was_lost_is_stored_once_and_nobody_writes_in_between(
    dsn: str,
) -> None:
    async with of_a_run(dsn) as (proxy, sessions, session):
        proxy.lose_answers()
        events = [said("lost"), said("beside it")]
        writing = [asyncio.create_task(sessions.append_event(session, event)) for event in events]
        async with asyncio.timeout(60):
            while await stored(dsn) != ["before", "lost"]:
                pass
        proxy.cut()
        await asyncio.gather(*writing)
        await sessions.append_event(session, said("after"))
    assert await stored(dsn) == ["before", "lost", "beside it", "after"]


async def test_h11_an_event_that_was_lost_on_its_way_is_stored(dsn: str) -> None:
    async with of_a_run(dsn) as (proxy, sessions, session):
        proxy.silence()
        writing = asyncio.create_task(sessions.append_event(session, said("lost")))
        await asyncio.sleep(0.2)
        proxy.cut()
        await writing
    assert await stored(dsn) == ["before", "lost"]


async def test_h11_an_event_that_two_statements_write_is_stored_once(dsn: str) -> None:
    """A server whose client has gone goes on with a statement that waits for a lock."""
    async with of_a_run(dsn) as (proxy, sessions, session):
        with psycopg.connect(dsn) as blocker:
            blocker.execute("select 1 from adk.sessions for update")
            writing = asyncio.create_task(sessions.append_event(session, said("cut off")))
            async with asyncio.timeout(60):
                while await waiting_for_a_lock(dsn) < 1:
                    pass
                proxy.cut()
                while await waiting_for_a_lock(dsn) < 2:
                    pass
        await writing
        await sessions.append_event(session, said("after"))
    assert await stored(dsn) == ["before", "cut off", "after"]


async def test_h11_a_file_and_a_memory_whose_answer_was_lost_are_there(dsn: str) -> None:
    async with of_a_run(dsn) as (proxy, sessions, session):
        files, memories = PostgresArtifacts(sessions, limits_of(AgentSettings())), PostgresMemory(sessions)
        for write in (
            lambda: files.save_artifact(**KEY, filename="f", artifact=types.Part(text="kept")),
            lambda: memories.add_session_to_memory(session),
        ):
            proxy.lose_answers()
            writing = asyncio.create_task(write())
            await until(lambda: proxy.lost_answers, 60)
            proxy.cut()
            await writing
        assert await files.load_artifact(**KEY, filename="f") == types.Part(text="kept")
        found = await memories.search_memory(app_name=KEY["app_name"], user_id=KEY["user_id"], query="before")
        assert [memory.content.parts[0].text for memory in found.memories] == ["before"]  # type: ignore[index]


async def test_h13_a_run_that_waited_for_its_store_writes_nothing_where_a_later_one_has_the_session(
    dsn: str,
) -> None:
    async with of_a_run(dsn) as (proxy, sessions, session):
        proxy.refuse(*STARTING)
        proxy.cut()
        writing = asyncio.create_task(sessions.append_event(session, said("late")))
        later = JobSessions(dsn)
        await later.open(replace(FENCE, run=2))
        await later.release()
        proxy.lead_to(dsn)
        with pytest.raises(SessionFenced):
            await writing
    assert await stored(dsn) == ["before"]


async def test_a_run_that_waits_for_its_store_can_be_stopped(dsn: str) -> None:
    async with of_a_run(dsn) as (proxy, sessions, session):
        proxy.refuse(*STARTING)
        proxy.cut()
        seen = proxy.accepted
        writing = asyncio.create_task(sessions.append_event(session, said("never")))
        await until(lambda: proxy.accepted > seen, 60)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        proxy.lead_to(dsn)
        await sessions.append_event(session, said("after"))
    assert await stored(dsn) == ["before", "after"]


async def test_h11_a_run_does_not_wait_for_ever(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_connection, "WAIT_SECONDS", 0.3)
    async with of_a_run(dsn) as (proxy, sessions, session):
        proxy.refuse(*STARTING)
        proxy.cut()
        with pytest.raises(SessionStoreUnavailable, match="starting up"):
            await sessions.append_event(session, said("never"))


@pytest.mark.parametrize(
    ("refusal", "has_session"),
    [(STARTING, False), (("28P01", 'password authentication failed for user "x"'), True)],
    ids=["a run that has not begun", "a password that is wrong"],
)
async def test_what_waiting_does_not_help_ends_at_once(
    dsn: str, refusal: tuple[str, str], has_session: bool
) -> None:
    async with of_a_run(dsn) as (proxy, sessions, session):
        proxy.refuse(*refusal)
        await sessions.release()
        seen = proxy.accepted
        if not has_session:
            holding.set(None)
        with pytest.raises(SessionStoreUnavailable, match=refusal[1][:20]):
            await sessions.append_event(session, said("never"))
        assert proxy.accepted == seen + 1
