"""What the session store says when it cannot write, and who pays for it: never the job, nor its tools."""

from __future__ import annotations

import asyncio
import sys
import textwrap

import psycopg
import pytest
from agent_modules import Write, write_module
from decided_rows import rows
from google.adk.events import Event
from runs import ECHO, Job, module, until

from agentjobs.agents.sessions import connection as session_connection
from agentjobs.agents.sessions.service import JobSessions, service_for
from agentjobs.agents.verdict.outcome import Verdict

pytestmark = pytest.mark.usefixtures("own_process", "impatient")

__all__ = ["rows", "write_module"]

REFUSES = """
create function adk.refuse() returns trigger language plpgsql as
$$ begin raise exception 'the server says so' using errcode = '{code}'; end $$;
create trigger refuse before insert on adk.events for each row execute function adk.refuse();
"""
ADMITS = "drop trigger refuse on adk.events; drop function adk.refuse();"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that do not wait for their store: what these tests refuse is refused until they admit it."""
    monkeypatch.setattr(session_connection, "WAIT_SECONDS", 0)


async def execute(dsn: str, statements: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(statements)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("53100", "the disk is full"),
        ("53200", "out of memory"),
        ("40001", "a serialization failure"),
        ("40P01", "a deadlock"),
        ("57014", "the statement took too long"),
        ("57P01", "the server is being shut down"),
        ("25006", "it is read-only: a standby"),
        ("42501", "the role may not write"),
        ("XX001", "a page is corrupt"),
    ],
)
async def test_h11_a_store_that_refuses_to_write_is_not_charged_and_the_run_goes_on_later(
    dsn: str, code: str, what: str
) -> None:
    await Job(ECHO, dsn=dsn).attempt()  # makes the tables
    await execute(dsn, REFUSES.format(code=code))
    job = Job(ECHO, "hello", dsn=dsn)

    outcome = await job.attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.SNOOZE, "SessionStoreUnavailable"), what
    assert "not charged" in outcome.message

    await execute(dsn, ADMITS)
    again = await job.attempt()
    assert (again.verdict, again.result) == (Verdict.COMPLETE, "hello")
    assert [event.author for event in await job.stored()].count("user") == 1


ROLLS_BACK_TWICE = """
create sequence adk.rollbacks;
create function adk.roll_back() returns trigger language plpgsql as $$ begin
    if nextval('adk.rollbacks') <= 2 then raise exception 'for another' using errcode = '{code}'; end if;
    return new;
end $$;
create trigger roll_back before insert on adk.{table} for each row execute function adk.roll_back();
"""


@pytest.mark.parametrize("table", ["sessions", "events"])
@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_a_transaction_that_gave_way_to_another_is_repeated_at_once(
    dsn: str, code: str, table: str
) -> None:
    await Job(ECHO, dsn=dsn).attempt()  # makes the tables
    await execute(dsn, ROLLS_BACK_TWICE.format(code=code, table=table))
    job = Job(ECHO, "hello", dsn=dsn)
    outcome = await job.attempt()
    assert (outcome.verdict, outcome.result) == (Verdict.COMPLETE, "hello")
    assert [event.author for event in await job.stored()].count("user") == 1


TOOL = """
    import asyncio
    from google.adk.agents import LlmAgent
    GO, WAITS = asyncio.Event(), asyncio.Event()
    async def wait() -> str:
        "Waits."
        WAITS.set()
        await GO.wait()
        return "waited"
    root_agent = LlmAgent(name="agent", model="echo", instruction="Answer.", tools=[wait])
"""


async def test_somebody_elses_event_in_the_middle_is_a_conflict(
    dsn: str, write_module: Write, rows: list[str]
) -> None:
    write_module("waits", textwrap.dedent(TOOL))
    job = Job(module("waits"), "echo:call wait", modules=("waits",), dsn=dsn)
    run = asyncio.ensure_future(job.attempt())
    await until(lambda: "waits" in sys.modules and sys.modules["waits"].WAITS.is_set())
    service = service_for(dsn)
    assert isinstance(service, JobSessions)
    other = await service.get_session(**job.session_key)
    assert other is not None
    await service.append_event(other, Event(author="somebody", invocation_id="theirs"))
    sys.modules["waits"].GO.set()

    outcome = await run
    assert (outcome.verdict, outcome.reason) == (Verdict.RETRY, "SessionConflict")
    assert rows == ["class google.StaleSessionError"]
