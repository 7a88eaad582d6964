"""A view of a session service: ADK reads sessions through it, and sees a part of their events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from google.adk.sessions import BaseSessionService

if TYPE_CHECKING:
    from google.adk.events.event import Event
    from google.adk.sessions import Session
    from google.adk.sessions.base_session_service import GetSessionConfig, ListSessionsResponse


class SessionView(BaseSessionService):
    """A session service whose sessions show what ``visible`` leaves of their events. It stores everything."""

    def __init__(
        self,
        service: BaseSessionService,
        visible: Callable[[Sequence[Event]], list[Event]],
        going_on: Callable[[Sequence[Event]], list[Event]] = list,
    ) -> None:
        """
        :param going_on: what ADK sees of its session's events once it goes on after a person's message that answers several calls.
        """
        self._service = service
        self._visible = visible
        self._going_on = going_on

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> Session | None:
        session = await self._service.get_session(
            app_name=app_name, user_id=user_id, session_id=session_id, config=config
        )
        if session is not None:
            session.events = self._visible(session.events)
        return session

    async def append_event(self, session: Session, event: Event) -> Event:
        stored = await self._service.append_event(session, event)
        if (
            len(session.events) > 1
            and session.events[-2].author == "user"
            and session.events[-2].get_function_responses()
        ):
            session.events[:] = self._going_on(session.events)
        return stored

    async def create_session(
        self,
        *,
        app_name: str,
        user_id: str,
        state: dict[str, Any] | None = None,
        session_id: str | None = None,
    ) -> Session:
        return await self._service.create_session(
            app_name=app_name, user_id=user_id, state=state, session_id=session_id
        )

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        return await self._service.list_sessions(app_name=app_name, user_id=user_id)

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        await self._service.delete_session(app_name=app_name, user_id=user_id, session_id=session_id)

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        return await self._service.get_user_state(app_name=app_name, user_id=user_id)

    async def flush(self) -> None:
        await self._service.flush()
