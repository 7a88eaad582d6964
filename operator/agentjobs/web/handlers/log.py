"""agentruns/log and agentruns/transcript: what a run printed, how far it is, what was said; the whole or followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from agentjobs.api.meta import format_time
from agentjobs.queue.errors import QueueUnavailable
from agentjobs.queue.records import AttemptRecord, JobView
from agentjobs.transcript.transcripts import DEFAULT_EVENTS, MOST_EVENTS
from agentjobs.web.call import Answer, Call, Event, Log, Object, Text
from agentjobs.web.conversations import cursor_of, part_of
from agentjobs.web.objects.logs import LogEntry
from agentjobs.web.status import ApiError, not_found
from agentjobs.web.target import WHOLE
from agentjobs.web.watching import with_signs_of_life

LOOK_SECONDS = 1.0
SIGNS_OF_LIFE = 15
"""Looks without news after which a follower is told that the stream lives."""


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
        after = int(call.last_event_id) if WHOLE.fullmatch(call.last_event_id) else 0
        return Log(_followed(call, view.uid, source, run, after))
    if source == "progress":
        return Text(progress_line(view) + "\n")
    return Text(
        "".join(f"{line}\n" for record in _runs(view, run) for line in output_lines(record, run is None))
    )


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
            now = await call.runs.lately(view.uid)
        except QueueUnavailable:
            return False
        return now is None or now.state.final

    part = part_of(view, whole=_whole(call))
    return Log(with_signs_of_life(call.runs.conversations.follow(part, after, ended)))


def _whole(call: Call) -> bool:
    match call.parameter("scope"):
        case None | "job":
            return False
        case "session":
            return True
    raise ApiError(400, "scope: job or session is wanted")


def output_lines(record: AttemptRecord, titled: bool) -> list[str]:
    """The lines that one ended run printed, after a title that says which run. Pure."""
    title = (
        f"=== run {record.run} (attempt {record.attempt}, round {record.round}) ended {format_time(record.ended_at)}: "
        f"{record.outcome}{' ' + record.reason if record.reason else ''} ==="
    )
    return [*([title] if titled else ()), *record.log_tail.splitlines()]


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


async def _followed(call: Call, uid: UUID, source: str, run: int | None, after: int) -> AsyncIterator[Event]:
    """The log from its start, or after run ``after``, until the job has ended. An event's id is its run's number."""
    told, last, quiet = after, "", 0
    while True:
        try:
            view = await call.runs.lately(uid)
        except QueueUnavailable:
            await asyncio.sleep(LOOK_SECONDS)
            continue
        if view is None:
            raise not_found("agentruns.runs.agentjobs.dev", call.name)
        quiet += 1
        if source == "progress":
            line = progress_line(view)
            if line != last:
                last, quiet = line, 0
                yield Event("entry", LogEntry(source="progress", text=line, run=view.run), line=line)
        else:
            for record in _runs(view, run):
                if record.run > told:
                    told, quiet = record.run, 0
                    for text in output_lines(record, run is None):
                        entry = LogEntry(source="output", text=text, run=record.run)
                        yield Event("entry", entry, id=str(record.run), line=text)
        if view.state.final or (run is not None and told >= run):
            yield Event("end", line="")
            return
        if quiet >= SIGNS_OF_LIFE:
            quiet = 0
            yield Event("bookmark")
        await asyncio.sleep(LOOK_SECONDS)
