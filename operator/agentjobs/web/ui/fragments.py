"""Fragments of HTML: each model of the runs API as a page shows it.

The templates escape every text. The words of agents, users and providers stand inside ``hx-ignore`` besides, so no
attribute in them could ever act. ``?part=`` picks another fragment of the same data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agentjobs.api.meta import ApiModel
from agentjobs.web.objects.acts import RunAuditList
from agentjobs.web.objects.logs import TranscriptEntry
from agentjobs.web.objects.runs import AgentRun, AgentRunList, RunAttempt, RunAttempts, RunResult
from agentjobs.web.objects.schedules import ScheduleStatList
from agentjobs.web.objects.series import RunSeries
from agentjobs.web.objects.stats import ModelList, QueueStatList, Worker, WorkerList
from agentjobs.web.ui import drawings, words
from agentjobs.web.view import Page


@dataclass(frozen=True, slots=True)
class Failures:
    """The failures of one reason."""

    reason: str
    count: int
    latest: AgentRun


@dataclass(frozen=True, slots=True)
class Pool:
    """The live workers of one pool, summed up."""

    name: str
    workers: int
    running: int
    slots: int


def failures(runs: Sequence[AgentRun]) -> list[Failures]:
    """Failed runs by reason, the most frequent first. ``runs`` has the newest first."""
    found: dict[str, Failures] = {}
    for run in runs:
        reason = run.status.reason or ""
        before = found.get(reason)
        found[reason] = Failures(reason, before.count + 1 if before else 1, before.latest if before else run)
    return sorted(found.values(), key=lambda group: (-group.count, group.reason))


def pools(workers: Sequence[Worker]) -> list[Pool]:
    """The pools of live workers, by name."""
    found: dict[str, Pool] = {}
    for worker in workers:
        status = worker.status
        before = found.get(status.pool, Pool(status.pool, 0, 0, 0))
        found[status.pool] = Pool(
            status.pool,
            before.workers + 1,
            before.running + (status.running or 0),
            before.slots + status.slots,
        )
    return sorted(found.values(), key=lambda pool: pool.name)


def explained(run: RunAttempt) -> str:
    """What the run cost, and what followed, in a sentence or two."""
    wait = words.between(run.end_time, run.next_time)
    return words.explanation(run.outcome, run.charged, run.attempt, wait)


def environment() -> Environment:
    """The templates: autoescape is on for all of them, and an unknown name is an error."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., object]] = {
        "tone": words.tone,
        "duration": words.duration,
        "between": words.between,
        "age": words.age,
        "number": words.number,
        "short": words.short,
        "clock": words.clock,
        "clock_in": words.clock_in,
        "trace_link": words.trace_link,
        "hour": words.hour,
        "plural": words.plural,
        "meaning": words.meaning,
        "saying": words.saying,
        "word": words.word,
        "json": words.json,
        "explained": explained,
        "lasts": drawings.lasts,
    }
    made.filters.update(filters)
    return made


ENVIRONMENT = environment()
PLACES = {"ends": 60, "tokens": 48}
"""Bars of the hour, and of the day."""


def of(model: ApiModel, page: Page, now: datetime) -> str | None:
    """The model as HTML at the time ``now``. None: there is no such fragment."""
    match model, page.part:
        case AgentRunList(), "":
            return _render("rows.html", page, now, runs=model.items, next=model.metadata.continue_)
        case AgentRunList(), "failures":
            more = model.metadata.continue_ is not None
            found = failures(model.items)
            return _render("failures.html", page, now, groups=found, seen=len(model.items), more=more)
        case AgentRunList(), "inbox":
            oldest = sorted(model.items, key=lambda run: words.moment(run.status.since))
            return _render("inbox.html", page, now, runs=oldest, more=model.metadata.continue_ is not None)
        case AgentRun(), "":
            return _render("job.html", page, now, run=model)
        case AgentRun(), "question":
            return _render("question.html", page, now, run=model)
        case RunAttempts(), "":
            return _render("timeline.html", page, now, runs=model.items)
        case RunResult(), "":
            return _render("result.html", page, now, result=model)
        case QueueStatList(), "" | "acts":
            acts = page.may_act and page.part == "acts"
            return _render("board.html", page, now, queues=model.items, acts=acts)
        case WorkerList(), "":
            return _render("workers.html", page, now, workers=model.items)
        case WorkerList(), "pools":
            return _render("pools.html", page, now, pools=pools(model.items))
        case ModelList(), "" | "acts":
            acts = page.may_act and page.part == "acts"
            return _render("models.html", page, now, models=model.items, acts=acts)
        case TranscriptEntry(), "entry":
            return _render("entry.html", page, now, entry=model)
        case ScheduleStatList(), "":
            return _render(
                "schedules.html", page, now, schedules=model.items, acts=page.may_act and page.objects
            )
        case RunSeries(), "ends" | "tokens" as part:
            places = PLACES[part]
            drawn = drawings.rows(model, places, tokens=part == "tokens")
            whole = words.moment(model.until_time) - words.moment(model.since_time)
            each = whole.total_seconds() / places
            return _render(f"{part}.html", page, now, series=model, rows=drawn, each=each)
        case RunAuditList(), "":
            return _render("acts.html", page, now, audits=model.items, next=model.metadata.continue_)
    return None


def _render(template: str, page: Page, now: datetime, **values: Any) -> str:
    return ENVIRONMENT.get_template(template).render(page=page, now=now, **values)
