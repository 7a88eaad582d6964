"""Why an AgentJob is where it is, on one screen. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from agentjobs.cli.kubectl.filters import time_of
from agentjobs.cli.kubectl.history import OUTPUT_LINES, History, Run
from agentjobs.cli.kubectl.output import age, in_brackets, printable
from agentjobs.cli.kubectl.surroundings import ALONE, Surroundings
from agentjobs.cli.kubectl.why_findings import Finding, cause_now, findings_of
from agentjobs.cli.kubectl.why_todo import PLUGIN, Commands, todo_of
from agentjobs.values.durations import duration_text

JsonObject = Mapping[str, Any]
LABEL_WIDTH = 10
_COMMAND = re.compile(r": ((?:kubectl|agentjobs) .*)")
"""The command at the end of a line of what is to be done."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole answer."""

    name: str
    namespace: str
    state: str
    cause: str
    findings: Sequence[Finding]
    runs: Sequence[Run]
    todo: Sequence[str]
    """What to do, the first first; commands stand for themselves in a line."""
    output: Sequence[str] = ()
    """The end of what the last run has printed."""
    kind: str = "agentjob"

    def as_json(self) -> dict[str, Any]:
        """The answer as ``-o json`` prints it."""
        whole = {key: value for key, value in asdict(self).items() if key != "kind"}
        return {"apiVersion": "cli.agentjobs.dev/v1", "kind": "Why", "of": self.kind, **whole}


def answer_of(
    job: JsonObject,
    now: datetime,
    shown_flags: str = "",
    history: History | None = None,
    commands: Commands = PLUGIN,
    around: Surroundings = ALONE,
) -> Answer:
    """The answer for an object.

    :param shown_flags: flags that commands for the user have to carry, with a blank before each.
    :param history: all runs and the output; without it they are told as far as the object has them.
    :param commands: what the user can be told to type.
    """
    metadata, status = job["metadata"], job.get("status") or {}
    flags = (f" -n {metadata['namespace']}" if metadata["namespace"] else "") + shown_flags
    attempts = status.get("recentAttempts") or ()
    runs = [_run(one) for one in attempts]
    # where the operator shows output, the object has the end of it
    output: Sequence[str] = str((attempts[-1:] or [{}])[0].get("output") or "").splitlines()[-OUTPUT_LINES:]
    if history is not None:
        runs = list(history.runs) if history.runs is not None else runs
        output = history.output or output
    return Answer(
        metadata["name"],
        metadata["namespace"],
        str(status.get("state") or ""),
        cause_now(status, around) or ("ManagedElsewhere" if around.elsewhere else ""),
        list(findings_of(job, around, now)),
        runs,
        list(todo_of(job, around, now, flags, commands)),
        output,
    )


def told(answer: Answer, now: datetime, width: int | None, *, most_runs: int | None = None) -> str:
    """The answer as text; lines are wrapped at ``width``.

    :param most_runs: the last runs that are told, with the number of those before. None: all.
    """
    place = f"{answer.namespace}/{answer.name}" if answer.namespace else answer.name
    head = f"{answer.kind} {place}: {answer.state or 'no status'}"
    lines = [printable(head + in_brackets(answer.state, answer.cause))]
    known = "\n".join(finding.text for finding in answer.findings if finding.label in ("Error", "Told"))
    for finding in answer.findings:
        lines += _labelled(finding.label, printable(finding.text), width)
    shown = answer.runs if most_runs is None else answer.runs[-most_runs:]
    texts = []
    for run in shown:
        texts.append(_run_text(run, now, known))
        known += f"\n{run.message}"
    if len(shown) < len(answer.runs):
        texts.insert(0, f"{len(answer.runs) - len(shown):,} before these: describe tells all")
    for n, text in enumerate(texts):
        lines += _labelled("" if n else "Runs", printable(text), width)
    for n, text in enumerate(answer.output):
        lines += _labelled("" if n else "Output", printable(text), width)
    for n, line in enumerate(answer.todo):
        lines += _todo_lines("" if n else "To do", printable(line), width)
    return "\n".join(lines)


def _run(attempt: JsonObject) -> Run:
    started, ended = time_of(attempt.get("startTime")), time_of(attempt.get("endTime"))
    took = duration_text((ended - started).total_seconds()) if started and ended else ""
    return Run(
        int(attempt.get("number") or 0),
        str(attempt.get("reason") or ""),
        str(attempt.get("message") or ""),
        str(attempt.get("endTime") or ""),
        took,
    )


def _run_text(run: Run, now: datetime, known: str) -> str:
    """A run in a line; its message only where what stands above does not have it already."""
    numbered = f"run {run.number}" + (f" in round {run.round}" if run.round > 1 else "")
    parts = [
        numbered if run.round else f"attempt {run.number}",
        run.reason,
        "" if run.charged is None else "charged" if run.charged else "refunded",
        f"after {run.took}" if run.took else "",
        f"{age(run.ended, now)} ago" if run.ended else "",
        f"next at {run.next}" if run.next else "",
    ]
    told_ = run.message and run.message not in known
    return ", ".join(part for part in parts if part) + (f": {run.message}" if told_ else "")


def _todo_lines(label: str, line: str, width: int | None) -> list[str]:
    """What is to be done. A command that does not fit behind its words stands in a line of its own, whole, to be copied."""
    found = _COMMAND.search(line)
    if width is None or found is None or len(line) + LABEL_WIDTH + 3 <= width:
        return _labelled(label, line, width)
    return [*_labelled(label, f"{line[: found.start()]}:", width), f"    {found[1]}"]


def _labelled(label: str, text: str, width: int | None) -> list[str]:
    lead = (f"{label}:" if label else "").ljust(LABEL_WIDTH)
    if width is None:
        return [f"  {lead} {text}"]
    import textwrap

    room = max(20, width - LABEL_WIDTH - 3)
    pieces = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    return [f"  {lead if n == 0 else ' ' * LABEL_WIDTH} {piece}" for n, piece in enumerate(pieces)]
