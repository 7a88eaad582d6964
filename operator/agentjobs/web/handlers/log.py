"""agentruns/log and agentruns/transcript: what a run printed, how far it is, what was said; the whole or followed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

from agentjobs.api.meta import format_time
from agentjobs.queue.errors import QueueUnavailable
from agentjobs.queue.records import AttemptRecord, JobView, RunOutput, State
from agentjobs.transcript.transcripts import DEFAULT_EVENTS, MOST_EVENTS
from agentjobs.web.call import Answer, Call, Event, Log, Object, Text
from agentjobs.web.conversations import cursor_of, part_of
from agentjobs.web.objects.logs import LogEntry
from agentjobs.web.output import Line, Place, ended_lines, running_lines, whole_output
from agentjobs.web.status import ApiError
from agentjobs.web.watching import AWAY_SECONDS, with_signs_of_life

LOOK_SECONDS = 1.0
FIRST_OUTPUT_SECONDS = 4.0
"""How long an answer waits for a worker that did not know that somebody reads."""
FIRST_LOOK_SECONDS = 0.25


async def get_log(call: Call) -> Answer:
    """The log of one source: ``output`` (what the runs printed), ``progress`` or ``transcript``. The last needs the right on
    ``agentruns/transcript`` too."""
    source = call.parameter("source") or "output"
    run = call.number("attempt", 1, 1_000_000_000)
    if source not in ("output", "progress", "transcript"):
        raise ApiError(400, f"source: {source[:40]!r}: output, progress or transcript is wanted")
    if source == "transcript":
        await call.require("get", "agentruns/transcript")
    view = await call.runs.view(call.namespace, call.name, call.parameter("uid"))
    if source == "transcript":
        return _conversation(call, view)
    if call.flag("follow"):
        if source == "progress":
            return Log(with_signs_of_life(_progress(call, view.uid)))
        return Log(with_signs_of_life(_output(call, view.uid, run, Place.parse(call.last_event_id))))
    if source == "progress":
        return Text(progress_line(view) + "\n")
    going = view.run if _is_followed(view, run) else 0
    output = await _first_output(call, view) if going else None
    return Text(whole_output(_runs(view, run), going, view.attempts, output, titled=run is None))


async def get_transcript(call: Call) -> Answer:
    """A page of the conversation; ``after`` (or ``continue``) goes on behind an entry, ``scope=session`` shows the session's
    other jobs too."""
    limit = call.number("limit", 0, 1_000_000) or DEFAULT_EVENTS
    after = cursor_of(call.parameter("after") or call.parameter("continue") or "")
    view = await call.runs.view(call.namespace, call.name, call.parameter("uid"))
    part = part_of(view, whole=_whole(call))
    return Object(await call.runs.conversations.page(part, after, min(limit, MOST_EVENTS)))


def _conversation(call: Call, view: JobView) -> Log:
    """The conversation from its start, or after an entry. Followed it ends with the job, else with what is stored now."""
    after = cursor_of(call.last_event_id or call.parameter("after") or "")
    follow = call.flag("follow")

    async def ended() -> bool:
        if not follow:
            return True
        try:
            return (await call.runs.lately(view.uid)).final
        except QueueUnavailable:
            return False

    part = part_of(view, whole=_whole(call))
    return Log(with_signs_of_life(call.runs.conversations.follow(part, after, ended)))


def _whole(call: Call) -> bool:
    match call.parameter("scope"):
        case None | "job":
            return False
        case "session":
            return True
        case other:
            raise ApiError(400, f"scope: {other[:40]!r}: job or session is wanted")


def progress_line(view: JobView) -> str:
    """How far the job is, in one line. Pure."""
    parts = [
        format_time(view.since),
        view.state,
        *([view.reason] if view.reason and view.reason != view.state else ()),
        f"run={view.run}",
        f"attempt={view.attempts}/{view.max_attempts}",
        f"events={view.event_count}",
        f"tokens={view.usage.total_tokens}",
        *([f"step={view.step}"] if view.step else ()),
    ]
    return " ".join(parts)


def _runs(view: JobView, run: int | None) -> list[AttemptRecord]:
    return [record for record in view.attempts_log if run is None or record.run == run]


def _is_followed(view: JobView, run: int | None) -> bool:
    """Whether the run that goes on is one whose output is asked for."""
    return view.state is State.RUNNING and run in (None, view.run)


async def _first_output(call: Call, view: JobView) -> RunOutput | None:
    """What the run has printed so far. Where nobody has read it lately, its worker is given a moment to tell it."""
    until = time.monotonic() + FIRST_OUTPUT_SECONDS
    while True:
        output = await call.runs.output(view.uid, None)
        if output is None or output.run != view.run or output.at is not None or time.monotonic() > until:
            return output
        await asyncio.sleep(FIRST_LOOK_SECONDS)


async def _progress(call: Call, uid: UUID) -> AsyncIterator[Event]:
    """How far the job is, whenever that has changed, until it has ended."""
    last = ""
    async for view in views(call.runs.recent, uid):
        line = progress_line(view)
        if line != last:
            last = line
            yield Event("entry", LogEntry(source="progress", text=line, run=view.run), line=line)
    yield Event("end", line="")


async def _output(call: Call, uid: UUID, run: int | None, place: Place) -> AsyncIterator[Event]:
    """What the job's runs print, from its start or behind a place, until the job has ended, or the one run. Each line once."""
    titled, seen = run is None, None
    known: tuple[int, State] | None = None

    async def look(uid: UUID) -> JobView | None:
        """The job, with its ended runs where there may be more of them than at the last look."""
        nonlocal known
        view = await call.runs.recent(uid)
        if view is None or (view.run, view.state) == known:
            return view
        ended = await call.runs.ended_runs(view)
        known = (view.run, view.state)
        return replace(view, attempts_log=ended)

    async for view in views(look, uid):
        output = None
        if _is_followed(view, run):
            with suppress(QueueUnavailable):
                output = await call.runs.output(uid, seen)
        lines: list[Line] = []
        for record in _runs(view, run):
            if record.run > place.done:
                lines += ended_lines(record, place, titled)
                place, seen = Place(record.run), None
        if _is_followed(view, run) and view.run > place.done:
            news = list(running_lines(view.run, view.attempts, output, place, titled))
            if output is not None and output.run == view.run and output.text is not None:
                seen = output.at
            if news:
                place = Place.parse(news[-1].id)
            lines += news
        for line in lines:
            entry = LogEntry(source="output", text=line.text, run=line.run)
            yield Event("entry", entry, id=line.id, line=line.text)
        if run is not None and place.done >= run:
            break
    yield Event("end", line="")


async def views(
    recent: Callable[[UUID], Awaitable[JobView | None]],
    uid: UUID,
    *,
    every_seconds: float = LOOK_SECONDS,
    away_seconds: float = AWAY_SECONDS,
) -> AsyncIterator[JobView]:
    """The job as it is, again and again until it has ended, which is told too. Ends where the job is gone. Raises ApiError (503)
    where the database is away for longer than ``away_seconds``: a reader is not to wait for ever without a word."""
    answered = time.monotonic()
    while True:
        try:
            view = await recent(uid)
        except QueueUnavailable as error:
            if time.monotonic() - answered > away_seconds:
                raise ApiError(503, f"the database is away: {error}") from error
            await asyncio.sleep(every_seconds)
            continue
        if view is None:
            return
        yield view
        answered = time.monotonic()
        if view.state.final:
            return
        await asyncio.sleep(every_seconds)
