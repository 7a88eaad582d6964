"""What a job's runs print, line by line: of runs that have ended as the database keeps it, of the one that runs as its worker tells it.

Each line has a place, (run, how many lines of it so far): a reader goes on behind it, and gets each line once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from agentjobs.api.meta import format_time
from agentjobs.queue.records import AttemptRecord, RunOutput

_PLACE = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,10}))?")


@dataclass(frozen=True, slots=True)
class Line:
    """One line for a reader, with the place behind it."""

    run: int
    text: str
    id: str


@dataclass(frozen=True, slots=True)
class Place:
    """How far a reader is: he has all of the runs up to ``done``, and ``lines`` lines of run ``run``."""

    done: int = 0
    run: int = 0
    """0: nothing of a run that is not done."""
    lines: int = 0

    @classmethod
    def parse(cls, text: str) -> Place:
        """The place as an event's id names it; the start where that is none."""
        found = _PLACE.fullmatch(text)
        if found is None:
            return cls()
        run = int(found[1])
        return cls(run) if found[2] is None else cls(run - 1, run, int(found[2]))

    def at(self, run: int, lines: int) -> Place:
        return replace(self, run=run, lines=lines)

    @property
    def id(self) -> str:
        return f"{self.run}.{self.lines}" if self.run > self.done else str(self.done)


def lines_of(text: str) -> list[str]:
    """The lines of an output, the last one also without its end. Pure."""
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def ended_lines(record: AttemptRecord, place: Place, titled: bool) -> Iterator[Line]:
    """What a reader at this place misses of a run that has ended; a title says which one it is. The last line's place is behind the
    run. Pure."""
    known = place.lines if place.run == record.run else -1
    title = [(0, _ended(record))] if titled else []
    rest = list(_missing(lines_of(record.log_tail), record.log_skipped, max(known, 0)))
    told = [*title, *rest] if known < 0 else [*rest, *title]
    for number, (lines, text) in enumerate(told, 1):
        yield Line(record.run, text, f"{record.run}.{lines}" if number < len(told) else str(record.run))


def running_lines(
    run: int, attempt: int, output: RunOutput | None, place: Place, titled: bool
) -> Iterator[Line]:
    """What a reader at this place misses of the run that goes on: whole lines. Pure."""
    known = place.lines if place.run == run else -1
    if titled and known < 0:
        yield Line(run, f"=== run {run} (attempt {attempt}) ===", f"{run}.0")
    if output is None or output.run != run or not output.text:
        return
    whole = output.text[: output.text.rfind("\n") + 1]
    for lines, text in _missing(lines_of(whole), output.skipped, max(known, 0)):
        yield Line(run, text, f"{run}.{lines}")


def whole_output(
    records: Sequence[AttemptRecord], run: int, attempt: int, output: RunOutput | None, titled: bool
) -> str:
    """All that is known of the output, as one text. ``run`` 0: no run goes on. Pure."""
    start = Place()
    lines = [line.text for record in records for line in ended_lines(record, start, titled)]
    if run:
        lines += [line.text for line in running_lines(run, attempt, output, start, titled)]
    return "".join(f"{line}\n" for line in lines)


def _missing(lines: Sequence[str], skipped: int, known: int) -> Iterator[tuple[int, str]]:
    """(lines up to it, line) of those behind the first ``known``, and where lines are lost, one that says so. Pure."""
    if skipped > known:
        yield skipped, f"=== {skipped - known} lines before this are not kept ==="
    for number, line in enumerate(lines, skipped + 1):
        if number > known:
            yield number, line


_ENDS = {
    "retry": "failed",
    "fail": "failed",
    "snooze": "put off",
    "release": "given back",
    "cancel": "stopped",
    "ask": "asked",
}
"""What a run's kind is for a reader of its output, who cannot see whether another run followed; others stand for themselves."""


def _ended(record: AttemptRecord) -> str:
    return (
        f"=== run {record.run} (attempt {record.attempt}, round {record.round}) ended {format_time(record.ended_at)}: "
        f"{_ENDS.get(record.outcome, record.outcome)}{', ' + record.reason if record.reason else ''} ==="
    )
