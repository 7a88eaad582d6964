"""The conversation of a job as the API's objects: pages, and entries as they are written."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

import orjson

from agentjobs.api.meta import format_time
from agentjobs.queue.records import JobView
from agentjobs.transcript.entry import Cursor, Entry
from agentjobs.transcript.errors import CursorInvalid, NoSessionStore, TranscriptError, TranscriptUnavailable
from agentjobs.transcript.jobs import SessionKey, invocations_of, session_of
from agentjobs.transcript.transcripts import Transcripts
from agentjobs.web.call import Event
from agentjobs.web.convert import usage_of
from agentjobs.web.objects.logs import RunTranscript, TranscriptEntry
from agentjobs.web.objects.meta import ListMetadata, time_text
from agentjobs.web.status import ApiError
from agentjobs.web.watching import AWAY_SECONDS

AGAIN_SECONDS = 1.0
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What a terminal would act on, or what would turn a line around."""
Ended = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Part:
    """What of which session is read."""

    key: SessionKey
    invocations: frozenset[str] | None
    """The job's own; None: all of the session."""


def part_of(view: JobView, *, whole: bool) -> Part:
    """The job's part of its session, or the whole. Raises ApiError (404) where the session cannot be known."""
    key = session_of(view)
    if key is None:
        raise ApiError(404, "the job's session is not known any more: its payload is pruned or erased")
    return Part(key, None if whole else invocations_of(view))


def cursor_of(text: str) -> Cursor | None:
    """The place after which a reader goes on; empty: the start. Raises ApiError (410)."""
    try:
        return Cursor.parse(text) if text else None
    except CursorInvalid as error:
        raise ApiError(410, f"after: {error}") from None


def entry_of(entry: Entry) -> TranscriptEntry:
    """The entry as an object. Pure."""
    return TranscriptEntry(
        cursor=str(entry.cursor),
        time=time_text(entry.at) or "",
        kind=entry.kind.value,
        author=entry.author,
        invocation=entry.invocation,
        branch=entry.branch or None,
        tool=entry.tool or None,
        call=entry.call or None,
        text=entry.text or None,
        note=entry.note or None,
        data=entry.data,
        cut=entry.cut,
        model=entry.model or None,
        tokens=None if entry.tokens is None else usage_of(entry.tokens),
    )


def line_of(entry: Entry) -> str:
    """The entry as text for a terminal: later lines are indented, control characters are gone. Pure."""
    shown = entry_of(entry)
    data = shown.as_json().get("data")
    parts = [
        format_time(entry.at),
        f"{entry.author} {entry.kind.value}{f' {entry.tool}' if entry.tool else ''}{f' ({entry.note})' if entry.note else ''}:",
        entry.text,
        "" if data is None else compact(data),
    ]
    text = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", " ".join(part for part in parts if part))
    return text.replace("\n", "\n    ")


def compact(value: object) -> str:
    """The value as JSON in one line."""
    return orjson.dumps(value).decode()


class Conversations:
    """Reads transcripts for the API's handlers."""

    def __init__(
        self,
        transcripts: Transcripts,
        *,
        clock: Callable[[], float] = time.monotonic,
        again_seconds: float = AGAIN_SECONDS,
    ) -> None:
        self._transcripts = transcripts
        self._clock, self._again_seconds = clock, again_seconds

    async def page(self, part: Part, after: Cursor | None, limit: int) -> RunTranscript:
        """One page, the oldest entry first. Raises ApiError."""
        key = part.key
        try:
            page = await self._transcripts.read(
                key.app_name, key.user_id, key.session_id, part.invocations, after, limit
            )
        except TranscriptError as error:
            raise refusal(error) from error
        return RunTranscript(
            metadata=ListMetadata(continue_=None if page.next is None else str(page.next)),
            stored=page.stored,
            items=[entry_of(entry) for entry in page.entries],
        )

    async def follow(self, part: Part, after: Cursor | None, ended: Ended) -> AsyncIterator[Event]:
        """Each entry once, until the job has ended. Where the session store is away it goes on after the last entry, for
        ``AWAY_SECONDS`` since it answered last; then it raises ApiError (503)."""
        key, heard = part.key, _Heard(ended, self._clock)
        while True:
            heard.begin()
            try:
                async with aclosing(
                    self._transcripts.follow(
                        key.app_name, key.user_id, key.session_id, part.invocations, after, heard.ended
                    )
                ) as entries:
                    async for entry in entries:
                        after = entry.cursor
                        heard.note()
                        yield Event("entry", entry_of(entry), id=str(entry.cursor), line=line_of(entry))
                yield Event("end")
                return
            except TranscriptUnavailable as error:
                if heard.seconds > AWAY_SECONDS:
                    raise refusal(error) from error
            except TranscriptError as error:
                raise refusal(error) from error
            await asyncio.sleep(self._again_seconds)


class _Heard:
    """When a follower's store answered last: a conversation in which nothing is said for long is not one whose store is away."""

    def __init__(self, ended: Ended, clock: Callable[[], float]) -> None:
        self._ended, self._clock = ended, clock
        self._asked = False
        self._at = clock()

    def begin(self) -> None:
        """A new try begins. Its first question comes before its first read, and tells nothing."""
        self._asked = False

    def note(self) -> None:
        self._at = self._clock()

    @property
    def seconds(self) -> float:
        """Since the store answered last, or the follower began."""
        return self._clock() - self._at

    async def ended(self) -> bool:
        """``Ended``, which ``follow`` asks before each read: asked again, the read before was answered."""
        if self._asked:
            self.note()
        self._asked = True
        return await self._ended()


def refusal(error: TranscriptError) -> ApiError:
    """The error as a Status: its words say what to do, and hold nothing of a conversation."""
    match error:
        case TranscriptUnavailable():
            return ApiError(503, str(error))
        case NoSessionStore():
            return ApiError(404, str(error))
    return ApiError(501, str(error))
