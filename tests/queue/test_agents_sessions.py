"""Conversations in Postgres: what survives the process, what two processes may not do to each other."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from agent_modules import Write, write_module
from gemini import FakeGemini, call, error, gemini, text
from runs import ECHO, GEMINI, Job, module, until

from agentjobs.agents.lease_gate import leased
from agentjobs.agents.sessions import connection as session_connection
from agentjobs.agents.sessions.fence import Fence
from agentjobs.agents.sessions.service import JobSessions, forget_services, service_for
from agentjobs.agents.verdict.errors import SessionFenced, SessionStoreUnavailable
from agentjobs.agents.verdict.outcome import Outcome, Verdict
from agentjobs.local.postgres import EmbeddedPostgres

pytestmark = pytest.mark.usefixtures("own_process")

__all__ = ["gemini", "write_module"]

TOOLS = """
    import asyncio, threading
    from google.adk.agents import LlmAgent
    CALLS = []
    GO = asyncio.Event()
    def book(city: str) -> dict:
        "Books."
        CALLS.append(city)
        return {"booked": city}
    async def wait() -> str:
        "Waits."
        CALLS.append("wait")
        if CALLS.count("wait") == 1:
            await GO.wait()
        return "waited"
    root_agent = LlmAgent(name="agent", model="gemini-2.5-flash", instruction="Answer.", tools=[book, wait])
    echo = LlmAgent(name="agent", model="echo", instruction="Answer.", tools=[book, wait])
"""


def with_tools(write_module: Write, dsn: str, message: str, attr: str = "root_agent") -> Job:
    write_module("stored_agents", textwrap.dedent(TOOLS))
    return Job(module(f"stored_agents:{attr}"), message, modules=("stored_agents",), dsn=dsn)


def loaded() -> object:
    return sys.modules["stored_agents"]


async def test_invariant_8_a_retry_in_another_process_repeats_neither_message_nor_finished_tool(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("book", {"city": "Rome"}), error(500), text("Booked."))
    trip = with_tools(write_module, dsn, "Book Rome.")
    assert (await trip.attempt()).reason == "ModelServerError"
    forget_services()
    outcome = await trip.attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Booked.")
    assert loaded().CALLS == ["Rome"]  # type: ignore[attr-defined]
    assert gemini.requests[-1].user_messages == ["Book Rome."]
    assert gemini.requests[-1].tool_results == ["book"]
    forget_services()
    assert (await trip.attempt()).usage.llm_calls == 0, "the stored answer is enough"


async def test_h27_a_cancelled_run_goes_on_in_another_process(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("book", {"city": "Rome"}), call("wait"), text("Booked."))
    trip = with_tools(write_module, dsn, "Book Rome.")
    run = asyncio.create_task(trip.attempt())
    await until(lambda: "stored_agents" in sys.modules and "wait" in loaded().CALLS)  # type: ignore[attr-defined]
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    forget_services()
    assert (await trip.attempt()).result == "Booked."
    assert loaded().CALLS == ["Rome", "wait"]  # type: ignore[attr-defined]
    assert gemini.requests[-1].user_messages == ["Book Rome."]
    assert not any(e.error_code for e in await trip.stored())


async def test_h27_an_abort_is_sealed_in_the_store(dsn: str, write_module: Write) -> None:
    trip = with_tools(write_module, dsn, "echo:call wait", "echo")
    run = asyncio.create_task(trip.attempt())
    await until(lambda: trip.events)
    trip.abort.set()
    assert (await run).verdict is Verdict.CANCELLED
    assert (await trip.stored())[-1].error_code == "INVOCATION_ABORTED"


async def test_h21_a_cancelled_job_can_be_retried(dsn: str, write_module: Write) -> None:
    trip = with_tools(write_module, dsn, "echo:call wait", "echo")
    run = asyncio.create_task(trip.attempt())
    await until(lambda: "stored_agents" in sys.modules and loaded().CALLS)  # type: ignore[attr-defined]
    trip.abort.set()
    await run
    trip.round = 2
    outcome = await trip.attempt()
    assert outcome.verdict is Verdict.COMPLETE, outcome
    assert {e.invocation_id for e in await trip.stored()} == {f"job-{trip.uid}"}


async def test_h18_the_keys_in_the_store_are_ours(dsn: str) -> None:
    await Job(
        ECHO, dsn=dsn, app_name="a" * 63, namespace="n" * 63, user_id="u" * 63, session_id="s" * 63
    ).attempt()
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("select app_name, user_id, id from adk.sessions").fetchall()
        assert rows == [(f"{'n' * 63}/{'a' * 63}", "u" * 63, "s" * 63)]
        public = "select count(*) from pg_tables where schemaname = 'public'"
        assert connection.execute(public).fetchone() == (0,), "ADK's tables stay in their schema"


async def test_h6_text_that_postgres_refuses_is_stored_cleaned(dsn: str, gemini: FakeGemini) -> None:
    gemini.script(text("a\x00b\ud83d"))
    job = Job(GEMINI, "question", dsn=dsn)
    outcome = await job.attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "a\ufffdb\ufffd")
    assert [e.content.parts[0].text for e in await job.stored()] == ["question", "a\ufffdb\ufffd"]


async def test_concurrent_first_starts_make_the_tables_once(dsn: str) -> None:
    services = [JobSessions(dsn) for _ in range(18)]
    await asyncio.gather(*(service.prepare() for service in services))
    await asyncio.gather(*(service.release() for service in services))
    outcome = await Job(ECHO, dsn=dsn).attempt()
    assert outcome.verdict is Verdict.COMPLETE


async def test_jobs_may_begin_at_once_in_an_empty_store(dsn: str) -> None:
    outcomes = await asyncio.gather(*(Job(ECHO, dsn=dsn).attempt() for _ in range(8)))
    assert {o.verdict for o in outcomes} == {Verdict.COMPLETE}


async def test_tables_that_are_gone_are_made_again(dsn: str, write_module: Write) -> None:
    first = with_tools(write_module, dsn, "Hello", "echo")
    assert (await first.attempt()).verdict is Verdict.COMPLETE
    for lost in ("drop schema adk cascade", "drop table adk.fence", "drop table adk.events"):
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(lost)
        outcome = await with_tools(write_module, dsn, "Hello", "echo").attempt()
        assert outcome.verdict is Verdict.COMPLETE, f"{lost}: {outcome.message}"


async def test_a_role_that_owns_only_the_schema_is_enough(dsn: str) -> None:
    role = f"sessions_{uuid4().hex[:8]}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"create role {role} login password 'secret'")
        connection.execute(f"create schema adk authorization {role}")
    try:
        parts = urlsplit(dsn)
        host = parts.netloc.rpartition("@")[2]
        limited = urlunsplit(parts._replace(netloc=f"{role}:secret@{host}"))
        assert (await Job(ECHO, dsn=limited).attempt()).verdict is Verdict.COMPLETE
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"drop owned by {role} cascade")
            connection.execute(f"drop role {role}")


async def test_connections_are_closed_after_a_run(dsn: str) -> None:
    await Job(ECHO, dsn=dsn).attempt()
    with psycopg.connect(dsn, autocommit=True) as connection:

        def open_ones() -> int:
            row = connection.execute(
                "select count(*) from pg_stat_activity where application_name = 'agentjobs-session'"
                " and datname = current_database()"
            ).fetchone()
            return row[0] if row else 0

        await until(lambda: open_ones() == 0)


async def test_a_connection_that_died_during_a_model_call_is_replaced(dsn: str, write_module: Write) -> None:
    trip = with_tools(write_module, dsn, "echo:call wait", "echo")
    run = asyncio.create_task(trip.attempt())
    await until(lambda: "stored_agents" in sys.modules and loaded().CALLS)  # type: ignore[attr-defined]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'agentjobs-session'"
            " and datname = current_database()"
        )
    loaded().GO.set()  # type: ignore[attr-defined]
    assert (await run).result == "waited"


# H11 -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def loses_its_store(
    gemini: FakeGemini, write_module: Write
) -> AsyncIterator[tuple[EmbeddedPostgres, Job, asyncio.Task[Outcome]]]:
    """The store's server, a job and its run, whose second tool has just returned what the server, which was killed, cannot store."""
    gemini.script(call("book", {"city": "Rome"}), call("wait"), text("Booked."))
    with EmbeddedPostgres() as server:
        trip = with_tools(write_module, server.dsn(), "Book Rome.")
        run = asyncio.create_task(trip.attempt())
        await until(lambda: "stored_agents" in sys.modules and "wait" in loaded().CALLS, 60)  # type: ignore[attr-defined]
        await asyncio.to_thread(server.kill)
        loaded().GO.set()  # type: ignore[attr-defined]
        yield server, trip, run


async def test_h11_a_run_outlives_a_restart_of_its_store_and_repeats_nothing(
    gemini: FakeGemini, write_module: Write
) -> None:
    async with loses_its_store(gemini, write_module) as (server, _, run):
        await asyncio.to_thread(server.start)
        outcome = await run
        assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Booked.")
        assert loaded().CALLS == ["Rome", "wait"]  # type: ignore[attr-defined]
        assert len(gemini.requests) == 3


async def test_h11_a_store_that_fails_in_the_middle_is_refunded_and_the_run_goes_on_later(
    gemini: FakeGemini, write_module: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_connection, "WAIT_SECONDS", 0)
    async with loses_its_store(gemini, write_module) as (server, trip, run):
        outcome = await run
        assert (outcome.verdict, outcome.reason) == (Verdict.SNOOZE, "SessionStoreUnavailable")
        assert server.dsn().split(":")[2].split("@")[0] not in outcome.message, "no password in a status"
        assert (await trip.attempt()).reason == "SessionStoreUnavailable"
        await asyncio.to_thread(server.start)
        outcome = await trip.attempt()
        assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "Booked.")
        assert gemini.requests[-1].user_messages == ["Book Rome."]


async def test_h11_a_tools_own_database_error_is_the_tools(dsn: str, write_module: Write) -> None:
    write_module(
        "own_database",
        textwrap.dedent("""
        from google.adk.agents import LlmAgent
        from sqlalchemy.exc import OperationalError
        def query() -> dict:
            "Asks a database of its own."
            raise OperationalError("select 1", None, ConnectionRefusedError("no"))
        root_agent = LlmAgent(name="agent", model="echo", instruction="Answer.", tools=[query])
    """),
    )
    outcome = await Job(
        module("own_database"), "echo:call query", modules=("own_database",), dsn=dsn
    ).attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.RETRY, "ToolFailed")


# H13, invariant 2 ------------------------------------------------------------------------------------


async def test_invariant_2_h13_a_run_that_lost_its_job_writes_nothing_more(
    dsn: str, write_module: Write
) -> None:
    trip = with_tools(write_module, dsn, 'echo:call wait\necho:call book {"city": "Rome"}', "echo")
    zombie = asyncio.create_task(trip.attempt())
    await until(lambda: "stored_agents" in sys.modules and loaded().CALLS)  # type: ignore[attr-defined]
    before = len(await trip.stored())
    later = Fence(**trip.session_key, job=trip.uid, run=2)
    sessions = JobSessions(dsn)
    await sessions.open(later)
    loaded().GO.set()  # type: ignore[attr-defined]
    outcome = await zombie
    assert (outcome.verdict, outcome.reason) == (Verdict.SNOOZE, "SessionFenced")
    assert len(await trip.stored()) == before
    assert "Rome" not in loaded().CALLS  # type: ignore[attr-defined]
    await sessions.release()


async def test_h13_a_run_that_is_overtaken_by_its_successors_writes_is_fenced_too(
    dsn: str, write_module: Write
) -> None:
    trip = with_tools(write_module, dsn, "echo:call wait", "echo")
    zombie = asyncio.create_task(trip.attempt())
    await until(lambda: "stored_agents" in sys.modules and loaded().CALLS)  # type: ignore[attr-defined]
    successor = Job(trip.fields["agent"], "echo:call wait", modules=("stored_agents",), dsn=dsn)
    successor.uid, successor.run = trip.uid, 1
    assert (await successor.attempt()).result == "waited"
    written = len(await trip.stored())
    loaded().GO.set()  # type: ignore[attr-defined]
    assert (await zombie).reason == "SessionFenced"
    assert len(await trip.stored()) == written


async def test_h13_nothing_is_written_past_the_deadline_of_the_lease(dsn: str, write_module: Write) -> None:
    left, looked = [600.0], list[float]()

    def seconds_left() -> float:
        looked.append(left[0])
        return left[0]

    trip = with_tools(write_module, dsn, "echo:call wait", "echo")
    with leased(seconds_left):
        run = asyncio.create_task(trip.attempt())
    await until(lambda: "stored_agents" in sys.modules and loaded().CALLS)  # type: ignore[attr-defined]
    left[0] = -1.0
    loaded().GO.set()  # type: ignore[attr-defined]
    await until(lambda: looked.count(-1.0) >= 3)
    assert len(await trip.stored()) == 2, "the message and the call"
    left[0] = 600.0
    assert (await run).result == "waited"


async def test_h13_a_run_that_starts_too_late_does_not_begin(dsn: str) -> None:
    job = Job(ECHO, dsn=dsn)
    job.run = 4
    assert (await job.attempt()).verdict is Verdict.COMPLETE
    job.run = 2
    outcome = await job.attempt()
    assert (outcome.verdict, outcome.reason, outcome.usage.llm_calls) == (Verdict.SNOOZE, "SessionFenced", 0)


async def test_h13_the_next_job_of_a_session_takes_it_over(dsn: str) -> None:
    first = Job(ECHO, dsn=dsn, session_id="chat")
    first.run = 7
    second = Job(ECHO, dsn=dsn, session_id="chat")
    assert (await first.attempt()).verdict is Verdict.COMPLETE
    assert (await second.attempt()).verdict is Verdict.COMPLETE
    assert len(await second.stored()) == 4


async def test_errors_of_the_store_have_types(dsn: str) -> None:
    unreachable = service_for("postgresql://nobody:pw@127.0.0.1:1/x")
    assert isinstance(unreachable, JobSessions)
    with pytest.raises(SessionStoreUnavailable, match="SESSION_DATABASE_URL"):
        await unreachable.prepare()
    sessions = JobSessions(dsn)
    await sessions.prepare()
    fence = Fence("a", "u", "s", job="j", run=2)
    await sessions.open(fence)
    with pytest.raises(SessionFenced, match="later run"):
        await sessions.open(Fence("a", "u", "s", job="j", run=1))
    await sessions.release()
