"""Streams of the runs API, followed through cut connections: each event once, in order."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from agentjobs.cli.errors import Unavailable
from agentjobs.cli.kubectl.apiserver import Query
from agentjobs.cli.kubectl.reply import RequestRefused
from agentjobs.cli.kubectl.runs_api import RunsApi

SILENCE_SECONDS = 60.0
"""Silence that means a dead connection: the server sends a sign of life every 15 s."""
AWAY_SECONDS = 60.0
"""How long the runs API may be away before the command gives up."""
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.5, 8.0


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``id``: several in a row may share one; empty: it has none."""

    type: str
    data: str
    id: str = ""

    def json(self) -> dict[str, Any]:
        """The object that it carries; empty: it carries none."""
        try:
            found = json.loads(self.data)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def events_of(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events in the lines of a stream. One that is cut off is left out.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """
    kind, id_ = "message", ""
    data: list[str] = []
    for raw in lines:
        line = raw.decode(errors="replace").rstrip("\r\n")
        if not line:
            if data:
                yield Event(kind, "\n".join(data), id_)
            kind, id_, data = "message", "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            kind = value
        elif field == "id":
            id_ = value
        elif field == "data":
            data.append(value)


@dataclass(slots=True)
class Place:
    """How far a stream was read. A reader goes on after ``before``, and leaves out what he has read of ``id``."""

    before: str = ""
    id: str = ""
    count: int = 0
    """Events that were read of ``id``."""
    last: str = ""
    """The last event without an id."""
    left_out: int = 0
    """Of a new connection: events of ``id`` that were read already."""

    def begin(self) -> None:
        """A new connection begins after ``before``."""
        self.left_out = 0

    def new(self, event: Event) -> bool:
        """Whether the event was not read before; it is from now on."""
        if not event.id:
            known = event.data == self.last
            self.last = event.data
            return not known
        if event.id == self.id:
            if self.left_out < self.count:
                self.left_out += 1
                return False
        else:
            self.before, self.id, self.count = self.id, event.id, 0
        self.count += 1
        self.left_out = self.count
        return True


def followed(
    api: RunsApi,
    resource: str,
    name: str,
    query: Query,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Event]:
    """The entries of a stream until its end, each once; a cut connection is made anew.

    :raises RequestRefused: it is refused, or the runs API is missing.
    :raises Unavailable: there was no answer, or an error for one, for longer than AWAY_SECONDS.
    """
    place, outage = Place(), Outage(clock)
    while True:
        place.begin()
        headers = {"Last-Event-ID": place.before} if place.before else {}
        try:
            with api.server.stream(
                api.path(resource, name), query, silence_seconds=SILENCE_SECONDS, accept="text/event-stream",
                headers=headers,
            ) as lines:  # fmt: skip
                for event in events_of(lines):
                    if event.type == "error":
                        raise _failure(event, resource)
                    outage.over()
                    if event.type == "end":
                        return
                    if event.type == "entry" and place.new(event):
                        yield event
        except TimeoutError:
            pass
        except StreamRefused:
            raise
        except RequestRefused as error:
            if (error.reply.status < 500 and error.reply.status != 429) or outage.too_long():
                raise api.refusal(error.reply, resource, name) from None
        except Unavailable:
            if outage.too_long():
                raise
        pause(outage.next_delay())


class StreamRefused(Unavailable):
    """An error in a stream that a new connection would bring again."""


@dataclass(slots=True)
class Outage:
    """How long a stream has been away, and how long to wait until the next try."""

    clock: Callable[[], float]
    began: float | None = None
    """When the first try failed since the last sign of life. None: none did."""
    delay: float = FIRST_DELAY_SECONDS

    def over(self) -> None:
        """Takes in a sign of life: an event that is no error."""
        self.began, self.delay = None, FIRST_DELAY_SECONDS

    def too_long(self) -> bool:
        """Whether it was away for longer than AWAY_SECONDS."""
        self.began = self.clock() if self.began is None else self.began
        return self.clock() - self.began > AWAY_SECONDS

    def next_delay(self) -> float:
        """The seconds until the next try; twice as many each time."""
        found, self.delay = self.delay, min(self.delay * 2, LONGEST_DELAY_SECONDS)
        return found


def _failure(event: Event, resource: str) -> Unavailable:
    """The error that stands in a stream: a StreamRefused where it is one for good."""
    status = event.json()
    kind = StreamRefused if int(status.get("code") or 500) < 500 else Unavailable
    return kind(f"{resource}: {status.get('message')}")
