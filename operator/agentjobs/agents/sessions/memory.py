"""Memories: what agents keep of their sessions for later ones of the same user, in Postgres, each write fenced for its run.

They are found by shared words, as by ADK's service in memory: tests/queue/test_memory.py runs both. A run that keeps and
looks for none costs no statement. Runs in the executor.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from google.adk.memory._utils import format_timestamp
from google.adk.memory.base_memory_service import BaseMemoryService, SearchMemoryResponse
from google.adk.memory.in_memory_memory_service import (
    _MAX_SEARCH_RESULTS,
    _extract_searchable_words,
    _extract_words_lower,
)
from google.adk.memory.memory_entry import MemoryEntry
from google.genai import types

from agentjobs.agents.sessions import memory_sql as sql
from agentjobs.agents.sessions.artifact_sql import LOCK_USER
from agentjobs.agents.sessions.connection import fetch
from agentjobs.agents.sessions.fence import hold
from agentjobs.agents.sessions.home import HomeStore, Store
from agentjobs.agents.sessions.rows import storable_json
from agentjobs.database.connection import Connection
from agentjobs.values.text import clean, cut

if TYPE_CHECKING:
    from google.adk.events.event import Event
    from google.adk.sessions import Session

MOST_MEMORIES = 2000
"""Of one user and app. A search reads all of them; the oldest are forgotten."""
MEMORY_BYTES = 32 << 10
"""The longest text of one memory. Of a content whose JSON is longer than twice that, the text alone is kept."""
QUERY_WORDS = 200
"""The most words of a query that are looked for."""


class PostgresMemory(BaseMemoryService):
    """The memory service of one run. To be made on the run's event loop."""

    def __init__(self, store: Store) -> None:
        self._store = HomeStore(store)

    async def add_session_to_memory(self, session: Session) -> None:
        """Keeps the session as it is now, in the place of what was kept of it.

        :raises SessionFenced: a later run has the session; nothing was written.
        """
        rows = _rows(session.events)
        await self._save(session.app_name, session.user_id, session.id, rows, again=True)

    async def add_events_to_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        events: Sequence[Event],
        session_id: str | None = None,
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Keeps those of the events that are not kept yet.

        :raises SessionFenced: a later run has the session; nothing was written.
        """
        await self._save(app_name, user_id, session_id or "", _rows(events), again=False)

    async def search_memory(self, *, app_name: str, user_id: str, query: str) -> SearchMemoryResponse:
        words = sorted(clean(word) for word in _extract_words_lower(query))[:QUERY_WORDS]
        values = {
            "app_name": app_name,
            "user_id": user_id,
            "words": [word for word in words if word.isascii()],
            "pieces": [word for word in words if not word.isascii()],
            "most": _MAX_SEARCH_RESULTS,
        }
        if not words:
            return SearchMemoryResponse()
        rows = await self._store.read(lambda connection: fetch(connection, sql.SEARCH, values))
        return SearchMemoryResponse(
            memories=[
                MemoryEntry(
                    id=event_id,
                    content=types.Content.model_validate_json(content),
                    author=author,
                    timestamp=format_timestamp(said_at),
                )
                for event_id, author, said_at, content in rows
            ]
        )

    async def delete_memory(self, *, app_name: str, user_id: str, memory_id: str | None = None) -> None:
        """Deletes a memory, which does not come back where its session is added again.

        :raises SessionFenced: a later run has the session; nothing was written.
        """
        if not memory_id:
            return
        values = {"app_name": app_name, "user_id": user_id, "event_id": clean(memory_id)}

        async def delete(connection: Connection) -> None:
            async with connection.transaction():
                await hold(connection)
                await fetch(connection, LOCK_USER, values)
                await connection.execute(sql.DELETE, values)

        await self._store.write(delete)

    async def _save(
        self, app_name: str, user_id: str, session_id: str, rows: list[dict[str, Any]], *, again: bool
    ) -> None:
        values = {
            "app_name": app_name,
            "user_id": user_id,
            "session_id": session_id,
            "rows": json.dumps(rows),
            "event_ids": [row["event_id"] for row in rows],
            "again": again,
            "most": MOST_MEMORIES,
        }

        async def save(connection: Connection) -> None:
            async with connection.transaction():
                await hold(connection)
                await fetch(connection, LOCK_USER, values)
                if again:
                    await connection.execute(sql.LEAVE_OUT, values)
                if rows:
                    await connection.execute(sql.SAVE, values)
                    await connection.execute(sql.FORGET, values)

        await self._store.write(save)


def _rows(events: Iterable[Event]) -> list[dict[str, Any]]:
    """The newest events that can be found by a word, oldest first, each once."""
    rows: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.content is None or not event.content.parts:
            continue
        whole = clean(" ".join(part.text for part in event.content.parts if part.text))
        text = cut(whole, MEMORY_BYTES)[0]
        words = _extract_searchable_words(text)
        if not words:
            continue
        content = storable_json(event.content.model_dump(mode="json", exclude_none=True))
        if len(content) > 2 * MEMORY_BYTES or len(text) < len(whole):
            kept = types.Content(role=event.content.role, parts=[types.Part(text=text)])
            content = storable_json(kept.model_dump(mode="json", exclude_none=True))
        event_id = clean(event.id)
        rows.setdefault(
            event_id,
            {
                "event_id": event_id,
                "author": clean(event.author),
                "said_at": event.timestamp,
                "content": json.loads(content),
                "words": sorted(words),
                "lowered": unicodedata.normalize("NFC", text).lower(),
            },
        )
    return [{"n": n, **row} for n, row in enumerate(list(rows.values())[-MOST_MEMORIES:])]
