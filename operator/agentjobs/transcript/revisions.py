"""The shared watch on sessions: one statement asks for all followers of a process whether something was appended.

Appends send no notification. Each one writes the session's row, so the row's ``xmin`` tells whether there was one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from agentjobs.transcript.jobs import SessionKey
from agentjobs.transcript.store import Store

QUICK_SECONDS = 0.25
"""Between two looks at a session to which something was appended lately."""
SLOW_SECONDS = 2.0
"""Between two looks at a session that is quiet for long."""
STRETCH = 1 / 8
"""Part of its quiet time for which a session is not looked at: after 4 s every 0.5 s, after 16 s every 2 s."""


def look_seconds(quiet_seconds: float) -> float:
    """The time until the next look at a session that is quiet for this long."""
    return min(max(quiet_seconds * STRETCH, QUICK_SECONDS), SLOW_SECONDS)


class Watch:
    """A follower's view of one session's changes. It may hear of a change that it has read already, never of none."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.error: Exception | None = None

    def hear(self, error: Exception | None = None) -> None:
        self.error = error
        self._changed.set()

    def forget(self) -> None:
        """To be called before a read: what is appended after the read is then heard of."""
        self._changed.clear()

    async def wait(self, seconds: float) -> bool:
        """Waits for a change, at most so long. Raises what the store raised at the shared look."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        if self.error is not None:
            raise self.error
        return self._changed.is_set()


class _Session:
    """One session, and those who watch it."""

    def __init__(self, now: float) -> None:
        self.watches: set[Watch] = set()
        self.revision: str | None = None
        self.changed_at = self.looked_at = now


class Revisions:
    """The watched sessions of a process. While there are any, a task of this object looks at them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sessions: dict[SessionKey, _Session] = {}
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, key: SessionKey) -> Iterator[Watch]:
        """A watch on a session, until the end of the block."""
        watch = Watch()
        session = self._sessions.setdefault(key, _Session(time.monotonic()))
        session.watches.add(watch)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_again(), name="transcript-revisions")
        try:
            yield watch
        finally:
            session.watches.discard(watch)
            if not session.watches and self._sessions.get(key) is session:
                del self._sessions[key]

    async def close(self) -> None:
        """Ends the task."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _look_again(self) -> None:
        while self._sessions:
            await asyncio.sleep(QUICK_SECONDS)
            now = time.monotonic()
            due = {
                key: session
                for key, session in self._sessions.items()
                if now - session.looked_at >= look_seconds(session.looked_at - session.changed_at)
            }
            if due:
                await self._look(due, now)

    async def _look(self, due: dict[SessionKey, _Session], now: float) -> None:
        error: Exception | None = None
        found: dict[SessionKey, str] = {}
        try:
            found = await self._store.revisions(list(due))
        except Exception as raised:  # whoever watches raises it
            error = raised
        for key, session in due.items():
            session.looked_at = now
            if error is None and found.get(key) == session.revision:
                continue
            session.revision, session.changed_at = found.get(key), now
            for watch in session.watches:
                watch.hear(error)
