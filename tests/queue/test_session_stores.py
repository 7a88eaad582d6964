"""Our session store and ADK's own promise the same, on the same tables, one after the other and side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from google.adk.errors._stale_session_error import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.sessions import BaseSessionService, Session
from google.adk.sessions.base_session_service import GetSessionConfig

from session_stores import ADKS, KEY, OURS, as_told, changes, every_kind, opened, said

PAIRS = [(OURS, OURS), (OURS, ADKS), (ADKS, OURS), (ADKS, ADKS)]
"""Who writes, and who reads. The last pair shows that the tests ask for nothing but what ADK does."""


@pytest.fixture(params=PAIRS, ids=[f"{writer} and {reader}" for writer, reader in PAIRS])
async def stores(
    request: pytest.FixtureRequest, dsn: str
) -> AsyncIterator[tuple[BaseSessionService, BaseSessionService]]:
    """The one that writes and the one that reads. The first makes the tables."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create schema adk")
    writer, reader = request.param
    async with opened(writer, dsn) as one, opened(reader, dsn) as other:
        await one.list_sessions(app_name="makes the tables")
        yield one, other


Stores = tuple[BaseSessionService, BaseSessionService]


async def read(store: BaseSessionService, **config: float) -> Session:
    found = await store.get_session(**KEY, config=GetSessionConfig(**config) if config else None)
    assert found is not None
    return found


async def test_events_of_every_kind_come_back_as_they_were(stores: Stores) -> None:
    writer, reader = stores
    session = await writer.create_session(**KEY)
    written = every_kind()
    for event in written:
        await writer.append_event(session, event)
    found = await read(reader)
    assert as_told(found.events) == as_told(written)
    assert found.state == session.state
    assert found.last_update_time == session.last_update_time
    assert (await read(writer)).model_dump() == found.model_dump()


async def test_either_goes_on_where_the_other_stopped(stores: Stores) -> None:
    writer, reader = stores
    await writer.append_event(await writer.create_session(**KEY), said("1"))
    await reader.append_event(await read(reader), said("2"))
    session = await read(writer)
    await writer.append_event(session, said("3"))
    await writer.append_event(session, said("4"))
    texts = [event.content.parts[0].text for event in (await read(reader)).events]  # type: ignore[union-attr,index]
    assert texts == ["1", "2", "3", "4"]


async def test_state_has_the_scopes_app_user_session_and_invocation(stores: Stores) -> None:
    writer, reader = stores
    given = {"app:a": 1, "user:u": {"x": [1]}, "temp:t": 1, "s": "mine"}
    session = await writer.create_session(**KEY, state=given)
    assert session.state == {"app:a": 1, "user:u": {"x": [1]}, "s": "mine"}
    await writer.append_event(
        session, changes(app__a=2, app__b=None, user__v=3, temp__t=4, s="new", n={"k": []})
    )
    assert session.state["temp:t"] == 4, "those who come later in the invocation see it"
    mine = {"app:a": 2, "app:b": None, "user:u": {"x": [1]}, "user:v": 3}
    found = await read(reader)
    assert found.state == {**mine, "s": "new", "n": {"k": []}}
    assert "temp:t" not in found.events[0].actions.state_delta
    assert await reader.get_user_state(app_name="team/app", user_id="ann") == {"u": {"x": [1]}, "v": 3}
    assert await reader.get_user_state(app_name="team/app", user_id="bob") == {}
    same_user = await reader.create_session(
        app_name="team/app", user_id="ann", session_id="s2", state={"app:c": 1}
    )
    other_user = await reader.create_session(app_name="team/app", user_id="bob")
    other_app = await reader.create_session(app_name="team/other", user_id="ann")
    assert same_user.state == {**mine, "app:c": 1}
    assert other_user.state == {"app:a": 2, "app:b": None, "app:c": 1}
    assert other_app.state == {}
    assert len({other_user.id, other_app.id}) == 2, "ids of their own"


async def test_state_that_is_no_json_is_stored_as_well_as_it_can_be(stores: Stores) -> None:
    writer, reader = stores
    session = await writer.create_session(**KEY, state={"t": (1, 2)})
    await writer.append_event(session, changes(f=print, when={"a": (1, 2)}))
    state = (await read(reader)).state
    assert isinstance(state.pop("f"), str)
    assert state == {"t": [1, 2], "when": {"a": [1, 2]}}


async def test_a_session_can_be_read_in_part(stores: Stores) -> None:
    writer, reader = stores
    session = await writer.create_session(**KEY)
    for second in (1, 2, 3):
        await writer.append_event(session, said(str(second), timestamp=float(second)))

    async def times(**config: float) -> list[float]:
        return [event.timestamp for event in (await read(reader, **config)).events]

    assert await times(num_recent_events=2) == [2, 3]
    assert await times(num_recent_events=0) == []
    assert await times(after_timestamp=2.0) == [2, 3]
    assert await times(after_timestamp=2.0, num_recent_events=1) == [3]
    assert await times(after_timestamp=0.0) == [1, 2, 3]
    assert (await read(reader, num_recent_events=0)).last_update_time == 3.0


async def test_events_of_the_same_moment_keep_their_order_between_reads(stores: Stores) -> None:
    writer, reader = stores
    session = await writer.create_session(**KEY)
    for name in ("b", "c", "a"):
        await writer.append_event(session, said(id=name, timestamp=1.5))
    assert [event.id for event in (await read(reader)).events] == ["a", "b", "c"]
    assert [event.id for event in (await read(reader, num_recent_events=2)).events] == ["b", "c"]


async def test_sessions_are_listed_with_their_state_and_without_events(stores: Stores) -> None:
    writer, reader = stores
    for number, user in ((3, "ann"), (1, "bob"), (2, "ann")):
        session = await writer.create_session(
            app_name="app",
            user_id=user,
            session_id=f"s{number}",
            state={"user:n": number, "n": number, "app:a": 0},
        )
        await writer.append_event(session, said(timestamp=float(number)))
    await writer.create_session(app_name="other", user_id="ann")

    async def listed(user_id: str | None = None) -> list[tuple[str, str, dict[str, object], int]]:
        found = (await reader.list_sessions(app_name="app", user_id=user_id)).sessions
        return [(s.user_id, s.id, s.state, len(s.events)) for s in found]

    bob = ("bob", "s1", {"n": 1, "user:n": 1, "app:a": 0}, 0)
    ann = [("ann", f"s{n}", {"n": n, "user:n": 2, "app:a": 0}, 0) for n in (2, 3)]
    assert await listed() == [bob, *ann], "the one that was written longest ago first"
    assert await listed("ann") == ann
    assert await listed("nobody") == []


async def test_a_deleted_session_is_gone_with_its_events(stores: Stores, dsn: str) -> None:
    writer, reader = stores
    session = await writer.create_session(**KEY, state={"user:u": 1})
    await writer.append_event(session, said())
    await reader.delete_session(**KEY)
    await reader.delete_session(**KEY)
    assert await writer.get_session(**KEY) is None
    with pytest.raises(SessionNotFoundError):
        await writer.append_event(session, said())
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select count(*) from adk.events").fetchone() == (0,)
    assert (await writer.create_session(**KEY)).state == {"user:u": 1}, "a user outlives the sessions"


async def test_a_session_is_made_once(stores: Stores) -> None:
    writer, reader = stores
    await writer.create_session(**KEY, state={"app:a": 1, "s": 1})
    with pytest.raises(AlreadyExistsError):
        await reader.create_session(**KEY, state={"app:a": 2, "s": 2})
    assert (await read(reader)).state == {"app:a": 1, "s": 1}


async def test_who_makes_the_same_session_at_once_finds_that_it_exists(stores: Stores) -> None:
    writer, reader = stores
    made = await asyncio.gather(
        *(store.create_session(**KEY) for store in (writer, reader, writer, reader)), return_exceptions=True
    )
    assert sum(isinstance(one, Session) for one in made) == 1
    assert sum(isinstance(one, AlreadyExistsError) for one in made) == 3


async def test_a_writer_whose_session_is_out_of_date_is_refused(stores: Stores) -> None:
    writer, reader = stores
    session = await writer.create_session(**KEY)
    late = await read(reader)
    await writer.append_event(session, said("first", timestamp=5.0))
    with pytest.raises(StaleSessionError):
        await reader.append_event(late, said("late"))
    again = await read(reader)
    await reader.append_event(again, said("second"))
    with pytest.raises(StaleSessionError):
        await writer.append_event(session, said("late"))
    assert len((await read(writer)).events) == 2


async def test_of_two_that_write_at_once_one_is_refused(stores: Stores) -> None:
    writer, reader = stores
    session = await writer.create_session(**KEY)
    for number in range(1, 6):
        one, other = await read(writer), await read(reader)
        ended = await asyncio.gather(
            writer.append_event(one, said(timestamp=float(number))),
            reader.append_event(other, said(timestamp=number + 0.5)),
            return_exceptions=True,
        )
        assert sum(isinstance(end, StaleSessionError) for end in ended) == 1, ended
        assert len((await read(writer)).events) == number
    assert session.id == "s"


async def test_parallel_agents_write_into_one_session_object(stores: Stores) -> None:
    writer, reader = stores
    session = await writer.create_session(**KEY)
    events = [said(str(n), timestamp=float(n)) for n in range(10)]
    await asyncio.gather(*(writer.append_event(session, event) for event in events))
    assert {event.id for event in (await read(reader)).events} == {event.id for event in events}


async def test_state_that_sessions_share_loses_no_change(stores: Stores) -> None:
    writer, reader = stores

    async def play(store: BaseSessionService, name: str) -> None:
        session = await store.create_session(app_name="app", user_id="ann", session_id=name)
        for number in range(5):
            await store.append_event(
                session, changes(**{f"app__{name}{number}": number, f"user__{name}{number}": 1})
            )

    await asyncio.gather(play(writer, "a"), play(reader, "b"), play(writer, "c"), play(reader, "d"))
    state = (await writer.create_session(app_name="app", user_id="ann")).state
    assert len(state) == 40


async def test_a_session_object_that_no_store_read_is_taken_where_it_is_up_to_date(stores: Stores) -> None:
    writer, reader = stores
    event = said("1", timestamp=5.0)
    await writer.append_event(await writer.create_session(**KEY), event)
    bare = Session(app_name="team/app", user_id="ann", id="s", events=[event])
    await reader.append_event(bare, said("2", timestamp=6.0))
    with pytest.raises(StaleSessionError):
        await reader.append_event(
            Session(app_name="team/app", user_id="ann", id="s", events=[event], last_update_time=5.0),
            said("3"),
        )
    with pytest.raises(SessionNotFoundError):
        await reader.append_event(Session(app_name="team/app", user_id="ann", id="none"), said())


async def test_a_piece_of_an_answer_is_not_stored(stores: Stores) -> None:
    writer, reader = stores
    session = await writer.create_session(**KEY)
    await writer.append_event(session, said(partial=True))
    assert session.events == (await read(reader)).events == []


async def test_a_session_that_nobody_made_is_none(stores: Stores) -> None:
    assert await stores[1].get_session(**KEY) is None


async def test_h6_text_that_postgres_refuses_is_cleaned_wherever_it_stands(dsn: str) -> None:
    async with opened(OURS, dsn) as ours:
        session = await ours.create_session(**KEY, state={"a\x00": "\ud800"})
        await ours.append_event(session, said("b\x00c\ud83d", custom_metadata={"k\x00": "\udfff"}))
        await ours.append_event(session, changes(user__z="\x00"))
        found = await read(ours)
    assert found.state == {"a\ufffd": "\ufffd", "user:z": "\ufffd"}
    assert found.events[0].content.parts[0].text == "b\ufffdc\ufffd"  # type: ignore[union-attr,index]
    assert found.events[0].custom_metadata == {"k\ufffd": "\ufffd"}
