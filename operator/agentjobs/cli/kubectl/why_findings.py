"""What ``why`` finds in an object and around it, in lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentjobs.cli.kubectl.filters import FINAL, agent_of, cause_of, model_of, time_of
from agentjobs.cli.kubectl.output import age, cut, in_future
from agentjobs.cli.kubectl.reply import UNTIL_IT_ANSWERS
from agentjobs.cli.kubectl.surroundings import Surroundings
from agentjobs.values.question_kinds import QuestionKind
from agentjobs.values.reasons import Follows, Reason, reason_named

JsonObject = Mapping[str, Any]
WAITS_FOR_MODEL = frozenset(
    {Reason.MODEL_UNAVAILABLE.value, Reason.MODEL_AUTH_FAILED.value, Reason.MODEL_RATE_LIMITED.value}
)
"""Reasons with which a status is not written again when the next try of the model is put off."""
UNSEEN_SECONDS = 10.0
"""What an operator has not taken up for longer was missed by it, or there is none."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer: what it tells, in a word, and the text."""

    label: str
    text: str


def findings_of(job: JsonObject, around: Surroundings, now: datetime) -> Iterator[Finding]:
    """The findings, those that explain most first."""
    spec, status = job.get("spec") or {}, job.get("status") or {}
    state = str(status.get("state") or "")
    cause = cause_now(status, around)
    if around.database_away and state not in FINAL:
        yield Finding("Database", f"{around.database_away}: {UNTIL_IT_ANSWERS}")
    if (known := reason_named(cause)) is not None:
        yield Finding("Means", known.doc)
        if known.follows is not Follows.NOTHING and state not in FINAL:
            yield Finding("Then", str(known.follows.value))
    if error := error_of(status):
        yield Finding(_label_of(cause, known), error)
    if words := _providers_words(status, error):
        yield Finding("Told", words)
    yield from _refusal(status)
    yield from _behind(job, around, now)
    if around.holder:
        yield Finding(
            "Behind", f"agentjob {around.holder} holds its session {spec.get('sessionID') or ''}".strip()
        )
    yield Finding("Attempts", _attempts(spec, status, now))
    if next_ := _next(status, around, now):
        yield Finding("Next", next_)
    if state not in FINAL and (due := spec.get("activeDeadlineSeconds")) and status.get("startTime"):
        yield Finding("Deadline", _deadline(status["startTime"], float(due), now))
    yield Finding("Queue", _queue(spec, state, around, now))
    yield from (Finding("Breaker", _breaker(one, now)) for one in around.breakers)
    agent = agent_of(spec)
    yield Finding("Agent", f"{agent}, model {model_of(spec)}" if model_of(spec) else agent)
    if worker := status.get("worker"):
        yield Finding("Worker", _worker(str(worker), state, around))
    if question := status.get("inputRequest"):
        yield Finding("Asks", _question(question, now))
    if result := status.get("result"):
        more = " (cut)" if status.get("resultTruncated") else ""
        yield Finding("Result", cut(str(result), 300) + more)
    if files := status.get("artifacts"):
        yield Finding("Files", cut(", ".join(map(_file, files)), 300) + _more_files(status))
    if trace := status.get("traceID"):
        yield Finding("Trace", str(trace))
    yield from (Finding("Missing", one) for one in around.missing)


def _file(file: JsonObject) -> str:
    version = f", version {file['version']}" if file.get("version") else ""
    return f"{file['name']} ({file.get('sizeBytes', 0)} bytes{version})"


def _more_files(status: JsonObject) -> str:
    count = status.get("artifactCount")
    return f" ({count} in all)" if count else ""


def _label_of(cause: str, known: Reason | None) -> str:
    """What the message of a state is: an error, or why a job waits, or where it is."""
    if cause in ("Completed", "Running"):
        return "At"
    errors = (Follows.RETRIES, Follows.REFUNDS, Follows.ENDS)
    return "Error" if known is None or known.follows in errors else "Because"


def cause_now(status: JsonObject, around: Surroundings) -> str:
    """The cause. Of a job that waits for its turn, what its queue tells: the operator says so a moment later, and of a job
    without an object nobody does."""
    cause = cause_of(status)
    if cause not in ("", Reason.QUEUED.value) or status.get("state") != "Queued":
        return cause
    queue = (around.queue or {}).get("status") or {}
    if queue.get("paused"):
        return Reason.QUEUE_PAUSED.value
    if around.workers is not None and not around.workers:
        return Reason.NO_WORKERS.value
    whole = not ((around.queue or {}).get("metadata") or {}).get("namespace")
    if whole and (limit := queue.get("maxRunning")) is not None and int(queue.get("running") or 0) >= limit:
        return Reason.QUEUE_FULL.value
    return cause


def error_of(status: JsonObject) -> str:
    """The message of the state; where it is empty, that of the last run that ended."""
    if message := str(status.get("message") or ""):
        return message
    attempts = status.get("recentAttempts") or ()
    ended_well = status.get("state") in ("Complete", "Running")
    return str(attempts[-1].get("message") or "") if attempts and not ended_well else ""


def _providers_words(status: JsonObject, error: str) -> str:
    """What the provider said to the last run of a job that waits for its model; empty where the error has it."""
    attempts = status.get("recentAttempts") or ()
    if status.get("state") != "Retrying" or status.get("reason") not in WAITS_FOR_MODEL or not attempts:
        return ""
    words = str(attempts[-1].get("message") or "") if attempts[-1].get("reason") == status["reason"] else ""
    return "" if words in error else words


def unseen(job: JsonObject, now: datetime) -> bool:
    """Whether no operator has taken the object up within the time that one needs."""
    created = time_of(job["metadata"].get("creationTimestamp"))
    return not job.get("status") and (created is None or (now - created).total_seconds() >= UNSEEN_SECONDS)


def is_old(job: JsonObject, around: Surroundings, now: datetime) -> bool:
    """Whether the database has told another state for longer than an operator needs to show it."""
    run = (around.run or {}).get("status") or {}
    since = time_of(run.get("since"))
    if since is None or run.get("state") == (job.get("status") or {}).get("state"):
        return False
    return (now - since).total_seconds() >= UNSEEN_SECONDS


def _refusal(status: JsonObject) -> Iterator[Finding]:
    """What the operator did not accept, of a job that goes on as it was."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Accepted" and condition.get("status") == "False":
            text = f"{condition.get('reason')}: {condition.get('message')}"
            if condition.get("message") != status.get("message"):
                yield Finding("Refused", text)


def _behind(job: JsonObject, around: Surroundings, now: datetime) -> Iterator[Finding]:
    """What the object does not show: the operator is away, late, or another's."""
    run = (around.run or {}).get("status") or {}
    if around.elsewhere:
        yield Finding("Elsewhere", around.elsewhere)
    if unseen(job, now) and around.unknown:
        yield Finding("Database", "the job is not in it: no operator has taken the object in")
    if is_old(job, around, now):
        shows = run.get("reason") and run.get("state") not in ("Complete", "Running")
        reason = f" ({run['reason']})" if shows else ""
        since = age(run.get("since"), now)
        text = f"says {run.get('state')}{reason} since {since}: this object's status is old"
        yield Finding("Database", text)
    if around.operator and (unseen(job, now) or is_old(job, around, now)):
        yield Finding("Operator", around.operator)


def _attempts(spec: JsonObject, status: JsonObject, now: datetime) -> str:
    told = [f"{status.get('attempts', 0)} of {spec.get('maxAttempts', '?')} charged"]
    if (round_ := status.get("round") or 1) > 1:
        told.append(f"round {round_}")
    if started := status.get("startTime"):
        told.append(f"first started {age(started, now)} ago")
    if ended := status.get("completionTime"):
        told.append(f"ended {age(ended, now)} ago" + (f" after {d}" if (d := status.get("duration")) else ""))
    usage = status.get("usage") or {}
    if usage.get("llmCalls"):
        tokens, calls = int(usage.get("totalTokens") or 0), int(usage["llmCalls"])
        told.append(f"{_counted(tokens, 'token')} in {_counted(calls, 'model call')}")
    return "; ".join(told)


def _next(status: JsonObject, around: Surroundings, now: datetime) -> str:
    next_at = status.get("nextAttemptTime")
    if not next_at:
        return ""
    if status.get("reason") in WAITS_FOR_MODEL:
        # the object keeps the time that was known when the job began to wait
        tries = [one["status"].get("probeTime") or "" for one in around.breakers if one["status"].get("open")]
        if tries:
            when = in_future(min(tries), now)
            return f"when its model answers, which is tried {f'{when} ({min(tries)})' if when else 'now'}"
        if not in_future(next_at, now):
            return f"when its model answers, which was to be tried {age(next_at, now)} ago ({next_at})"
    return f"{in_future(next_at, now) or f'was due {age(next_at, now)} ago'} ({next_at})"


def _deadline(started: str, seconds: float, now: datetime) -> str:
    begun = time_of(started)
    left = seconds - (now - begun).total_seconds() if begun is not None else seconds
    words = f"in {int(left)} s" if left > 0 else f"{int(-left)} s ago"
    return f"{words}: {seconds:.0f} s after its first start (activeDeadlineSeconds)"


def _queue(spec: JsonObject, state: str, around: Surroundings, now: datetime) -> str:
    """The queue with what waits and runs, who serves it, its limit and its pause."""
    told = [f"{spec.get('queue', '')}, priority {spec.get('priority', '')}"]
    if around.queue is not None:
        status = around.queue.get("status") or {}
        of = " of this namespace" if (around.queue.get("metadata") or {}).get("namespace") else ""
        mine = ", this job among them," if state == "InputRequired" else ""
        told.append(
            f"{status.get('waiting') or 0} waiting{mine} and {status.get('running') or 0} running{of}"
        )
    if around.workers is not None:
        told.append(_served(spec, around))
    if around.queue is not None:
        status = around.queue.get("status") or {}
        if (limit := status.get("maxRunning")) is not None:
            told.append(f"limit {limit}")
        if status.get("paused"):
            by = f" by {status['pausedBy']}" if status.get("pausedBy") else ""
            why = f": {status['pausedReason']}" if status.get("pausedReason") else ""
            told.append(f"paused {age(status.get('pausedTime'), now)} ago{by}{why}")
    return "; ".join(told)


def _served(spec: JsonObject, around: Surroundings) -> str:
    """The pools that serve the queue, each with its workers and slots."""
    pools: dict[str, list[tuple[int, bool]]] = {}
    for worker in around.workers or ():
        status = worker.get("status") or {}
        slots = int((status.get("queues") or {}).get(spec.get("queue"), 0))
        accepting = status.get("accepting") is not False
        pools.setdefault(str(status.get("pool") or "?"), []).append((slots, accepting))
    if not pools:
        return "no live worker serves it"
    return ", ".join(_pool(pool, workers) for pool, workers in sorted(pools.items()))


def _pool(pool: str, workers: Sequence[tuple[int, bool]]) -> str:
    """A pool with its workers: the slots of each for the queue, and whether it takes new jobs."""
    slots = sum(slots for slots, _ in workers)
    told = f"pool {pool} with {_counted(len(workers), 'worker')} and {_counted(slots, 'slot')}"
    closed = sum(not accepting for _, accepting in workers)
    if not closed:
        return told
    if closed < len(workers):
        return f"{told} ({closed} of them {'takes' if closed == 1 else 'take'} no new jobs)"
    return f"{told} ({'it takes no' if closed == 1 else 'none of them takes'} new jobs)"


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _breaker(model: JsonObject, now: datetime) -> str:
    status = model.get("status") or {}
    failures = int(status.get("failures") or 0)
    counted = f"{_counted(failures, 'failure')} in a row"
    name = f"{status.get('model')} in pool {status.get('pool')}"
    since = age(status.get("since"), now)
    if not status.get("open"):
        return f"{name}: closed; {counted} since {since}, the last {status.get('lastFailure') or 'unknown'}"
    probe = status.get("probeTime")
    when = in_future(probe, now)
    next_ = f"next try {when} ({probe})" if when else "next try now"
    told = f"open for {since} ({status.get('reason')})" + (f", {counted}" if failures else "")
    return f"{name}: {told}; {next_}"


def _worker(worker: str, state: str, around: Surroundings) -> str:
    pool = next(
        (
            str((one.get("status") or {}).get("pool") or "")
            for one in around.workers or ()
            if (one.get("metadata") or {}).get("name") == worker
        ),
        "",
    )
    return (
        f"{worker}{f' of pool {pool}' if pool else ''}{' runs it' if state == 'Running' else ' ran it last'}"
    )


def _question(question: JsonObject, now: datetime) -> str:
    tool, arguments = question.get("tool"), question.get("arguments") or "{}"
    if (kind := question.get("kind")) == QuestionKind.LONG_RUNNING:
        text = f"the result of {tool}, which was called with {arguments}, is wanted."
    elif kind:
        text = f"an input for {tool} is wanted{f': {hint}' if (hint := question.get('hint')) else ''}."
    else:
        text = f"may {tool} be called with {arguments}?"
    if not (expiry := question.get("expiryTime")):
        return text
    left = in_future(expiry, now)
    return f"{text} Without an answer it fails {f'{left} ({expiry})' if left else 'now'}"
