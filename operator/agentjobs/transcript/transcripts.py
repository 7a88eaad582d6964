"""Transcripts of sessions, read page by page or followed while the session is written."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Self

from agentjobs.dsn import Dsn
from agentjobs.transcript.artifacts import Artifacts
from agentjobs.transcript.entry import Cursor, Entry, Page
from agentjobs.transcript.event_entries import entries_of
from agentjobs.transcript.jobs import SessionKey
from agentjobs.transcript.revisions import Revisions
from agentjobs.transcript.store import Store
from agentjobs.transcript.window import Window

DEFAULT_EVENTS = 100
MOST_EVENTS = 200
"""Events of a page. Each is at most about 128 KiB as it is read, and less as entries."""
ASK_SECONDS = 1.0
"""Between two questions of a follower whether the transcript has ended."""
READ_SECONDS = 10.0
"""Between two reads of a follower that hears of no change: ADK's own service leaves the session's row as it is where an
event has the time of the one before."""

Ended = Callable[[], Awaitable[bool]]
"""Tells whether nothing more will be written, such as: the job's state is final."""


class Transcripts:
    """The reader of the session store. Any number of tasks may use one."""

    def __init__(self, store: Store) -> None:
        """Use ``open``."""
        self._store = store
        self._revisions = Revisions(store)
        self.artifacts = Artifacts(store)
        """The files of the sessions."""

    @classmethod
    async def open(cls, session_dsn: Dsn | None) -> Self:
        """A reader; it connects at its first read.

        :param session_dsn: the setting session_database_url, or database_url where that is absent. None: sessions are
            kept in memory.
        :raises ValueError: the URL is not one of Postgres.
        """
        store = Store(session_dsn)
        await store.open()
        return cls(store)

    async def close(self) -> None:
        await self._revisions.close()
        await self._store.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def read(
        self,
        app: str,
        user: str,
        session: str,
        invocations: Collection[str] | None = None,
        after: Cursor | None = None,
        limit: int = DEFAULT_EVENTS,
    ) -> Page:
        """The entries of a session after a place, the oldest first.

        :param invocations: invocation ids; later rounds of a job are meant with its first one's. None: all.
        :param after: ``next`` of the page before, or any entry's cursor. None: from the start.
        :param limit: events, of which each has one entry or more; at most MOST_EVENTS.
        :raises NoSessionStore, SessionSchemaUnknown, TranscriptUnavailable:
        """
        key = SessionKey(app, user, session)
        asked = min(max(limit, 1), MOST_EVENTS) + (
            after is not None
        )  # the event of ``after`` is read once more
        events = await self._store.page(key, invocations, after, asked)
        entries = _beyond([entry for event in events for entry in entries_of(event)], after)
        more = entries[-1].cursor if entries and len(events) >= asked else None
        return Page(entries, more, stored=bool(events) or await self._store.is_stored(key))

    async def follow(
        self,
        app: str,
        user: str,
        session: str,
        invocations: Collection[str] | None = None,
        after: Cursor | None = None,
        ended: Ended | None = None,
    ) -> AsyncGenerator[Entry, None]:
        """Each entry of a session once: those that are stored, then those that are written, as they come.

        Entries come in the order in which they were written, through deaths of workers, retries and new rounds. Of
        events that ADK's own service wrote, see ``window``.

        :param invocations, after: as in ``read``.
        :param ended: asked about once a second, and after changes. Once it says True, what is stored by then is given,
            and the iteration ends. None: it goes on until the caller stops, which also waits for a retry by hand.
        :raises NoSessionStore, SessionSchemaUnknown, TranscriptUnavailable: the caller may follow again, after the
            last entry that it got.
        """
        key = SessionKey(app, user, session)
        window = Window(None if after is None else after.at)
        with self._revisions.watching(key) as watch:
            if after is not None:
                async with aclosing(self._resumed(key, invocations, after, window)) as entries:
                    async for entry in entries:
                        yield entry
            while True:
                watch.forget()
                over = (
                    ended is not None and await ended()
                )  # before the read, which must find what was written by then
                async with aclosing(self._news(key, invocations, window)) as entries:
                    async for entry in entries:
                        yield entry
                if over:
                    return
                read_at = time.monotonic()
                while not await watch.wait(ASK_SECONDS):
                    if time.monotonic() - read_at >= READ_SECONDS or (ended is not None and await ended()):
                        break

    async def _news(
        self, key: SessionKey, invocations: Collection[str] | None, window: Window
    ) -> AsyncGenerator[Entry, None]:
        while True:
            events = await self._store.news(key, invocations, window, DEFAULT_EVENTS)
            for event in events:
                if window.tell(event.at, event.id):
                    for entry in entries_of(event):
                        yield entry
            if len(events) < DEFAULT_EVENTS:
                return

    async def _resumed(
        self, key: SessionKey, invocations: Collection[str] | None, after: Cursor, window: Window
    ) -> AsyncGenerator[Entry, None]:
        """What is stored after a place. The window begins at that place's time."""
        while True:
            events = await self._store.page(key, invocations, after, DEFAULT_EVENTS + 1)
            for event in events:
                window.tell(event.at, event.id)
                for entry in _beyond(entries_of(event), after):
                    yield entry
            if len(events) <= DEFAULT_EVENTS:
                return
            after = entries_of(events[-1])[-1].cursor


def _beyond(entries: Sequence[Entry], after: Cursor | None) -> list[Entry]:
    """The entries without those of the event of ``after`` up to that place."""
    if after is None:
        return list(entries)
    return [one for one in entries if one.cursor.event != after.event or one.cursor.number > after.number]
