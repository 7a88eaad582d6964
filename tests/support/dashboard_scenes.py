"""What a dashboard may have to show besides an ordinary afternoon: nothing at all, one job, a thousand, long words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agentjobs.web.objects.acts import RunAudit, RunAuditList
from agentjobs.web.objects.meta import Metadata
from agentjobs.web.objects.runs import RunAttempts, RunResult
from agentjobs.web.objects.schedules import ScheduleStatList
from agentjobs.web.objects.stats import Model, ModelList, ModelStatus, QueueStatList, WorkerList
from dashboard_samples import (
    NOW,
    afternoon,
    at,
    attempt,
    entry,
    pool_worker,
    question,
    queue_stat,
    run,
    schedule,
    series,
    uid,
)
from dashboard_site import Site

SHOWN_JOB = "triage-4808"
WORD = "unbroken" * 30
NAME = "quarterly-customer-satisfaction-report-for-the-northern-region-" + "x" * 180
SENTENCE = "The order service at https://orders.example/api/v1/orders did not answer. " * 12
REASONS = ("OutOfMemory", "ModelRateLimited", "ToolFailed", "DeadlineExceeded", "ModelAuthFailed")


def nothing() -> Site:
    """A system on its first day: no job, queue, worker, schedule or act."""
    return Site(now=NOW, series={"reason": series({}), "model": series({}, seconds=86400)})


def one() -> Site:
    """One failed job, one worker."""
    site = nothing()
    site.runs = [
        run(SHOWN_JOB, "Failed", since=3, reason="AgentFailed", message="KeyError: 'total'", attempts=1)
    ]
    site.attempts[uid(SHOWN_JOB)] = RunAttempts(
        metadata=site.runs[0].metadata,
        items=[attempt(1, "fail", "AgentFailed", "KeyError: 'total'", ago=17, charged=True)],
    )
    site.results[uid(SHOWN_JOB)] = RunResult(metadata=site.runs[0].metadata, state="Failed", result=None)
    site.queues = QueueStatList(items=[queue_stat("agents", waiting=0, running=0, slots=1)])
    site.workers = WorkerList(items=[pool_worker("agents-0", "agents", 0, {"agents": 1})])
    return site


def many() -> Site:
    """More of everything than fits on a page, with counts up to a million."""
    site = afternoon()
    site.runs = [
        *site.runs,
        *(
            run(
                f"batch-{n:04}",
                "Failed",
                since=60 + n,
                reason=REASONS[n % len(REASONS)],
                message="503 from the order service",
                attempts=3,
            )
            for n in range(700)
        ),
    ]
    site.queues = QueueStatList(
        items=[
            queue_stat(
                f"team-{n:02}",
                waiting=1_204_311 * (n % 3),
                running=n * 113,
                slots=n * 120,
                by_state={"Queued": 1_204_000, "Retrying": 310, "Scheduled": 1},
                oldest_wait_seconds=200_000 if n % 3 else 0,
                max_running=None if n % 2 else 5000,
            )
            for n in range(40)
        ]
    )
    site.workers = WorkerList(
        items=[
            pool_worker(f"agents-7d9f-{n:05}", "agents", n % 11, {f"team-{q:02}": 10 for q in range(12)})
            for n in range(60)
        ]
    )
    site.audits = RunAuditList(
        items=[
            RunAudit(
                metadata=Metadata(name=str(n), namespace="support", creation_timestamp=at(n * 7.0)),
                actor="ana",
                verb="retry",
                target=f"batch-{n:04}",
                uid=uid(f"batch-{n:04}"),
                reason="the provider is back",
                before='{"state": "Failed", "attempt": 3, "round": 1}',
                after='{"state": "Queued", "attempt": 0, "round": 2}',
                source="web",
            )
            for n in range(50)
        ]
    )
    site.transcript = [entry(n, text=f"line {n}: the order is at the depot") for n in range(3000)]
    site.output = "a line of output\n" * 20_000
    return site


def long_words() -> Site:
    """Names, messages and words as long as the API lets them be, without a place to break."""
    site = afternoon()
    for n, state in enumerate(("Failed", "Running", "InputRequired")):
        site.runs.insert(
            0,
            run(
                NAME[: 250 - n] + str(n),
                state,
                namespace="team-" + "n" * 58,
                queue="queue-" + "q" * 57,
                agent=WORD,
                model=WORD,
                user=WORD,
                session=WORD,
                step=WORD,
                worker=WORD,
                reason="ToolFailed" if state == "Failed" else None,
                message=WORD + " " + SENTENCE,
                question=question(tool=WORD, arguments=WORD, hint=WORD + SENTENCE, payload=f'"{WORD}"'),
            ),
        )
    shown = next(job for job in site.runs if job.metadata.name == SHOWN_JOB)
    site.runs[site.runs.index(shown)] = run(
        SHOWN_JOB, "Failed", queue="q" * 63, agent=WORD, user=WORD, session=WORD, step=WORD, worker=WORD,
        reason="ToolFailed", message=WORD + " " + SENTENCE,
    )  # fmt: skip
    site.attempts[uid(SHOWN_JOB)] = RunAttempts(
        metadata=shown.metadata,
        items=[attempt(1, "retry", "ToolFailed", WORD + SENTENCE, ago=1400, charged=True)],
    )
    site.results[uid(SHOWN_JOB)] = RunResult(metadata=shown.metadata, state="Failed", result=WORD * 4)
    site.transcript = [
        entry(1, author=WORD, text=WORD),
        entry(2, "call", tool=WORD, note=WORD, branch=WORD, data={WORD: WORD}),
    ]
    site.queues.items.insert(
        0,
        queue_stat("q" * 63, waiting=1, paused=True, paused_time=at(60), paused_by=WORD, paused_reason=WORD),
    )
    site.workers.items.insert(0, pool_worker(WORD, WORD, 1, {"q" * 63: 1, "r" * 63: 2}))
    status = ModelStatus(pool=WORD, model=WORD, open=True, reason="ModelRateLimited", since=at(140))
    site.models = ModelList(items=[Model(metadata=Metadata(name="long"), status=status)])
    site.audits.items.insert(
        0,
        RunAudit(
            metadata=Metadata(name="40", namespace="n" * 63, creation_timestamp=at(9)),
            actor=WORD, verb="retry", target=NAME, uid=uid(NAME), reason=WORD + SENTENCE, before=WORD, after=WORD,
            source=WORD,
        ),
    )  # fmt: skip
    site.schedules = ScheduleStatList(items=[schedule("s" * 200, "0 4 * * *", next_every=60)])
    site.series = {
        "reason": series({WORD: [(60, "Failed", 3, 0)]}),
        "model": series({WORD: [(1800, "Complete", 3, 91_000_000)]}, seconds=86400, step=1800),
    }
    site.output = WORD * 20
    return site


def refused() -> Site:
    """A user who may read the list of jobs and queues, and nothing else."""
    site = afternoon()
    for resource in (
        "models", "workers", "runseries", "runaudits", "schedulestats",
        "agentruns/log", "agentruns/result", "agentruns/attempts",
    ):  # fmt: skip
        message = f'{resource.replace("/", "s/")}.runs.agentjobs.dev is forbidden: User "ana" cannot get resource "{resource}" in API group "runs.agentjobs.dev" in the namespace "support"'
        site.unreadable[resource] = (403, message)
    site.may_act = False
    return site


def running() -> Site:
    """A job that runs, asks, and is talked with."""
    site = afternoon()
    site.ended = False
    site.runs[0] = run(SHOWN_JOB, "Running", since=12, step="search_orders", worker="agents-7d9f-x2x8k")
    site.runs[6] = run("triage-9999", "Failed")
    return site


SCENES: Mapping[str, Callable[[], Site]] = {
    "afternoon": afternoon,
    "nothing": nothing,
    "one": one,
    "many": many,
    "long-words": long_words,
    "refused": refused,
    "running": running,
}
