"""The progress of a local run on standard error: a live table on a terminal, else a line per change."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from agentjobs.cli.printable import printable, printable_lines
from agentjobs.queue.records import JobView, State

COLUMNS = ("NAME", "QUEUE", "STATUS", "REASON", "ATTEMPTS", "DURATION", "TOKENS", "STEP")
LEAVING = ("QUEUE", "TOKENS", "ATTEMPTS", "DURATION", "STEP", "REASON")
"""The columns that a narrow terminal does without, the first first. Empty ones leave before them."""
GAP = 2
"""Spaces between two columns."""
COLOURS = {
    State.RUNNING: "cyan",
    State.RETRYING: "yellow",
    State.INPUT_REQUIRED: "yellow",
    State.COMPLETE: "green",
    State.FAILED: "red",
    State.CANCELLED: "magenta",
}


@dataclass(frozen=True, slots=True)
class NamedJob:
    """A job, and the name from its manifest."""

    name: str
    job: JobView


def duration(seconds: float) -> str:
    """A duration for people: ``0.4s``, ``12s``, ``3m05s``, ``2h07m``."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def cells(shown: NamedJob, now: datetime) -> tuple[str, ...]:
    """The cells of a job's row, in the order of COLUMNS."""
    job = shown.job
    took = ""
    if job.started_at is not None:
        took = duration(((job.finished_at or now) - job.started_at).total_seconds())
    return (
        shown.name,
        job.queue,
        str(job.state),
        job.reason,
        f"{job.attempts}/{job.max_attempts}",
        took,
        str(job.usage.total_tokens or ""),
        job.step if job.state == State.RUNNING else waits(job, now),
    )


def waits(job: JobView, now: datetime) -> str:
    """The time that a job in Scheduled or Retrying still waits, such as ``in 12s``. Empty: it is due."""
    if job.state not in (State.SCHEDULED, State.RETRYING):
        return ""
    until = job.next_attempt_at or job.due_at
    return f"in {duration((until - now).total_seconds())}" if until > now else ""


def running(name: str, attempt: int, max_attempts: int) -> str:
    """The line about an attempt that has begun."""
    return f"{name}: {State.RUNNING} attempt {attempt} of {max_attempts}"


def change(shown: NamedJob, now: datetime) -> str:
    """The line about the state that a job has entered."""
    job = shown.job
    if job.state == State.RUNNING:
        return running(shown.name, job.attempts, job.max_attempts)
    parts = [f"{shown.name}: {job.state}"]
    if job.reason and job.reason != job.state:
        parts.append(f"({job.reason})")
    if wait := waits(job, now):
        parts.append(wait)
    if job.state == State.RETRYING and job.message:
        parts.append(f"- {job.message}")
    return " ".join(parts)


def end(shown: NamedJob) -> str:
    """The line about a job's end: its reason where there is no answer, its attempts where they tell something, and the
    time and the tokens that it took."""
    job = shown.job
    line = f"{shown.name}: {job.state}"
    if job.state != State.COMPLETE:
        why = f" ({job.reason})" if job.reason and job.reason != job.state else ""
        line = f"{line}{why} {_attempts(job)}"
    elif job.attempts > 1:
        line = f"{line} {_attempts(job)}"
    if job.started_at is not None and job.finished_at is not None:
        line = f"{line}, {duration((job.finished_at - job.started_at).total_seconds())}"
    if tokens := job.usage.total_tokens:
        line = f"{line}, {tokens} {'token' if tokens == 1 else 'tokens'}"
    return line


def _attempts(job: JobView) -> str:
    if not job.attempts:
        return "with no attempt charged" if job.run else "before its first attempt"
    return f"after {job.attempts} of {job.max_attempts} attempts"


def fitting(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The columns that fit into a terminal of this width; NAME and STATUS always stay."""
    needed = {
        column: max(map(cell_len, (column, *texts))) for column, *texts in zip(COLUMNS, *rows, strict=True)
    }
    empty = [column for column, *texts in zip(COLUMNS, *rows, strict=True) if not any(texts)]
    for column in (*reversed(empty), *LEAVING):
        if sum(needed.values()) + GAP * (len(needed) - 1) <= width:
            break
        if column in LEAVING:
            needed.pop(column, None)
    return list(needed)


def table(rows: Sequence[NamedJob], now: datetime, width: int, *, header_style: str = "bold") -> Table:
    """The table of all jobs, in the order of their manifests, for a terminal of this width."""
    made = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style=header_style)
    told = [[printable(text) for text in cells(shown, now)] for shown in rows]
    columns = fitting(told, width)
    for column in columns:
        made.add_column(column, no_wrap=True, overflow="ellipsis", justify="left")
    for shown, texts in zip(rows, told, strict=True):
        values = {column: Text(text) for column, text in zip(COLUMNS, texts, strict=True)}
        values["STATUS"].stylize(COLOURS.get(shown.job.state, ""))
        made.add_row(*(values[column] for column in columns))
    return made


class ProgressTable:
    """The display on standard error, without characters that steer a terminal. ``with`` begins and ends the live table."""

    def __init__(self, *, live: bool | None = None) -> None:
        self._console = Console(stderr=True, highlight=False)
        plain = bool(os.environ.get("NO_COLOR"))  # https://no-color.org; rich would still write bold and dim
        self._bold, self._dim = ("", "") if plain else ("bold", "dim")
        self._live: Live | None = None
        if self._console.is_terminal if live is None else live:
            self._live = Live(console=self._console, refresh_per_second=8, transient=False, auto_refresh=True)
        self._opened = datetime.now(UTC)
        self._told: dict[str, tuple[object, ...]] = {}
        self._runs: dict[str, int] = {}
        self._lines: set[str] = set()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def live(self) -> bool:
        """Whether there is a live table, which shows how jobs end."""
        return self._live is not None

    def close(self) -> None:
        """Ends the live table. Lines may still be printed."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def pause(self) -> None:
        """Leaves the terminal to a question until ``go_on``."""
        if self._live is not None:
            self._live.stop()

    def go_on(self) -> None:
        """Draws the live table again."""
        if self._live is not None:
            self._live.start()

    def say(self, text: str) -> None:
        """Prints a text that stays."""
        text = printable_lines(text)
        if self._live is not None:
            self._console.print(Text(text))
        else:
            print(text, file=sys.stderr, flush=True)  # noqa: T201

    def stage(self, text: str) -> None:
        """Shows what the run is doing, until it draws jobs."""
        if self._live is not None:
            self._live.update(Text(f"{printable(text)} …", style=self._dim))
        else:
            self.say(f"{text} …")

    def draw(self, rows: Sequence[NamedJob], note: str = "", schedules: Sequence[str] = ()) -> None:
        """Draws the present states of all jobs.

        :param note: what all jobs wait for, such as the start of the worker.
        :param schedules: a line about each schedule.
        """
        now = datetime.now(UTC)
        if self._live is not None:
            lines = [
                Text(printable(line), style=self._dim)
                for line in (*schedules, *([f"{note} …"] if note else ()))
            ]
            self._live.update(Group(table(rows, now, self._console.width, header_style=self._bold), *lines))
            return
        new = [line for line in schedules if line not in self._lines]
        self._lines = {*schedules}
        for line in new:
            self.say(line)
        # in the order of their changes, where several jobs changed since the last look
        for shown in sorted(rows, key=lambda row: row.job.since):
            self._tell(shown, now)

    def _tell(self, shown: NamedJob, now: datetime) -> None:
        job = shown.job
        for run in job.attempts_log:
            # a run that began and ended between two looks
            if run.run > self._runs.get(shown.name, 0) and run.started_at >= self._opened:
                self.say(running(shown.name, run.attempt, job.max_attempts))
        self._runs[shown.name] = job.run
        state = (job.state, job.attempts, job.reason)
        if self._told.get(shown.name) != state:
            self._told[shown.name] = state
            if job.state == State.COMPLETE:
                self.say(end(shown))
            elif not job.state.final:  # why it has no answer is the report's to tell
                self.say(change(shown, now))
