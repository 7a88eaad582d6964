"""Fragments of HTML: each model of the runs API as a page shows it.

The templates escape every text. The words of agents, users and providers stand inside ``hx-ignore`` besides, so no
attribute in them could ever act. ``?part=`` picks another fragment of the same data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agentjobs.api.meta import ApiModel
from agentjobs.web.objects.acts import RunAudit, RunAuditList
from agentjobs.web.objects.logs import TranscriptEntry
from agentjobs.web.objects.runs import AgentRun, AgentRunList, RunAttempt, RunAttempts, RunResult
from agentjobs.web.objects.schedules import ScheduleStatList
from agentjobs.web.objects.series import RunSeries
from agentjobs.web.objects.stats import ModelList, QueueStat, QueueStatList, Worker, WorkerList
from agentjobs.web.ui import drawings, words
from agentjobs.web.view import Page

MOST_QUEUES = 12
"""Of the page Now; all are on the page Queues."""
FILTERS = ("state", "reason", "queue", "agent", "model", "user", "session", "since", "continue")


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


def pressing(queues: Sequence[QueueStat]) -> Sequence[QueueStat]:
    """The queues that a person looks at first, by name: the paused, those without workers, those that wait the longest."""
    if len(queues) <= MOST_QUEUES:
        return queues

    def pressure(queue: QueueStat) -> tuple[bool, int, int]:
        status = queue.status
        stuck = status.paused or (status.waiting > 0 and not status.slots)
        return stuck, status.oldest_wait_seconds, status.waiting + status.running

    picked = {queue.metadata.name for queue in sorted(queues, key=pressure, reverse=True)[:MOST_QUEUES]}
    return [queue for queue in queues if queue.metadata.name in picked]


def changes(act: RunAudit) -> list[tuple[str, str, str]]:
    """What an act changed: field, before, after. Whole texts where they are no JSON objects."""
    before, after = _fields(act.before), _fields(act.after)
    if before is None or after is None:
        return [("", act.before or "–", act.after or "–")] if act.before or act.after else []
    names = [*before, *(name for name in after if name not in before)]
    return [
        (
            name,
            words.json(before[name]) if name in before else "–",
            words.json(after[name]) if name in after else "–",
        )
        for name in names
        if name not in before or name not in after or before[name] != after[name]
    ]


def _fields(text: str | None) -> dict[str, object] | None:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


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
        "final": words.final,
        "duration": words.duration,
        "between": words.between,
        "number": words.number,
        "short": words.short,
        "clock": words.clock,
        "clock_in": words.clock_in,
        "clock_time": words.clock_time,
        "day_hour": words.day_hour,
        "laid_out": words.laid_out,
        "to_do": words.to_do,
        "held": words.held,
        "changes": changes,
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


def of(model: ApiModel, page: Page) -> str | None:
    """The model as HTML, which is the same as long as the model is. None: there is no such fragment."""
    match model, page.part:
        case AgentRunList(), "":
            filtered = any(page.first(name) for name in FILTERS)
            return _render(
                "rows.html", page, runs=model.items, next=model.metadata.continue_, filtered=filtered
            )
        case AgentRunList(), "failures":
            more = model.metadata.continue_ is not None
            found = failures(model.items)
            return _render("failures.html", page, groups=found, seen=len(model.items), more=more)
        case AgentRunList(), "inbox":
            oldest = sorted(model.items, key=lambda run: words.moment(run.status.since))
            return _render("inbox.html", page, runs=oldest, more=model.metadata.continue_ is not None)
        case AgentRun(), "":
            return _render("job.html", page, run=model)
        case AgentRun(), "question":
            return _render("question.html", page, run=model)
        case RunAttempts(), "":
            return _render("timeline.html", page, runs=model.items)
        case RunResult(), "":
            return _render("result.html", page, result=model)
        case QueueStatList(), "" | "acts":
            acts = page.may_act and page.part == "acts"
            shown = model.items if page.part else pressing(model.items)
            asking = sum(queue.status.by_state.get("InputRequired", 0) for queue in model.items)
            more = len(shown) < len(model.items)
            return _render(
                "board.html", page, queues=model.items, shown=shown, more=more, asking=asking, acts=acts
            )
        case WorkerList(), "":
            return _render("workers.html", page, workers=model.items)
        case WorkerList(), "pools":
            return _render("pools.html", page, pools=pools(model.items))
        case ModelList(), "" | "acts":
            acts = page.may_act and page.part == "acts"
            return _render("models.html", page, models=model.items, acts=acts)
        case TranscriptEntry(), "entry":
            return _render("entry.html", page, entry=model)
        case ScheduleStatList(), "":
            acts = page.may_act and page.objects
            next_page = model.metadata.continue_
            return _render("schedules.html", page, schedules=model.items, acts=acts, next=next_page)
        case ScheduleStatList(), "refused":
            more = model.metadata.continue_ is not None
            return _render("refused.html", page, schedules=model.items, more=more)
        case RunSeries(), "ends" | "tokens" as part:
            drawn = drawings.rows(model, tokens=part == "tokens")
            return _render(f"{part}.html", page, series=model, rows=drawn)
        case RunAuditList(), "":
            return _render("acts.html", page, audits=model.items, next=model.metadata.continue_)
    return None


def _render(template: str, page: Page, **values: Any) -> str:
    return ENVIRONMENT.get_template(template).render(page=page, **values)
