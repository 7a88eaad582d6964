"""Transcripts that are followed: every event once, in order, from the start, whatever dies and whoever writes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from google.adk.events.event import Event
from google.adk.sessions import Session

from agentjobs.agents.sessions.fence import Fence, holding
from agentjobs.agents.sessions.service import JobSessions
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State
from agentjobs.transcript.entry import Entry, Kind
from agentjobs.transcript.errors import TranscriptUnavailable
from agentjobs.transcript.jobs import invocations_of, session_of
from agentjobs.transcript.store import Store
from agentjobs.transcript.transcripts import Transcripts
from processes import until
from session_stores import ADKS, KEY, opened, said
from workers import Start, job, state_of, submit

PLACE = ("team/app", "ann", "s")
NOW = 1_790_000_000.0

LIVES = """
import asyncio, os
from google.adk.agents import LlmAgent
from agentjobs.agents.context import current_job

def begin(name: str):
    return f"began {name}"

async def linger(file: str):
    "In the first run for ever."
    if current_job().run == 1:
        open(file, "w").close()
        await asyncio.sleep(600)
    return f"run {current_job().run}"

def fail_until(file: str):
    if not os.path.exists(file):
        raise RuntimeError("not yet")
    return "at last"

root_agent = LlmAgent(name="lives", model="echo", instruction="Answer.", tools=[begin, linger, fail_until])
"""


class Follower:
    """A task that follows, and what it was told."""

    def __init__(self, entries: AsyncIterator[Entry]) -> None:
        self.told: list[Entry] = []
        self._entries = entries
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for entry in self._entries:
            self.told.append(entry)

    @property
    def events(self) -> list[str]:
        """The ids of the events, as often as they were told."""
        return [entry.cursor.event for entry in self.told if entry.cursor.number == 0]


@asynccontextmanager
async def following(transcripts: Transcripts, *place: str, **options: Any) -> AsyncIterator[Follower]:
    """A follower until the end of the block; an error of its own is raised there."""
    async with aclosing(transcripts.follow(*place, **options)) as entries:  # type: ignore[arg-type]
        follower = Follower(entries)
        try:
            yield follower
        finally:
            if not follower.task.done():
                follower.task.cancel()
            await asyncio.wait([follower.task])
        if not follower.task.cancelled():
            follower.task.result()


@pytest.fixture
async def transcripts(dsn: str) -> AsyncIterator[Transcripts]:
    async with await Transcripts.open(dsn) as reader:
        yield reader


def stored(dsn: str) -> list[str]:
    """Ids of all events, in the order in which the transactions that wrote them began to write."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("select id from adk.events order by xmin::text::bigint").fetchall()
    return [row[0] for row in rows]


async def test_a_transcript_is_whole_through_a_workers_death_a_retry_and_a_new_round(
    dsn: str, queue: Queue, transcripts: Transcripts, start: Start, tmp_path: Path
) -> None:
    """It is followed from before the first run. What it tells is what is stored, in the order of the commits."""
    modules = tmp_path / "modules"
    modules.mkdir(exist_ok=True)
    options = {"modules": ["lives"], "heartbeat_seconds": 0.5, "expiry_seconds": 4.0}
    inside, go = tmp_path / "inside", tmp_path / "go"
    message = (
        f'Hello\necho:call begin {{"name": "x"}}\necho:call linger {{"file": "{inside}"}}\n'
        f'echo:call fail_until {{"file": "{go}"}}'
    )
    (modules / "lives.py").write_text(LIVES)
    one = job(message, module="lives", max_attempts=2)
    async with await Queue.open(dsn, expiry_seconds=4.0) as queue:
        (uid,) = await submit(queue, one)
        view = await queue.show(uid)
        assert view is not None
        key = session_of(view)
        assert key is not None
        place = (key.app_name, key.user_id, key.session_id)
        ended = False

        async def is_ended() -> bool:
            return ended

        async with following(
            transcripts, *place, invocations=invocations_of(view), ended=is_ended
        ) as follower:
            first = start(**options)
            await until(inside.exists, "the run is inside its tool")
            await until(lambda: Kind.RESULT in kinds(follower), "the first result is told")
            first.signal(signal.SIGKILL)
            start(**options)
            view = await state_of(queue, uid)
            assert (view.state, view.round) == (State.FAILED, 1)
            assert view.attempts_log[0].reason == "WorkerLost"
            await until(lambda: Kind.ERROR in kinds(follower), "the failure is told")
            assert not follower.task.done(), "a retry by hand may follow"
            go.touch()
            assert await queue.retry(uid)
            view = await state_of(queue, uid)
            assert (view.state, view.round) == (State.COMPLETE, 2)
            ended = True
            await until(follower.task.done, "the stream ends by itself")
        assert follower.events == stored(dsn)
        assert len(set(follower.events)) == len(follower.events)
        assert [(e.kind, e.tool or e.text) for e in follower.told if e.author == "user"] == [
            (Kind.TEXT, message)
        ]
        calls = [entry.tool for entry in follower.told if entry.kind is Kind.CALL]
        assert calls.count("begin") == 1, "a finished call is not made again"
        assert calls.count("linger") == 2, "that of the run that died, and that of the retry"
        assert follower.told[-1].kind is Kind.TEXT
        assert follower.told[-1].text == view.result
        again = [
            e async for e in transcripts.follow(*place, invocations=invocations_of(view), ended=is_ended)
        ]
        assert again == follower.told, "from the start, as often as one likes"


def kinds(follower: Follower) -> set[Kind]:
    return {entry.kind for entry in follower.told}


async def append(writer: JobSessions, session: Session, fence: Fence, event: Event) -> str:
    token = holding.set(fence)
    await writer.append_event(session, event)
    holding.reset(token)
    return event.id


async def test_jobs_that_take_turns_in_one_session_are_told_in_the_order_of_their_commits(
    dsn: str, transcripts: Transcripts
) -> None:
    """Their machines' clocks differ by hours, and one stands still."""
    offsets = [0.0, -7200.0, 3600.0, 0.0, 0.0]
    written: list[str] = []
    async with (
        following(transcripts, *PLACE) as all_of_it,
        following(transcripts, *PLACE, invocations={"job-1"}) as one_job,
    ):
        for claim in range(1, 31):
            writer = JobSessions(dsn)
            fence = Fence(*PLACE, job=f"j{claim % 3}", run=claim, claim=claim)
            session = await writer.open(fence)
            for _ in range(3):
                event = said(invocation_id=f"job-{claim % 3}", timestamp=NOW + offsets[claim % 5])
                written.append(await append(writer, session, fence, event))
            await writer.release()
        await until(lambda: len(all_of_it.events) >= len(written), "all is told")
        await until(lambda: len(one_job.events) >= 30, "the one job is told")
        assert all_of_it.events == written == stored(dsn)
        assert one_job.events == [id for n, id in enumerate(written) if (n // 3 + 1) % 3 == 1]


async def test_events_of_adks_own_service_that_come_late_or_share_a_time_are_told_once(
    dsn: str, transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    # for those that share a time with the one before, which leave the session's row as it is
    monkeypatch.setattr("agentjobs.transcript.transcripts.READ_SECONDS", 1.0)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create schema adk")
    times = [0, 1, 1, 1, 0.5, 5, 4, 4, 3.5, 60, 2, 60, 60]
    written: list[str] = []
    async with opened(ADKS, dsn) as store, following(transcripts, *PLACE) as follower:
        session = await store.create_session(**KEY)
        for offset in times:
            event = said(timestamp=NOW + offset)
            await store.append_event(session, event)
            written.append(event.id)
            await until(lambda: event.id in follower.events, "it is told")  # noqa: B023
    assert follower.events == written, "each as it came"


async def test_a_row_that_is_committed_late_is_told_when_it_comes(dsn: str, transcripts: Transcripts) -> None:
    """Written by somebody who does not take part in the session's lock."""
    store = JobSessions(dsn)
    session = await store.create_session(**KEY)
    await store.append_event(session, said("first", timestamp=NOW))
    statement = """insert into adk.events select %s, app_name, user_id, session_id, invocation_id,
                          timestamp + %s * interval '1 s', event_data from adk.events limit 1"""
    async with following(transcripts, *PLACE) as follower:
        await until(lambda: len(follower.events) == 1, "the first is told")
        with psycopg.connect(dsn) as slow, psycopg.connect(dsn, autocommit=True) as quick:
            slow.execute(statement, ("early", 1))
            quick.execute(statement, ("late", 2))
            await store.append_event(session, said("wakes the follower", timestamp=NOW + 3))
            await until(lambda: len(follower.events) == 3, "what is committed is told")
            slow.commit()
        await store.append_event(session, said("wakes it again", timestamp=NOW + 4))
        await until(lambda: len(follower.events) == 5, "the late one too")
        assert sorted(follower.events) == sorted(stored(dsn))
    await store.release()


async def test_a_follower_goes_on_where_another_one_stopped(dsn: str, transcripts: Transcripts) -> None:
    store = JobSessions(dsn)
    session = await store.create_session(**KEY)
    events = [said(f"{n}", timestamp=NOW + n // 2) for n in range(300)]
    for event in events:
        await store.append_event(session, event)
    whole = [entry async for entry in transcripts.follow(*PLACE, ended=yes)]
    assert len(whole) == 300
    for place in (0, 1, 2, 150, 298, 299):
        rest = [e async for e in transcripts.follow(*PLACE, after=whole[place].cursor, ended=yes)]
        assert rest == whole[place + 1 :]
    async with following(transcripts, *PLACE, after=whole[-1].cursor) as follower:
        await store.append_event(session, said("new", timestamp=NOW + 500))
        await until(lambda: follower.told, "the new one is told")
        assert [entry.text for entry in follower.told] == ["new"]
    await store.release()


async def yes() -> bool:
    return True


async def test_what_is_written_before_the_end_is_told_before_the_stream_ends(
    dsn: str, transcripts: Transcripts
) -> None:
    """The question is answered by Yes right after the last event was written, while the follower was not woken."""
    store = JobSessions(dsn)
    session = await store.create_session(**KEY)
    asked = 0

    async def ended() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            await store.append_event(session, said("the last words"))
        return asked >= 3

    async with asyncio.timeout(60):
        told = [entry.text async for entry in transcripts.follow(*PLACE, ended=ended)]
    assert told == ["the last words"]
    await store.release()


async def test_followers_end_with_an_error_while_the_store_is_away_and_go_on_later(own_postgres: Any) -> None:
    dsn = own_postgres.dsn("agentjobs")
    store = JobSessions(dsn)
    session = await store.create_session(**KEY)
    await store.append_event(session, said("before"))
    async with await Transcripts.open(dsn) as reader:
        follower = Follower(reader.follow(*PLACE))
        await until(lambda: follower.told, "the first is told")
        own_postgres.kill()
        with pytest.raises(TranscriptUnavailable):
            await asyncio.wait_for(follower.task, 60)
        own_postgres.restart()
        await store.append_event(session, said("after"))
        rest = [e.text async for e in reader.follow(*PLACE, after=follower.told[-1].cursor, ended=yes)]
        assert rest == ["after"]
    await store.release()


async def test_one_statement_asks_for_all_followers_and_seldom_where_nothing_happens(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = JobSessions(dsn)
    for number in range(5):
        session = await store.create_session(app_name="team/app", user_id="ann", session_id=f"s{number}")
        await store.append_event(session, said())
    looks: list[int] = []
    revisions = Store.revisions

    async def counted(self: Store, keys: Sequence[Any]) -> Any:
        looks.append(len(keys))
        return await revisions(self, keys)

    monkeypatch.setattr(Store, "revisions", counted)
    async with await Transcripts.open(dsn) as reader:
        followers = [following(reader, "team/app", "ann", f"s{number % 5}") for number in range(50)]
        entered = [await one.__aenter__() for one in followers]
        await until(lambda: all(len(one.told) == 1 for one in entered), "each is told")
        looks.clear()
        await until(lambda: len(looks) >= 4, "it is looked again")
        assert set(looks) <= {5}, "five sessions, fifty followers"
        for one in followers:
            await one.__aexit__(None, None, None)
        assert reader._revisions._sessions == {}
    await store.release()
