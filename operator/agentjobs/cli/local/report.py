"""The report at the end of a local run: the answers, and the reasons of jobs that have none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TextIO

from agentjobs.agents.verdict.places import is_own_file
from agentjobs.cli.local.progress_table import NamedJob, end
from agentjobs.cli.printable import printable, printable_lines
from agentjobs.queue.records import JobView, State

LOG_LINES = 12
_FRAME = re.compile(r'(?P<margin>[ |+-]*)File "(?P<file>[^"]+)", line \d+')
_TRACEBACK = ("Traceback (most recent call last)", "  + Exception Group Traceback")


def answers(rows: Sequence[NamedJob], *, bare: bool) -> str:
    """The answers for standard output, each under its job's name.

    :param bare: print the answer alone, without a name.
    """
    done = [shown for shown in rows if shown.job.state == State.COMPLETE]
    if bare:
        return "".join(f"{_answer(shown.job)}\n" for shown in done)
    return "\n".join(f"{shown.name}:\n{_indented(_answer(shown.job))}\n" for shown in done)


def write_answers(stream: TextIO, rows: Sequence[NamedJob], *, bare: bool) -> None:
    """Writes the answers to standard output: to a terminal so that they do not steer it, into a file or a pipe as they are."""
    text = answers(rows, bare=bare)
    stream.write(printable_lines(text) if stream.isatty() else text)
    stream.flush()


def failures(rows: Sequence[NamedJob]) -> list[str]:
    """The lines for standard error: each job that is not complete, its reason, the end of its output; of those that are
    complete, what went wrong on the way."""
    lines: list[str] = []
    for shown in rows:
        job = shown.job
        if job.state == State.COMPLETE:
            lines += [f"{shown.name}: {line}" for line in job.message.splitlines()]
            continue
        lines.append(end(shown))
        if job.message:
            lines.append(_indented(job.message))
        tail = last_lines(job)
        if tail:
            lines.append("  The end of what it printed:")
            lines += [_indented(line, "  | ") or "  |" for line in folded(tail, _module(job))]
    return lines


def total(rows: Sequence[NamedJob]) -> str:
    """The line about several jobs: how many there were, and how many of them ended how. Empty: there is one, or none."""
    if len(rows) < 2:
        return ""
    ends = Counter(
        f"{job.state} ({job.reason})" if job.state == State.FAILED else str(job.state)
        for job in (row.job for row in rows)
    )
    return f"{len(rows)} jobs: " + ", ".join(f"{count} {end}" for end, count in ends.most_common())


def kept_files(shown: NamedJob) -> str:
    """The files that the job's agents have saved, in a line; empty: none."""
    files, more = shown.job.files, shown.job.file_count - len(shown.job.files)
    if not files:
        return ""
    names = ", ".join(printable(file.name) for file in files) + (f" and {more} more" if more > 0 else "")
    if place := next((file.address for file in files if file.address), ""):
        return f"{shown.name}: saved {names}, at {place}."
    return f"{shown.name}: saved {names}. Copy with --save DIR."


def folded(lines: Sequence[str], module: str = "") -> Iterator[str]:
    """Lines of output in which the frames of installed packages are counted; those of the agent's own code stay.

    :param module: ``agent.module``: the code of its top-level package is its own though it is installed.
    """
    margin: str | None = None  # of the foreign frame whose lines these are
    frames = 0

    def counted() -> Iterator[str]:
        if frames:
            word = "frame" if frames == 1 else "frames"
            yield f"{margin}… {frames} {word} of installed packages: all with --verbose"

    for line in lines:
        frame = _FRAME.match(line)
        if frame is not None and not is_own_file(frame["file"], module):
            margin, frames = frame["margin"], frames + 1
        elif frame is not None or margin is None or not line.startswith(f"{margin}  "):
            yield from counted()
            margin, frames = None, 0
            yield line
    yield from counted()


def last_lines(job: JobView, count: int = LOG_LINES) -> list[str]:
    """The last lines of output, of the last run that had any; those of tracebacks come whole after them."""
    for attempt in reversed(job.attempts_log):
        lines = attempt.log_tail.rstrip().splitlines()
        if lines:
            ends = next((n for n, line in enumerate(lines) if line.startswith(_TRACEBACK)), len(lines))
            return lines[max(0, ends - count) :]
    return []


def _module(job: JobView) -> str:
    agent = (job.payload or {}).get("agent")
    return str(agent.get("module") or "") if isinstance(agent, dict) else ""


def _answer(job: JobView) -> str:
    text = job.result if job.result is not None else "(no answer)"
    return text + "\n(the answer was cut at 1 MiB)" if job.result_truncated else text


def _indented(text: str, by: str = "  ") -> str:
    return "\n".join(f"{by}{line}" for line in text.splitlines())
