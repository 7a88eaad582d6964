"""Transcripts read from Postgres: pages, short forms of large events, and what cannot be read."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, LiteralString
from urllib.parse import urlsplit

import psycopg
import pytest
from google.adk.events.event import Event
from google.adk.events.event_actions import EventActions
from google.adk.sessions.schemas import v0
from google.genai import types
from sqlalchemy import create_engine

from agentjobs.agents.sessions.rows import column_time, event_json
from agentjobs.agents.sessions.service import JobSessions
from agentjobs.transcript import sql
from agentjobs.transcript.entry import Entry, Kind
from agentjobs.transcript.errors import NoSessionStore, SessionSchemaUnknown, TranscriptUnavailable
from agentjobs.transcript.event_entries import StoredEvent, entries_of
from agentjobs.transcript.jobs import SessionKey
from agentjobs.transcript.transcripts import MOST_EVENTS, Transcripts
from session_stores import ADKS, KEY, OURS, every_kind, opened, said

PLACE = ("team/app", "ann", "s")
NOW = 1_790_000_000.0


@pytest.fixture
async def transcripts(dsn: str) -> AsyncIterator[Transcripts]:
    async with await Transcripts.open(dsn) as reader:
        yield reader


async def pages(
    transcripts: Transcripts, limit: int, invocations: frozenset[str] | None = None
) -> list[Entry]:
    """All entries, read page by page."""
    entries: list[Entry] = []
    after = None
    while True:
        page = await transcripts.read(*PLACE, invocations=invocations, after=after, limit=limit)
        entries += page.entries
        after = page.next
        if after is None:
            return entries


def run(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement)


@pytest.mark.parametrize("writer", [OURS, ADKS])
@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_pages_hold_each_event_once_in_the_order_in_which_they_were_written(
    dsn: str, transcripts: Transcripts, writer: str, limit: int
) -> None:
    run(dsn, "create schema adk")
    written = every_kind()
    async with opened(writer, dsn) as store:
        session = await store.create_session(**KEY)
        for number, event in enumerate(written):
            event.timestamp = NOW + number / 1e6
            await store.append_event(session, event)
    expected = [
        entry
        for event in written
        for entry in entries_of(
            StoredEvent(
                event.id,
                event.invocation_id,
                column_time(event.timestamp).replace(tzinfo=UTC),
                event_json(event),
            )
        )
    ]
    assert await pages(transcripts, limit) == expected


async def test_a_page_goes_on_in_the_middle_of_an_event(dsn: str, transcripts: Transcripts) -> None:
    parts = [types.Part(text=f"{n}") for n in range(5)]
    await write(dsn, said(content=types.Content(role="model", parts=parts)), said("after"))
    page = await transcripts.read(*PLACE)
    for place, entry in enumerate(page.entries):
        rest = await transcripts.read(*PLACE, after=entry.cursor)
        assert rest.entries == page.entries[place + 1 :]


async def write(dsn: str, *events: Event) -> None:
    store = JobSessions(dsn)
    session = await store.create_session(**KEY)
    for event in events:
        await store.append_event(session, event)
    await store.release()


async def test_invocations_pick_a_jobs_own_events_and_those_of_its_later_rounds(
    dsn: str, transcripts: Transcripts
) -> None:
    ids = ["job-a", "job-b", "job-a", "job-a-r2", "job-b-r2", "e-1", "job-a-r13", "job-ab"]
    await write(dsn, *(said(f"{n}", invocation_id=id) for n, id in enumerate(ids)))
    own = await pages(transcripts, 2, frozenset({"job-a"}))
    assert [entry.text for entry in own] == ["0", "2", "3", "6"]
    assert [entry.text for entry in await pages(transcripts, 2)] == [f"{n}" for n in range(8)]
    assert await pages(transcripts, 2, frozenset()) == []


async def test_ten_thousand_events_are_read_in_pages_of_even_cost(dsn: str, transcripts: Transcripts) -> None:
    await write(dsn, said("first"))
    run(
        dsn,
        """insert into adk.events (id, app_name, user_id, session_id, invocation_id, timestamp, event_data)
           select md5(n::text), 'team/app', 'ann', 's', 'job-a', now() + n / 3 * interval '1 us',
                  jsonb_build_object('author', 'agent', 'content',
                                     jsonb_build_object('parts', jsonb_build_array(jsonb_build_object('text', n::text))))
             from generate_series(1, 10000) n;
           analyze adk.events;""",
    )
    entries: list[Entry] = []
    seconds, after = [], None
    while True:
        began = time.perf_counter()
        page = await transcripts.read(*PLACE, after=after, limit=MOST_EVENTS)
        seconds.append(time.perf_counter() - began)
        entries += page.entries
        if (after := page.next) is None:
            break
    texts = [entry.text for entry in entries]
    assert sorted(texts[1:], key=int) == [f"{n}" for n in range(1, 10001)], (
        "also where three have the same time"
    )
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
    assert min(seconds[-10:]) < 5 * min(seconds[:10]), "the last pages cost what the first do"
    followed = [entry async for entry in transcripts.follow(*PLACE, ended=yes)]
    assert followed == entries


async def yes() -> bool:
    return True


async def test_pages_and_followers_read_a_session_by_its_index(dsn: str) -> None:
    await write(dsn, said())
    at = column_time(NOW)
    common = {**KEY, "invocations": ["job-a"], "limit": 100}
    cases: list[tuple[LiteralString, dict[str, Any]]] = [
        (sql.PAGE, {**common, "at": at, "event": "e"}),
        (sql.NEWS, {**common, "floor": at, "known": ["e", "f"]}),
    ]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            """insert into adk.events (id, app_name, user_id, session_id, invocation_id, timestamp, event_data)
               select md5(n::text), 'team/app', 'ann', 's', 'job-a', now() + n * interval '1 s', '{}'
                 from generate_series(1, 10000) n"""
        )
        connection.execute("analyze adk.events")
        for statement, values in cases:
            plan = "\n".join(row[0] for row in connection.execute("explain " + statement, values))
            assert "Index Scan Backward using idx_events_app_user_session_ts_id" in plan
            condition = next(line for line in plan.splitlines() if "Index Cond" in line)
            assert "timestamp" in condition or "ROW" in condition, "it begins at the place"


def large(**fields: Any) -> Event:
    return said(**{"author": "agent", **fields})


LARGE: dict[str, tuple[Callable[[], Event], list[Kind]]] = {
    "an image": (
        lambda: large(
            content=types.Content(
                parts=[
                    types.Part(text="Here:"),
                    types.Part(inline_data=types.Blob(data=bytes(3_000_000), mime_type="image/png")),
                ]
            )
        ),
        [Kind.TEXT, Kind.FILE],
    ),
    "a text": (lambda: large(content=types.Content(parts=[types.Part(text='"\\é' * 300_000)])), [Kind.TEXT]),
    "arguments": (
        lambda: large(
            content=types.Content(
                parts=[
                    types.Part(
                        function_call=types.FunctionCall(
                            id="c", name="t", args={"a": "x" * 999_999, "b": [{"c": 1}] * 50_000}
                        )
                    )
                ]
            )
        ),
        [Kind.CALL],
    ),
    "a result": (
        lambda: large(
            content=types.Content(
                parts=[
                    types.Part(
                        function_response=types.FunctionResponse(
                            id="c", name="t", response={f"k{n}": n for n in range(90_000)}
                        )
                    )
                ]
            )
        ),
        [Kind.RESULT],
    ),
    "many parts": (
        lambda: large(content=types.Content(parts=[types.Part(text="y" * 4000)] * 3000)),
        [Kind.TEXT] * 32 + [Kind.OTHER],
    ),
    "state": (
        lambda: said(actions=EventActions(state_delta={"k": "z" * 500_000})),
        [Kind.TEXT, Kind.STATE],
    ),
    "an error": (lambda: large(content=None, error_code="X", error_message="m" * 500_000), [Kind.ERROR]),
    "an output": (lambda: large(content=None, output=["o" * 100] * 10_000), [Kind.OUTPUT]),
}


@pytest.mark.parametrize("name", LARGE)
async def test_a_large_event_comes_in_a_short_form(dsn: str, transcripts: Transcripts, name: str) -> None:
    made, kinds = LARGE[name]
    await write(dsn, made())
    page = await transcripts.read(*PLACE)
    assert [entry.kind for entry in page.entries] == kinds
    assert all(entry.author for entry in page.entries)
    if name == "an image":
        assert page.entries[1].data == {"type": "image/png", "bytes": 3_000_000}
    else:
        assert any(entry.cut for entry in page.entries)
        assert page.entries[-1].text.endswith(("…", "parts")) or "…" in str(page.entries[-1].data)
    if name == "arguments":
        assert (page.entries[0].tool, page.entries[0].call) == ("t", "c")
    assert len(str([entry.as_json() for entry in page.entries])) < 256 << 10
    (event,) = await transcripts._store.page(SessionKey(*PLACE), None, None, 1)
    assert len(event.data) + len(event.parts or "") < 256 << 10, "that is all that leaves the server"


async def test_a_session_that_was_never_written_is_empty_and_says_so(
    dsn: str, transcripts: Transcripts
) -> None:
    page = await transcripts.read(*PLACE)
    assert (page.entries, page.next, page.stored) == ([], None, False), "there are no tables yet"
    store = JobSessions(dsn)
    await store.create_session(**KEY)
    await store.release()
    page = await transcripts.read(*PLACE)
    assert (page.entries, page.next, page.stored) == ([], None, True)
    assert not (await transcripts.read("team/app", "bob", "s")).stored


async def test_h18_another_namespaces_session_of_the_same_name_is_another(
    dsn: str, transcripts: Transcripts
) -> None:
    await write(dsn, said("secret"))
    assert (await transcripts.read("other/app", "ann", "s")).entries == []


async def test_sessions_in_memory_have_no_transcript() -> None:
    async with await Transcripts.open(None) as reader:
        with pytest.raises(NoSessionStore, match="kept in memory"):
            await reader.read(*PLACE)
        with pytest.raises(NoSessionStore, match="SESSION_DATABASE_URL"):
            await anext(reader.follow(*PLACE))


async def test_adks_oldest_tables_and_newer_ones_are_refused_by_their_version(
    dsn: str, transcripts: Transcripts
) -> None:
    run(dsn, "create schema adk")
    engine = create_engine(
        "postgresql+psycopg" + dsn[dsn.index("://") :], connect_args={"options": "-csearch_path=adk"}
    )
    v0.Base.metadata.create_all(engine)
    engine.dispose()
    with pytest.raises(SessionSchemaUnknown, match="version 0: ADK's oldest"):
        await transcripts.read(*PLACE)
    run(dsn, "drop schema adk cascade")
    await write(dsn, said())
    run(dsn, "update adk.adk_internal_metadata set value = '9'")
    with pytest.raises(SessionSchemaUnknown, match="version 9"):
        await transcripts.read(*PLACE)


async def test_tables_whose_version_is_not_written_yet_are_as_good_as_none(
    dsn: str, transcripts: Transcripts
) -> None:
    await write(dsn, said())
    run(dsn, "create table kept as select * from adk.adk_internal_metadata")
    run(dsn, "delete from adk.adk_internal_metadata")
    assert not (await transcripts.read(*PLACE)).entries
    run(dsn, "insert into adk.adk_internal_metadata select * from kept")
    assert (await transcripts.read(*PLACE)).entries


async def test_a_store_that_is_away_or_refuses_is_told_without_a_password() -> None:
    async with await Transcripts.open("postgresql://u:s3cret@127.0.0.1:1/db") as reader:
        with pytest.raises(TranscriptUnavailable, match="session store") as raised:
            await reader.read(*PLACE)
        assert "s3cret" not in str(raised.value)
    with pytest.raises(ValueError, match="postgresql://"):
        await Transcripts.open("sqlite:///x")


async def test_a_role_without_rights_is_told_which_ones_it_wants(dsn: str) -> None:
    await write(dsn, said())
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("drop role if exists transcript_nobody")
        connection.execute("create role transcript_nobody login password 'p'")
        try:
            async with await Transcripts.open(_as(dsn)) as reader:
                with pytest.raises(TranscriptUnavailable, match="grant"):
                    await reader.read(*PLACE)
        finally:
            connection.execute("drop role transcript_nobody")


def _as(dsn: str) -> str:
    url = urlsplit(dsn)
    return url._replace(netloc=f"transcript_nobody:p@{url.netloc.rpartition('@')[2]}").geturl()


async def test_a_store_that_comes_back_is_read_again(own_postgres: Any) -> None:
    dsn = own_postgres.dsn("agentjobs")
    await write(dsn, said("kept"))
    async with await Transcripts.open(dsn) as reader:
        assert [entry.text for entry in (await reader.read(*PLACE)).entries] == ["kept"]
        own_postgres.kill()
        with pytest.raises(TranscriptUnavailable):
            await reader.read(*PLACE)
        own_postgres.restart()
        assert [entry.text for entry in (await reader.read(*PLACE)).entries] == ["kept"]


async def test_times_are_in_utc(dsn: str, transcripts: Transcripts) -> None:
    await write(dsn, said(timestamp=NOW))
    (entry,) = (await transcripts.read(*PLACE)).entries
    assert entry.at == datetime.fromtimestamp(NOW, UTC)
