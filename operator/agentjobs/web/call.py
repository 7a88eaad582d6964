"""One call of the API as handlers see it, and their answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import pydantic

from agentjobs.api.meta import ApiModel
from agentjobs.web.authorise import Authoriser
from agentjobs.web.identity import Identity
from agentjobs.web.objects.meta import KubeObject
from agentjobs.web.status import ApiError
from agentjobs.web.target import WHOLE, Query, Target, flag, one
from agentjobs.web.view import Asset, Dashboard

if TYPE_CHECKING:
    from agentjobs.web.runs import Runs

M = TypeVar("M", bound=KubeObject)
WATCH_SECONDS = 3600.0
"""The longest watch; clients begin a new one."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose user is known, and may ask for its path."""

    identity: Identity
    target: Target
    query: Query
    runs: Runs
    authoriser: Authoriser
    body: bytes = b""
    last_event_id: str = ""
    dashboard: Dashboard | None = None

    async def require(self, verb: str, resource: str) -> None:
        """Asks for a further right on the same object. Raises ApiError (403)."""
        wanted = replace(self.target, verb=verb, resource=resource)
        await self.authoriser.require(self.identity, wanted)

    @property
    def name(self) -> str:
        """The object's name, of a verb that has one."""
        assert self.target.name is not None
        return self.target.name

    @property
    def namespace(self) -> str:
        """The object's namespace, of a verb that has one."""
        assert self.target.namespace is not None
        return self.target.namespace

    def parameter(self, name: str) -> str | None:
        """The query parameter. Raises ApiError (400) where it is given twice."""
        return one(self.query, name)

    def number(self, name: str, least: int, most: int) -> int | None:
        """The query parameter as a whole number. Raises ApiError (400)."""
        text = self.parameter(name)
        if text is None:
            return None
        if not WHOLE.fullmatch(text) or not least <= int(text) <= most:
            raise ApiError(400, f"{name}: {text[:40]!r}: a whole number from {least} to {most} is wanted")
        return int(text)

    @property
    def watch_seconds(self) -> float:
        """How long a watch lasts: query parameter ``timeoutSeconds``, ``WATCH_SECONDS`` at most. Raises ApiError (400)."""
        wanted = self.number("timeoutSeconds", 0, 86_400)
        return min(float(wanted or WATCH_SECONDS), WATCH_SECONDS)

    def flag(self, name: str) -> bool:
        """The query parameter as yes or no. Raises ApiError (400)."""
        return flag(self.query, name)

    @property
    def dry_run(self) -> bool:
        """Query parameter ``dryRun=All``. Nothing but we ourselves keeps an act from being done."""
        wanted = self.query.get("dryRun", ())
        other = next((value for value in wanted if value != "All"), None)
        if other is not None:
            raise ApiError(400, f"dryRun: {other[:40]!r}: All is wanted")
        return bool(wanted)

    def sent(self, model: type[M]) -> M:
        """The body as an object. Raises ApiError (422) with field and problem."""
        try:
            return model.model_validate_json(self.body)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "body"
            raise ApiError(422, f"{model.__name__}: {place}: {first['msg']}"[:500]) from None


@dataclass(frozen=True, slots=True)
class Object:
    """One object or list. ``items``: what a table of it shows; empty of what has no table."""

    model: KubeObject
    items: Sequence[KubeObject] = ()
    code: int = 200


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text, such as a result or a log."""

    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream."""

    type: str
    """added, modified, deleted or error of a watch; entry or end of a log."""
    model: ApiModel | None = None
    id: str = ""
    line: str = ""
    """Of a log: the line of plain text. Empty and without ``model``: a sign of life."""
    error: ApiError | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """A watch of a list: events with whole objects, until the client goes or the time is over."""

    events: AsyncIterator[Event]
    seconds: float


@dataclass(frozen=True, slots=True)
class Log:
    """A followed log: lines or entries."""

    events: AsyncIterator[Event]


@dataclass(frozen=True, slots=True)
class File:
    """A static file of the dashboard."""

    asset: Asset


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a file that an agent has saved: hostile, so a browser must neither run nor show it."""

    name: str
    size_bytes: int
    pieces: AsyncIterator[bytes]


Answer = Object | Text | Watch | Log | File | Content
