"""Why an AgentJob is where it is, on one screen: from its object alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from agentjobs.cli.kubectl.acts import asked
from agentjobs.cli.kubectl.filters import FINAL, agent_of, cause_of, model_of, time_of
from agentjobs.cli.kubectl.history import History, Run
from agentjobs.cli.kubectl.output import age, cut, in_future, printable
from agentjobs.values.durations import duration_text
from agentjobs.values.reasons import Follows, Reason, reason_named

JsonObject = Mapping[str, Any]
UNSEEN_SECONDS = 10.0
"""An object without a status that is older was missed by its operator, or has none."""
STALE_SECONDS = 60.0
"""A waiting job whose time has passed by more was promoted by nobody."""
LABEL_WIDTH = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer: what it tells, in a word, and the text."""

    label: str
    text: str


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

    def as_json(self) -> dict[str, Any]:
        """The answer as ``-o json`` prints it."""
        return {"apiVersion": "cli.agentjobs.dev/v1", "kind": "Why", **asdict(self)}


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands that a user can be told to type."""

    program: str = "kubectl agentjobs"
    verbs: frozenset[str] | None = None
    """None: all of the plugin's."""
    health: str = "kubectl agentjobs doctor"
    """What tells whether anybody serves the job."""

    def line(self, words: str, verb: str, name: str, flags: str) -> str:
        """The words with a command after them, where there is such a verb."""
        if self.verbs is not None and verb not in self.verbs:
            return f"{words}."
        return f"{words}: {self.program} {verb} {name}{flags}"


def answer_of(
    job: JsonObject,
    now: datetime,
    shown_flags: str = "",
    history: History | None = None,
    commands: Commands = Commands(),
) -> Answer:
    """The answer for an object.

    :param shown_flags: flags that commands for the user have to carry, with a blank before each.
    :param history: all runs; without it the last ones are told, as the object has them.
    :param commands: what the user can be told to type.
    """
    metadata, status = job["metadata"], job.get("status") or {}
    flags = (f" -n {metadata['namespace']}" if metadata["namespace"] else "") + shown_flags
    state = str(status.get("state") or "")
    findings = list(_findings(job, now))
    runs = [_run(one) for one in status.get("recentAttempts") or ()]
    if history is not None and history.runs is not None:
        runs = list(history.runs)
    if history is not None and history.missing and runs:
        findings.append(Finding("Missing", history.missing))
    return Answer(
        metadata["name"],
        metadata["namespace"],
        state,
        cause_of(status),
        findings,
        runs,
        list(_todo(job, now, flags, commands)),
        history.output if history is not None else (),
    )


def told(answer: Answer, now: datetime, width: int | None, *, most_runs: int | None = None) -> str:
    """The answer as text; lines are wrapped at ``width``.

    :param most_runs: the last runs that are told, with the number of those before. None: all.
    """
    place = f"{answer.namespace}/{answer.name}" if answer.namespace else answer.name
    head = f"agentjob {place}: {answer.state or 'no status'}"
    lines = [head + (f" ({answer.cause})" if answer.cause and answer.cause != answer.state else "")]
    for finding in answer.findings:
        lines += _labelled(finding.label, printable(finding.text), width)
    shown = answer.runs if most_runs is None else answer.runs[-most_runs:]
    texts = [_run_text(run, now) for run in shown]
    if len(shown) < len(answer.runs):
        texts.insert(0, f"{len(answer.runs) - len(shown):,} before these: describe tells all")
    for n, text in enumerate(texts):
        lines += _labelled("" if n else "Runs", printable(text), width)
    for n, text in enumerate(answer.output):
        lines += _labelled("" if n else "Output", printable(text), width)
    for n, line in enumerate(answer.todo):
        lines += _labelled("" if n else "To do", line, width)
    return "\n".join(lines)


def _run_text(run: Run, now: datetime) -> str:
    numbered = f"run {run.number}" + (f" in round {run.round}" if run.round > 1 else "")
    parts = [
        numbered if run.round else f"attempt {run.number}",
        run.reason,
        "" if run.charged is None else "charged" if run.charged else "refunded",
        f"after {run.took}" if run.took else "",
        f"{age(run.ended, now)} ago" if run.ended else "",
        f"next at {run.next}" if run.next else "",
    ]
    return ", ".join(part for part in parts if part) + (f": {run.message}" if run.message else "")


def _labelled(label: str, text: str, width: int | None) -> list[str]:
    lead = (f"{label}:" if label else "").ljust(LABEL_WIDTH)
    if width is None:
        return [f"  {lead} {text}"]
    import textwrap

    room = max(20, width - LABEL_WIDTH - 3)
    pieces = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    return [f"  {lead if n == 0 else ' ' * LABEL_WIDTH} {piece}" for n, piece in enumerate(pieces)]


# the parts -------------------------------------------------------------------------------------------


def _findings(job: JsonObject, now: datetime) -> Iterator[Finding]:
    spec, status = job.get("spec") or {}, job.get("status") or {}
    state = str(status.get("state") or "")
    cause = cause_of(status)
    if (known := reason_named(cause)) is not None:
        yield Finding("Means", known.doc)
        if known.follows is not Follows.NOTHING and state not in FINAL:
            yield Finding("Then", str(known.follows.value))
    if error := _error(status):
        yield Finding("Error" if cause not in ("Completed", "Running") else "At", error)
    yield from _refusal(status)
    yield Finding("Attempts", _attempts(spec, status, now))
    if next_ := _next(status, now):
        yield Finding("Next", next_)
    yield Finding("Queue", f"{spec.get('queue', '')}, priority {spec.get('priority', '')}")
    agent = agent_of(spec)
    yield Finding("Agent", f"{agent}, model {model_of(spec)}" if model_of(spec) else agent)
    if worker := status.get("worker"):
        yield Finding("Worker", f"{worker}{' runs it' if state == 'Running' else ' ran it last'}")
    if question := status.get("inputRequest"):
        yield Finding(
            "Asks", f"may {question.get('tool')} be called with {question.get('arguments') or '{}'}?"
        )
    if result := status.get("result"):
        more = " (cut)" if status.get("resultTruncated") else ""
        yield Finding("Result", cut(str(result), 300) + more)
    if trace := status.get("traceID"):
        yield Finding("Trace", str(trace))


def _error(status: JsonObject) -> str:
    """The message of the state; where it is empty, that of the last run that ended."""
    if message := str(status.get("message") or ""):
        return message
    attempts = status.get("recentAttempts") or ()
    ended_well = status.get("state") in ("Complete", "Running")
    return str(attempts[-1].get("message") or "") if attempts and not ended_well else ""


def _refusal(status: JsonObject) -> Iterator[Finding]:
    """What the operator did not accept, of a job that goes on as it was."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Accepted" and condition.get("status") == "False":
            text = f"{condition.get('reason')}: {condition.get('message')}"
            if condition.get("message") != status.get("message"):
                yield Finding("Refused", text)


def _attempts(spec: JsonObject, status: JsonObject, now: datetime) -> str:
    told_ = [f"{status.get('attempts', 0)} of {spec.get('maxAttempts', '?')} charged"]
    if (round_ := status.get("round") or 1) > 1:
        told_.append(f"round {round_}")
    if started := status.get("startTime"):
        told_.append(f"first started {age(started, now)} ago")
    if ended := status.get("completionTime"):
        told_.append(
            f"ended {age(ended, now)} ago" + (f" after {d}" if (d := status.get("duration")) else "")
        )
    usage = status.get("usage") or {}
    if usage.get("llmCalls"):
        told_.append(f"{usage.get('totalTokens', 0):,} tokens in {usage['llmCalls']} model calls")
    return "; ".join(told_)


def _next(status: JsonObject, now: datetime) -> str:
    next_at = status.get("nextAttemptTime")
    if not next_at:
        return ""
    return f"{in_future(next_at, now) or f'was due {age(next_at, now)} ago'} ({next_at})"


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


def _todo(job: JsonObject, now: datetime, flags: str, commands: Commands) -> Iterator[str]:
    metadata, spec, status = job["metadata"], job.get("spec") or {}, job.get("status") or {}
    name, state = metadata["name"], str(status.get("state") or "")
    if not state:
        created = time_of(metadata.get("creationTimestamp"))
        if created is not None and (now - created).total_seconds() < UNSEEN_SECONDS:
            yield "Wait a moment: the operator has not seen it yet."
            return
        yield (
            "No operator has seen it: it is away, does not watch this namespace, or its database is away. Look with: "
            f"{commands.health}{flags}"
        )
    elif state in ("Failed", "Cancelled") and asked(job):
        yield "Nothing: a retry is asked for, and the operator takes it up."
    elif state in ("Failed", "Cancelled") and not spec.get("cancel"):
        yield commands.line("Mend what the error names, then run it once more", "retry", name, flags)
    elif state in ("Rejected", "Cancelled"):
        yield "This object can run no more: create a corrected one under another name."
    elif state == "InputRequired":
        yield commands.line("Answer it (or reject it)", "approve", name, flags)
    elif spec.get("suspend") and state == "Suspended":
        yield commands.line("Let it go on", "resume", name, flags)
    elif state == "Complete":
        yield "Nothing: it is done."
    elif state == "Running":
        yield commands.line("Wait for its end", "wait", name, flags)
    elif (due := time_of(status.get("nextAttemptTime"))) and (now - due).total_seconds() > STALE_SECONDS:
        yield f"Its time has passed, and nobody took it up: look with {commands.health}{flags}"
    elif status.get("reason") in (Reason.NO_WORKERS, Reason.QUEUE_PAUSED, Reason.QUEUE_NOT_ALLOWED):
        yield "Whoever runs this installation can change that; the job goes on by itself then."
    else:
        yield "Nothing: it goes on by itself."
