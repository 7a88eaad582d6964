"""The report at the end of a local run: the answers, and the reasons of jobs that have none."""

from __future__ import annotations

from collections.abc import Sequence

from agentjobs.cli.local.progress_table import NamedJob, end
from agentjobs.queue.records import JobView, State

LOG_LINES = 12
_TRACEBACK = ("Traceback (most recent call last)", "  + Exception Group Traceback")


def answers(rows: Sequence[NamedJob], *, bare: bool) -> str:
    """The answers for standard output, each under its job's name.

    :param bare: print the answer alone, without a name.
    """
    done = [shown for shown in rows if shown.job.state == State.COMPLETE]
    if bare:
        return "".join(f"{_answer(shown.job)}\n" for shown in done)
    return "\n".join(f"{shown.name}:\n{_indented(_answer(shown.job))}\n" for shown in done)


def failures(rows: Sequence[NamedJob]) -> list[str]:
    """The lines for standard error: each job that is not complete, its reason, the end of its output."""
    lines: list[str] = []
    for shown in rows:
        job = shown.job
        if job.state == State.COMPLETE:
            continue
        lines.append(end(shown))
        if job.message:
            lines.append(_indented(job.message))
        tail = last_lines(job)
        if tail:
            lines.append("  The end of what it printed:")
            lines += [_indented(line, "  | ") for line in tail]
    return lines


def last_lines(job: JobView, count: int = LOG_LINES) -> list[str]:
    """The last lines of output, of the last run that had any; those of tracebacks come whole after them."""
    for attempt in reversed(job.attempts_log):
        lines = attempt.log_tail.rstrip().splitlines()
        if lines:
            ends = next((n for n, line in enumerate(lines) if line.startswith(_TRACEBACK)), len(lines))
            return lines[max(0, ends - count) :]
    return []


def _answer(job: JobView) -> str:
    text = job.result if job.result is not None else "(no answer)"
    return text + "\n(the answer was cut at 1 MiB)" if job.result_truncated else text


def _indented(text: str, by: str = "  ") -> str:
    return "\n".join(f"{by}{line}" for line in text.splitlines())
