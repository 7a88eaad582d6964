"""Memories by URI: the executor hands what an agent keeps to the service that the pool's settings name, and looks for it there.

The service is made at its first use. Before each write the run's lease and its session's fence are looked at (``uri_calls``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.adk.memory.base_memory_service import BaseMemoryService, SearchMemoryResponse

from agentjobs.agents.sessions.uri_calls import UriCalls

if TYPE_CHECKING:
    from google.adk.sessions import Session


class UriMemory(BaseMemoryService):
    """The memory service of one run. To be made on the run's event loop.

    Every method raises MemoryServiceUnavailable where the service's place is away, or denies access; those that write raise
    SessionFenced where a later run has the session.
    """

    def __init__(self, calls: UriCalls) -> None:
        self._calls = calls

    async def add_session_to_memory(self, session: Session) -> None:
        await self._calls.write(lambda service: service.add_session_to_memory(session))

    async def add_events_to_memory(self, **asked: Any) -> None:
        await self._calls.write(lambda service: service.add_events_to_memory(**asked))

    async def add_memory(self, **asked: Any) -> None:
        await self._calls.write(lambda service: service.add_memory(**asked))

    async def search_memory(self, **asked: Any) -> SearchMemoryResponse:
        found: SearchMemoryResponse = await self._calls.read(lambda service: service.search_memory(**asked))
        return found

    async def delete_memory(self, **asked: Any) -> None:
        await self._calls.write(lambda service: service.delete_memory(**asked))
