"""The session store as transcripts read it: a small pool of connections, and events by keyset."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import LiteralString

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from agentjobs.agents.sessions.url import SCHEMA, libpq_url
from agentjobs.cancellation import cancellation_kept
from agentjobs.database.connection import LIFETIME_SECONDS, READ_COMMITTED, Connection, Row, Target
from agentjobs.database.fault import ConnectionStale, Fault, fault_of, one_line
from agentjobs.dsn import Dsn, current
from agentjobs.transcript import sql
from agentjobs.transcript.entry import Cursor
from agentjobs.transcript.errors import NoSessionStore, SessionSchemaUnknown, TranscriptUnavailable
from agentjobs.transcript.event_entries import StoredEvent
from agentjobs.transcript.jobs import SessionKey
from agentjobs.transcript.window import Window
from agentjobs.values.setting_names import both_names

STATEMENT_SECONDS = 10
"""Time limit of a statement."""
ANSWER_SECONDS = 15
"""The longest wait for an answer: longer than the server's own limit, so that its answer comes first."""
CONNECTIONS = 3
"""Statements at once; further ones wait."""
_SETTINGS = (
    f"{READ_COMMITTED} -c statement_timeout={STATEMENT_SECONDS}s -c idle_in_transaction_session_timeout=60s"
)

_REPEATS = {Fault.STALE: 2, Fault.READ_ONLY: 1, Fault.ROLLED_BACK: 2}
"""Of a read that gave nothing, by what was in its way."""


class Store:
    """ADK's tables in the database of the setting ``session_database_url``. It only reads."""

    def __init__(self, dsn: Dsn | None) -> None:
        """
        :param dsn: None: sessions are kept in memory, so each read raises NoSessionStore.
        :raises ValueError: the URL is not one of Postgres.
        """
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._target: Target | None = None
        self._is_readable = False
        if dsn is None:
            return
        libpq_url(current(dsn))
        self._target = Target(
            lambda: libpq_url(current(dsn)), "agentjobs-transcript", _SETTINGS, answer_seconds=ANSWER_SECONDS
        )
        wait_seconds = self._target.connect_seconds()
        self._pool = AsyncConnectionPool(
            connection_class=Connection,
            kwargs={"target": self._target},
            min_size=0,
            max_size=CONNECTIONS,
            open=False,
            timeout=wait_seconds,
            reconnect_timeout=wait_seconds,
            max_lifetime=LIFETIME_SECONDS,
            name="agentjobs-transcript",
        )

    async def open(self) -> None:
        if self._pool is not None:
            await self._pool.open(wait=False)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close(timeout=2)

    async def page(
        self, key: SessionKey, invocations: Collection[str] | None, after: Cursor | None, limit: int
    ) -> list[StoredEvent]:
        """The events from ``after`` on, that one included, at most ``limit``."""
        place = (
            {"at": None, "event": ""} if after is None else {"at": _column(after.at), "event": after.event}
        )
        return await self._events(sql.PAGE, key, invocations, limit, place)

    async def news(
        self, key: SessionKey, invocations: Collection[str] | None, window: Window, limit: int
    ) -> list[StoredEvent]:
        """The earliest events that are not in the window, at most ``limit``."""
        floor = None if window.floor is None else _column(window.floor)
        return await self._events(
            sql.NEWS, key, invocations, limit, {"floor": floor, "known": window.known()}
        )

    async def is_stored(self, key: SessionKey) -> bool:
        """Whether the session exists."""
        return await self._is_there() and bool(await self.fetch(sql.STORED, key.as_json()))

    async def revisions(self, keys: Sequence[SessionKey]) -> dict[SessionKey, str]:
        """For each session that exists, what changes with each event that is appended to it. One statement."""
        if not await self._is_there():
            return {}
        rows = await self.fetch(
            sql.REVISIONS,
            {
                "app_names": [key.app_name for key in keys],
                "user_ids": [key.user_id for key in keys],
                "session_ids": [key.session_id for key in keys],
            },
        )
        return {keys[place - 1]: revision for place, revision in rows}

    async def _events(
        self,
        statement: LiteralString,
        key: SessionKey,
        invocations: Collection[str] | None,
        limit: int,
        place: Mapping[str, object],
    ) -> list[StoredEvent]:
        if not await self._is_there():
            return []
        chosen = None if invocations is None else list(invocations)
        rows = await self.fetch(statement, {**key.as_json(), "invocations": chosen, "limit": limit, **place})
        return [
            StoredEvent(id, invocation, at.replace(tzinfo=UTC), data or "null", parts)
            for id, invocation, at, data, parts in rows
        ]

    async def _is_there(self) -> bool:
        """Whether ADK's tables exist. False: no run has made them yet.

        :raises SessionSchemaUnknown: they are of another version.
        """
        if self._is_readable:
            return True
        ((metadata, events),) = await self.fetch(sql.THERE, {})
        if not metadata and not events:
            return False
        rows = await self.fetch(sql.VERSION, {}) if metadata else [("0",)]
        if not rows:  # ADK makes its tables, and then says of which version they are
            return False
        version = str(rows[0][0])
        if version != sql.SCHEMA_VERSION:
            oldest = ": ADK's oldest, which keeps events as Python objects" if version == "0" else ""
            raise SessionSchemaUnknown(
                f"The session store's tables are of ADK's schema version {version}{oldest}; transcripts are read from "
                f"version {sql.SCHEMA_VERSION}. `adk migrate session` moves sessions to it; "
                f"`adk web` with the same URL shows them as they are."
            )
        self._is_readable = events
        return self._is_readable

    async def fetch(self, statement: LiteralString, values: Mapping[str, object]) -> list[Row]:
        """All rows of one statement.

        :raises NoSessionStore: sessions are kept in memory.
        :raises TranscriptUnavailable: the database is away, slow or refuses.
        """
        if self._pool is None or self._target is None:
            raise NoSessionStore(
                "Sessions are kept in memory, and end with their run: there is no transcript. "
                f"With {both_names('session_database_url')}, they are kept in Postgres."
            )
        for repeat in range(4):
            try:
                with cancellation_kept():
                    return await self._fetch(self._pool, statement, values)
            except PoolClosed as error:
                raise TranscriptUnavailable("session store: this reader is closed") from error
            except PoolTimeout as error:
                raise TranscriptUnavailable(f"session store: {self._target.failure or error}") from error
            except psycopg.Error as error:
                fault = fault_of(error)
                if repeat >= _REPEATS.get(fault, 0):
                    if fault in (Fault.DATA, Fault.KEY, Fault.OTHER):
                        raise
                    self._is_readable = False
                    raise TranscriptUnavailable(_told(fault, error)) from error
        raise AssertionError("unreachable")

    async def _fetch(
        self, pool: AsyncConnectionPool[Connection], statement: LiteralString, values: Mapping[str, object]
    ) -> list[Row]:
        fault: Fault | None = None
        try:
            async with pool.connection() as connection:
                try:
                    if not await connection.works():
                        raise ConnectionStale("the connection was lost while it was not used")
                    return await (await connection.execute(statement, values)).fetchall()
                except psycopg.Error as error:
                    fault = fault_of(error)
                    raise
                finally:
                    if fault is not None and fault.ends_connection:
                        await connection.close()
        finally:
            if fault is not None and fault.ends_pool:
                await pool.drain()


def _told(fault: Fault, error: psycopg.Error) -> str:
    told = f"session store: {one_line(error)}"
    if fault is Fault.RIGHT:
        return f"{told}; grant this role usage on the schema {SCHEMA}, and select on its tables"
    return told


def _column(at: datetime) -> datetime:
    """A time as ADK's columns have it: in UTC, of type timestamp without time zone."""
    return at.astimezone(UTC).replace(tzinfo=None)
