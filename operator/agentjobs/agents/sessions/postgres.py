"""The session store: ADK's sessions in ADK's tables, by one statement and commit per event, without its ORM.

ADK's DatabaseSessionService and this store read each other's sessions and continue them, and make the same
promises about state, order and conflicting writers: tests/queue/test_session_stores.py runs both. This store
takes less time and memory; docs/performance.md has the figures. Runs in the executor, and in the template's
warm-up.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from google.adk.errors._stale_session_error import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events.event import Event
from google.adk.sessions import BaseSessionService, Session
from google.adk.sessions._session_util import extract_json_safe_state_delta
from google.adk.sessions.base_session_service import ListSessionsResponse
from psycopg import errors as pg

from agentjobs.agents.sessions import sql
from agentjobs.agents.sessions.connection import SessionConnection, fetch
from agentjobs.agents.sessions.fence import HOLD, RAISE, Fence, holding
from agentjobs.agents.sessions.rows import (
    column_time,
    event_json,
    event_of,
    mark,
    merged,
    revision_of,
    seconds_of,
    session_of,
    storable_json,
)
from agentjobs.database.connection import Connection, Row

if TYPE_CHECKING:
    from datetime import datetime

    from google.adk.sessions.base_session_service import GetSessionConfig

_ALL: dict[str, Any] = {"after": None, "limit": None}
MICROSECOND = timedelta(microseconds=1)
"""The resolution of the times in ADK's columns."""


class PostgresSessions(BaseSessionService):
    """Sessions in the tables of ``sql.SCHEMA_VERSION``, which JobSessions has made before."""

    def __init__(self, connection: SessionConnection) -> None:
        self._connection = connection

    async def open(self, fence: Fence) -> Session:
        """Takes the session for the fence's run and reads it; creates it where it is missing. One round trip.

        :raises SessionFenced: a later run has it.
        """
        key = _key(fence.app_name, fence.user_id, fence.session_id)
        # Separate statements: RAISE waits for a write that has begun, and READ must see that write.
        async with self._connection.use() as connection, connection.pipeline():
            taken = await connection.execute(RAISE, fence.parameters())
            await connection.execute(sql.CREATE, {**key, **_new_session({})})
            read = await connection.execute(sql.READ, key)
            events = await connection.execute(sql.EVENTS, {**key, **_ALL})
            if not await taken.fetchone():
                raise fence.lost()
            found = _session(key, await read.fetchone(), await events.fetchall())
        if found is None:
            raise SessionNotFoundError(f"Session {fence.session_id} was deleted while it was opened.")
        return found

    async def connect(self) -> None:
        """Opens the connection and sends a run's statements for a session that does not exist.

        The server process has then read the catalog entries of the tables. Nothing is written.
        """
        nobody = Session(app_name="", user_id="", id="")
        values = _new_event(nobody, Event(author="user"), Fence("", "", "", job="", run=0))
        async with self._connection.use() as connection, connection.pipeline():
            await connection.execute(sql.READ, values)
            await connection.execute(sql.EVENTS, {**values, **_ALL})
            await connection.execute(sql.APPEND, {**values, "revision": values["at"]})

    async def create_session(
        self,
        *,
        app_name: str,
        user_id: str,
        state: dict[str, Any] | None = None,
        session_id: str | None = None,
    ) -> Session:
        key = _key(app_name, user_id, str(uuid.uuid4()) if session_id is None else session_id)
        new = _new_session(state or {})
        async with self._connection.use() as connection, connection.pipeline():
            made = await connection.execute(sql.CREATE, {**key, **new})
            read = await connection.execute(sql.READ, key)
            if await made.fetchone() != (1,):
                raise AlreadyExistsError(f"Session with id {key['session_id']} already exists.")
            session = _session(key, await read.fetchone(), [])
        if session is None:
            raise SessionNotFoundError(f"Session {key['session_id']} was deleted while it was made.")
        return session

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> Session | None:
        key = _key(app_name, user_id, session_id)
        async with self._connection.use() as connection, connection.pipeline():
            read = await connection.execute(sql.READ, key)
            events = await connection.execute(sql.EVENTS, {**key, **_window(config)})
            return _session(key, await read.fetchone(), await events.fetchall())

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        async with self._connection.use() as connection:
            rows = await fetch(connection, sql.LIST, {"app_name": app_name, "user_id": user_id})
        return ListSessionsResponse(
            sessions=[
                session_of(app_name, user, session_id, merged(of_app, of_user, state), [], update_time)
                for user, session_id, state, update_time, of_app, of_user in rows
            ]
        )

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        async with self._connection.use() as connection:
            await connection.execute(sql.DELETE, _key(app_name, user_id, session_id))

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        async with self._connection.use() as connection:
            rows = await fetch(connection, sql.USER_STATE, {"app_name": app_name, "user_id": user_id})
        return dict(rows[0][0]) if rows else {}

    async def append_event(self, session: Session, event: Event) -> Event:
        """Stores the event, in one statement; that of a run with a time after all that the session has.

        Events are read by their time, and the clocks of the machines on which the runs of a session happen differ
        and are set: an event with a time that is not after the session's last gets the next microsecond.

        :raises SessionFenced: a later run has the session; nothing was written.
        :raises StaleSessionError: another writer has written to the session since it was read.
        """
        if event.partial:
            return event
        self._apply_temp_state(session, event)
        event = self._trim_temp_delta_state(event)
        await self._connection.surely(lambda connection, again: _append(connection, session, event, again))
        return self._commit_event_to_session(session, event)


async def _append(connection: Connection, session: Session, event: Event, again: bool) -> None:
    """Stores the event. ``again``: it may be stored already, with the answer lost."""
    fence = holding.get()
    key = _key(session.app_name, session.user_id, session.id)
    revision = revision_of(session) or await _revision_without_marker(connection, session, key)
    if fence is not None and revision is not None and column_time(event.timestamp) <= revision:
        event.timestamp = seconds_of(revision + MICROSECOND)
    values = _new_event(session, event, fence)
    try:
        ((written,),) = await fetch(connection, sql.APPEND, {**values, "revision": revision})
    except pg.UniqueViolation as error:
        raise AlreadyExistsError(f"Event {event.id} is in session {session.id} already.") from error
    if not written and not (again and await _ends_with(connection, event, key)):
        raise await _refusal(connection, session, key, fence)
    mark(session, values["at"])


async def _ends_with(connection: Connection, event: Event, key: dict[str, Any]) -> bool:
    """Whether the stored session ends with the event."""
    return any(row[1] == event.id for row in await fetch(connection, sql.REVISION, key))


def _key(app_name: str, user_id: str, session_id: str) -> dict[str, Any]:
    return {"app_name": app_name, "user_id": user_id, "session_id": session_id}


def _new_session(state: dict[str, Any]) -> dict[str, Any]:
    scopes = extract_json_safe_state_delta(state)
    return {
        "at": column_time(time.time()),
        **{f"{scope}_state": storable_json(values) for scope, values in scopes.items()},
    }


def _new_event(session: Session, event: Event, fence: Fence | None) -> dict[str, Any]:
    delta = extract_json_safe_state_delta(event.actions.state_delta or {})
    return {
        **_key(session.app_name, session.user_id, session.id),
        "at": column_time(event.timestamp),
        "event_id": event.id,
        "invocation_id": event.invocation_id,
        "event": event_json(event),
        **{f"{scope}_delta": storable_json(changes) for scope, changes in delta.items()},
        "job": None if fence is None else fence.job,
        "run": None if fence is None else fence.run,
        "claim": None if fence is None else fence.claim,
    }


def _window(config: GetSessionConfig | None) -> dict[str, Any]:
    """The parameters of EVENTS for ADK's ``config``. A time of 0 means no bound, as in ADK."""
    if config is None:
        return _ALL
    after = column_time(config.after_timestamp) if config.after_timestamp else None
    return {"after": after, "limit": config.num_recent_events}


def _session(key: dict[str, Any], row: Row | None, newest_first: list[Row]) -> Session | None:
    if row is None:
        return None
    state, update_time, of_app, of_user = row
    return session_of(
        key["app_name"],
        key["user_id"],
        key["session_id"],
        merged(of_app, of_user, state),
        [event_of(*event) for event in reversed(newest_first)],
        update_time,
    )


async def _revision_without_marker(
    connection: Connection, session: Session, key: dict[str, Any]
) -> datetime | None:
    """The revision of a session that no store has read: the stored one, if both end with the same event."""
    rows = await fetch(connection, sql.REVISION, key)
    if not rows:
        return None
    stored, last_event, *_ = rows[0]
    own_last = session.events[-1].id if session.events else None
    if seconds_of(stored) > session.last_update_time and last_event != own_last:
        raise _stale()
    mark(session, stored)
    return stored  # type: ignore[no-any-return]


async def _refusal(
    connection: Connection, session: Session, key: dict[str, Any], fence: Fence | None
) -> Exception:
    """The error that explains why APPEND wrote nothing.

    The fence is looked at first: a late run would otherwise see the new run's writes as a conflict.
    """
    if fence is not None and not await fetch(connection, HOLD, fence.parameters()):
        return fence.lost()
    rows = await fetch(connection, sql.REVISION, key)
    if not rows:
        return SessionNotFoundError(f"Session {session.id} not found.")
    _, _, has_app_state, has_user_state = rows[0]
    for there, scope in ((has_app_state, "App"), (has_user_state, "User")):
        if not there:
            return ValueError(
                f"{scope} state missing for app_name={session.app_name!r}, user_id={session.user_id!r}. "
                f"create_session makes it."
            )
    return _stale()


def _stale() -> StaleSessionError:
    return StaleSessionError(
        "The session has been modified in storage since it was loaded. "
        "Please reload the session before appending more events."
    )
