"""agentruns/log: what a run printed, how far it is; the whole or followed. Lines, or server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from agentjobs.api.meta import format_time
from agentjobs.queue.errors import QueueUnavailable
from agentjobs.queue.records import AttemptRecord, JobView
from agentjobs.web.call import Answer, Call, Event, Log, Text
from agentjobs.web.objects.logs import LogEntry
from agentjobs.web.status import ApiError

LOOK_SECONDS = 1.0
SIGNS_OF_LIFE = 15
"""Looks without news after which a follower is told that the stream lives."""


async def get_log(call: Call) -> Answer:
    """The log of one source: ``output`` (what the runs printed) or ``progress``."""
    source = call.parameter("source") or "output"
    run = call.number("attempt", 1, 1_000_000_000)
    view = await call.runs.view(call.namespace, call.name, call.parameter("uid"))
    if source not in ("output", "progress"):
        raise ApiError(400, f"source: {source[:40]!r}: output or progress is wanted")
    if call.flag("follow"):
        after = int(call.last_event_id) if call.last_event_id.isdigit() else 0
        return Log(_followed(call, str(view.uid), source, run, after))
    if source == "progress":
        return Text(progress_line(view) + "\n")
    return Text(
        "".join(f"{line}\n" for record in _runs(view, run) for line in output_lines(record, run is None))
    )


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


async def _followed(call: Call, uid: str, source: str, run: int | None, after: int) -> AsyncIterator[Event]:
    """The log from its start, or after run ``after``, until the job has ended. An event's id is its run's number."""
    told, last, quiet = after, "", 0
    while True:
        try:
            view = await call.runs.view(call.namespace, call.name, uid)
        except QueueUnavailable:
            await asyncio.sleep(LOOK_SECONDS)
            continue
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
