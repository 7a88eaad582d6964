"""Sample data for the dashboard: an afternoon in which a provider's quota ran out, and somebody must decide."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from agentjobs.web.objects.acts import RunAudit, RunAuditList
from agentjobs.web.objects.logs import TranscriptEntry
from agentjobs.web.objects.meta import Metadata
from agentjobs.web.objects.runs import (
    AgentRun,
    AgentRunSpec,
    AgentRunStatus,
    RunAttempt,
    RunAttempts,
    RunQuestion,
    RunResult,
    RunUsage,
)
from agentjobs.web.objects.schedules import (
    ScheduleRun,
    ScheduleStat,
    ScheduleStatList,
    ScheduleStatSpec,
    ScheduleStatStatus,
)
from agentjobs.web.objects.series import RunSeries, RunSeriesPoint
from agentjobs.web.objects.stats import (
    Model,
    ModelList,
    ModelStatus,
    QueueStat,
    QueueStatList,
    QueueStatStatus,
    Worker,
    WorkerList,
    WorkerStatus,
)
from dashboard_site import Site

NOW = datetime(2026, 11, 26, 15, 30, 0, tzinfo=UTC)
HOSTILE = (
    '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>'
    '<b hx-get="/stolen" hx-trigger="load">x</b></pre>" style="color:red" onclick=window.hacked=3 \u202eevil'
)


TOTAL_MISSING = "search_orders raised KeyError: 'total'"


def at(seconds_ago: float, now: datetime = NOW) -> str:
    """A time as the API writes it."""
    return (now - timedelta(seconds=seconds_ago)).astimezone(UTC).isoformat().replace("+00:00", "Z")


def uid(name: str) -> str:
    """A uid that depends on the name alone."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def run(
    name: str, state: str = "Complete", *, since: float = 60, now: datetime = NOW, **given: object
) -> AgentRun:
    """A job. Further arguments are fields of its spec or status."""
    spec = {"queue": "agents", "priority": 2, "max_attempts": 3, "agent": "support.triage", "user": "ana"}
    status: dict[str, object] = {
        "state": state,
        "since": at(since, now),
        "attempts": 1,
        "usage": RunUsage(
            prompt_tokens=9200, output_tokens=640, total_tokens=9840, llm_calls=3, tool_calls=2
        ),
    }
    for key, value in given.items():
        if key in AgentRunSpec.model_fields:
            spec[key] = value
        elif key != "namespace":
            status[key] = value
    return AgentRun(
        metadata=Metadata(
            name=name,
            namespace=str(given.get("namespace", "support")),
            uid=uid(name),
            creation_timestamp=at(since + 90, now),
        ),
        spec=AgentRunSpec.model_validate(spec, by_name=True),
        status=AgentRunStatus.model_validate(status, by_name=True),
    )


def question(tool: str = "refund", **given: object) -> RunQuestion:
    """A tool's question."""
    fields: dict[str, object] = {
        "id": "adk-5c1e",
        "tool": tool,
        "arguments": '{"order": "A-1187", "euros": 240.0}',
        "hint": "The customer asks for all of it.",
    }
    return RunQuestion.model_validate(fields | given, by_name=True)


def attempt(
    number: int,
    outcome: str,
    reason: str,
    message: str,
    *,
    ago: float,
    charged: bool,
    run: int | None = None,
    last: bool = False,
) -> RunAttempt:
    """An ended run."""
    return RunAttempt(
        run=run or number,
        attempt=number,
        round=1,
        worker="agents-7d9f-x2x8k",
        start_time=at(ago),
        end_time=at(ago - 14),
        outcome=outcome,
        reason=reason,
        message=message,
        charged=charged,
        next_time=None if last or outcome == "complete" else at(ago - 44),
        usage=RunUsage(total_tokens=4920, llm_calls=2),
        log_bytes=812,
    )


def entry(number: int, kind: str = "text", **given: object) -> TranscriptEntry:
    """The entry of a transcript with this number."""
    fields: dict[str, object] = {
        "cursor": f"1764.0.event-{number}",
        "time": at(900 - number),
        "kind": kind,
        "author": "triage",
        "invocation": "job-" + uid("triage-4808"),
    }
    return TranscriptEntry.model_validate(fields | given, by_name=True)


def conversation() -> list[TranscriptEntry]:
    """A short one: a tool fails, and the agent says so."""
    tokens = RunUsage(prompt_tokens=1210, output_tokens=42, total_tokens=1252)
    failed = {"status": "failed", "detail": "KeyError: 'total'"}
    return [
        entry(1, author="user", text="Where is order A-1171? The customer waits since Monday."),
        entry(
            2,
            "call",
            tool="search_orders",
            data={"order": "A-1171", "fields": ["state", "total"]},
            tokens=tokens,
        ),
        entry(3, "result", tool="search_orders", note="error", data=failed),
        entry(4, text="I cannot read the order: its total is missing.", tokens=tokens),
    ]


def afternoon() -> Site:
    """The sample: jobs in all states, three queues, two workers, an open breaker, acts."""
    busy = [
        run("triage-4811", "Running", since=12, step="search_orders", worker="agents-7d9f-x2x8k"),
        run(
            "triage-4810",
            "Retrying",
            since=41,
            reason="ModelServerError",
            message="503 from the order service",
            attempts=2,
            next_attempt_time=at(-18),
        ),
        run(
            "refund-a1187",
            "InputRequired",
            since=1900,
            reason="InputRequired",
            agent="support.refunds",
            question=question(),
        ),
        run(
            "refund-a1190",
            "InputRequired",
            since=300,
            reason="InputRequired",
            agent="support.refunds",
            question=question(
                id="adk-77",
                arguments='{"order": "A-1190", "euros": 18.5}',
                hint="",
                payload='{"approved_euros": 18.5}',
            ),
        ),
        run(
            "triage-4809",
            "Queued",
            since=95,
            reason="ModelRateLimited",
            message="gemini-flash asks for a pause until 15:31",
            attempts=0,
        ),
        run(
            "digest-29395170",
            "Failed",
            since=700,
            reason="ModelAuthFailed",
            queue="scheduled",
            agent="reports.digest",
            message="401 from the provider: the key is not accepted. Its Secret was changed at 15:12.",
            attempts=1,
        ),
        run(
            "triage-4808",
            "Failed",
            since=900,
            reason="ToolFailed",
            message="Tool 'search_orders': A tool failed. (KeyError: 'total' at triage/orders.py:31 in search_orders)",
            attempts=3,
        ),
        run(
            "triage-4807",
            "Failed",
            since=1000,
            reason="ToolFailed",
            message="Tool 'search_orders': A tool failed. (KeyError: 'total' at triage/orders.py:31 in search_orders)",
            attempts=3,
        ),
    ]
    done = [run(f"triage-{4806 - n}", since=1100 + 70 * n) for n in range(12)]
    answered = done[0].metadata.uid or ""
    failed = busy[6].metadata.uid or ""
    site = Site(runs=busy + done, now=NOW)
    site.attempts[failed] = RunAttempts(
        metadata=busy[6].metadata,
        items=[
            attempt(
                1, "snooze", "ModelRateLimited", "429: quota of requests a minute", ago=1400, charged=False
            ),
            attempt(1, "retry", "ToolFailed", TOTAL_MISSING, ago=1200, charged=True, run=2),
            attempt(2, "lost", "WorkerLost", "", ago=1100, charged=False, run=3),
            attempt(2, "retry", "ToolFailed", TOTAL_MISSING, ago=1030, charged=True, run=4),
            attempt(3, "retry", "ToolFailed", TOTAL_MISSING, ago=914, charged=True, run=5, last=True),
        ],
    )
    site.results[failed] = RunResult(metadata=busy[6].metadata, state="Failed", result=None)
    site.results[answered] = RunResult(
        metadata=done[0].metadata,
        state="Complete",
        result="Order A-1171 is late: the parcel has been at the depot since Monday.\nI told the customer, and offered the voucher that the rules allow.",
    )
    site.attempts[answered] = RunAttempts(
        metadata=done[0].metadata, items=[attempt(1, "complete", "", "", ago=1114, charged=True)]
    )
    site.queues = QueueStatList(
        items=[
            queue_stat(
                "agents",
                waiting=1204,
                running=18,
                slots=20,
                by_state={"Queued": 1180, "Retrying": 22, "InputRequired": 2},
                oldest_wait_seconds=95,
            ),
            queue_stat(
                "bulk",
                waiting=310,
                running=4,
                slots=20,
                by_state={"Queued": 310},
                oldest_wait_seconds=4210,
                max_running=4,
            ),
            queue_stat(
                "scheduled",
                waiting=3,
                running=0,
                slots=4,
                by_state={"Scheduled": 3},
                paused=True,
                paused_time=at(1080),
                paused_by="ben",
                paused_reason="the digest's key is being renewed",
            ),
        ]
    )
    site.workers = WorkerList(
        items=[
            pool_worker("agents-7d9f-x2x8k", "agents", 12, {"agents": 10, "bulk": 10}),
            pool_worker("agents-7d9f-q9m4t", "agents", 10, {"agents": 10, "bulk": 10}, accepting=False),
            pool_worker("reports-5b6c-2kzqv", "reports", 0, {"scheduled": 4}),
        ]
    )
    site.models = ModelList(items=[
        Model(metadata=Metadata(name="agents.gemini-flash"), status=ModelStatus(pool="agents", model="gemini-flash", open=True, reason="ModelRateLimited", failures=7, since=at(140), probe_time=at(-22), running=1, blocked=212)),
    ])  # fmt: skip
    site.audits = RunAuditList(
        items=[
            RunAudit(
                metadata=Metadata(name="32", namespace="support", creation_timestamp=at(240)),
                actor="ana",
                verb="retry",
                target="triage-4808",
                uid=failed,
                reason="the field is back",
                before='{"state": "Failed", "round": 1, "attempt": 3}',
                after='{"state": "Queued", "round": 2, "attempt": 0}',
                source="web",
            ),
            RunAudit(
                metadata=Metadata(name="31", creation_timestamp=at(1080)),
                actor="ben",
                verb="pause",
                queue="scheduled",
                reason="the digest's key is being renewed",
                before='{"paused": false}',
                after='{"paused": true}',
                source="kubectl",
            ),
        ]
    )
    site.schedules = ScheduleStatList(
        items=[
            schedule("digest", "*/30 7-19 * * 1-5", next_every=1800, fails=(11, 12, 13), active=0),
            schedule("inventory", "0 4 * * *", next_every=86400, fails=(3,), suspend=True, missed=2),
            schedule("stock-check", "*/5 * * * *", next_every=300, active=1),
        ]
    )
    site.series = {
        "reason": _hour_of_ends(),
        "model": series(
            {
                name: [(1800 * n, "Complete", 9, factor * (1 + (n * 5) % 11)) for n in range(1, 48)]
                for name, factor in (("gemini-flash", 91_000), ("claude-haiku", 20_500))
            },
            seconds=86400,
            step=1800,
        ),
    }
    site.transcript = conversation()
    site.output = "loaded 214 orders\nsearch_orders: A-1171\n"
    return site


def schedule(
    name: str,
    cron: str,
    *,
    next_every: float,
    fails: tuple[int, ...] = (),
    suspend: bool = False,
    active: int = 0,
    missed: int = 0,
) -> ScheduleStat:
    """A schedule with fourteen ended jobs, of which those in ``fails`` failed."""
    last = [
        ScheduleRun(
            name=f"{name}-2939{n:04}",
            uid=uid(f"{name}-{n}"),
            time=at(next_every * (14 - n)),
            state="Failed" if n in fails else "Complete",
            reason="ModelAuthFailed" if n in fails else None,
            seconds=2.0 if n in fails else 20.0 + 7 * (n % 5),
        )
        for n in range(14)
    ]
    return ScheduleStat(
        metadata=Metadata(name=name, namespace="support", uid=uid(name)),
        spec=ScheduleStatSpec(schedule=cron, time_zone="Europe/Berlin", suspend=suspend),
        status=ScheduleStatStatus(
            next_times=[at(-next_every * n) for n in range(1, 6)], last=last, active=active, missed=missed
        ),
    )


def series(
    points: Mapping[str, Sequence[tuple[float, str, int, int]]], *, seconds: float = 3600, step: int = 60
) -> RunSeries:
    """What ended, by its key: (seconds ago, outcome, count, tokens)."""
    items = [
        RunSeriesPoint(time=at(ago), key=key, outcome=outcome, count=count, total_tokens=tokens)
        for key, found in points.items()
        for ago, outcome, count, tokens in found
    ]
    return RunSeries(
        since_time=at(seconds),
        until_time=at(0),
        step_seconds=step,
        by="reason" if seconds <= 3600 else "model",
        items=items,
    )


def _hour_of_ends() -> RunSeries:
    """A quota runs out twelve minutes ago."""
    return series(
        {
            "": [(60 * n, "Complete", 14 + (n * 7) % 9 if n > 12 else 2, 0) for n in range(1, 60)],
            "ModelRateLimited": [(60 * n, "Failed", 9 - n % 4, 0) for n in range(1, 13)],
            "ToolFailed": [(60 * n, "Failed", 1, 0) for n in (15, 16, 31)],
            "Cancelled": [(2400, "Cancelled", 1, 0)],
        }
    )


def queue_stat(name: str, **status: object) -> QueueStat:
    """A queue with these fields of its status."""
    return QueueStat(
        metadata=Metadata(name=name), status=QueueStatStatus.model_validate(status, by_name=True)
    )


def pool_worker(
    name: str, pool: str, running: int, queues: dict[str, int], *, accepting: bool = True
) -> Worker:
    """A live worker of a pool."""
    status = WorkerStatus(
        pool=pool,
        version="0.1.0",
        queues=queues,
        slots=sum(queues.values()),
        running=running,
        accepting=accepting,
        last_beat_time=at(2),
    )
    return Worker(metadata=Metadata(name=name), status=status)
