"""Calls of a service by URI: on the run's event loop, writes within lease and fence, failures told by whose they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.lease_gate import wait_for_lease
from agentjobs.agents.sessions import uri_services
from agentjobs.agents.sessions.fence import hold
from agentjobs.agents.sessions.home import Home, HomeStore
from agentjobs.agents.sessions.service_faults import is_of_place
from agentjobs.agents.sessions.uri_services import Kind, ServiceInvalid, shown_uri, without_uri
from agentjobs.agents.verdict.errors import AgentError, ArtifactServiceUnavailable, MemoryServiceUnavailable
from agentjobs.database.connection import Connection
from agentjobs.values.text import shortened

QUOTE_BYTES = 500
_UNAVAILABLE: dict[str, type[AgentError]] = {
    "artifact": ArtifactServiceUnavailable,
    "memory": MemoryServiceUnavailable,
}

Call = Callable[[Any], Awaitable[Any]]
"""What is asked of the service."""


class UriCalls:
    """The service of one kind for one run, made at its first call. To be made on the run's event loop."""

    def __init__(self, kind: Kind, settings: AgentSettings, home: Home) -> None:
        self._kind = kind
        self._settings = settings
        self._home = home
        self._service: Any = None

    async def read(self, call: Call) -> Any:
        """What the service answers.

        :raises ArtifactServiceUnavailable, MemoryServiceUnavailable: its place is away, or denies access.
        """
        return await self._home.call(self._asked(call))

    async def write(self, call: Call) -> Any:
        """As ``read``, once the run's lease holds and the session is still the run's (H13).

        :raises SessionFenced: a later run has the session; the service was not asked.
        """
        if isinstance(self._home, HomeStore):
            await self._home.write(_held)
        else:
            await self._home.call(wait_for_lease())
        return await self.read(call)

    async def _asked(self, call: Call) -> Any:
        try:
            if self._service is None:
                self._service = uri_services.made(self._kind, self._settings)
            return await call(self._service)
        except (
            ServiceInvalid
        ) as error:  # the worker has made one at its start, so that this is none of the job's
            raise _UNAVAILABLE[self._kind.noun](f"{error} The attempt is not charged.") from error
        except Exception as error:
            if isinstance(error, AgentError) or not is_of_place(error):
                raise
            uri = self._kind.uri(self._settings) or ""
            text = shortened(without_uri(" ".join(str(error).split()), uri), QUOTE_BYTES)
            raise _UNAVAILABLE[self._kind.noun](
                f"The {self._kind.noun} service {shown_uri(uri)} failed ({type(error).__name__}: {text}). The attempt is not "
                f"charged. Look whether it is there, and may be read and written; it is set by {self._kind.names(self._settings)}."
            ) from error


async def _held(connection: Connection) -> None:
    async with connection.transaction():
        await hold(connection)
