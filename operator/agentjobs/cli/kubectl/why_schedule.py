"""Why a ScheduledAgentJob creates its jobs, or does not, on one screen. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from agentjobs.cli.kubectl.filters import time_of
from agentjobs.cli.kubectl.output import age, in_future
from agentjobs.cli.kubectl.schedule_state import condition_of, state_of
from agentjobs.cli.kubectl.surroundings import ALONE, Surroundings
from agentjobs.cli.kubectl.why import Answer
from agentjobs.cli.kubectl.why_findings import Finding, unseen
from agentjobs.cli.kubectl.why_todo import STALE_SECONDS
from agentjobs.values.reasons import reason_named

JsonObject = Mapping[str, Any]


def answer_of_schedule(
    schedule: JsonObject, now: datetime, shown_flags: str = "", around: Surroundings = ALONE
) -> Answer:
    """The answer for a schedule."""
    metadata = schedule["metadata"]
    flags = f" -n {metadata['namespace']}{shown_flags}"
    state = state_of(schedule)
    accepted, finished = condition_of(schedule, "Accepted"), condition_of(schedule, "Finished")
    refused, ended = accepted.get("status") == "False", finished.get("status") == "True"
    cause = str(accepted.get("reason") if refused else finished.get("reason") if ended else "") or ""
    return Answer(
        metadata["name"],
        metadata["namespace"],
        "Refused" if refused else state,
        cause or ("ManagedElsewhere" if around.elsewhere else ""),
        list(_findings(schedule, around, now, cause)),
        [],
        list(_todo(schedule, around, now, state, flags)),
        kind="schedule",
    )


def _findings(schedule: JsonObject, around: Surroundings, now: datetime, cause: str) -> Iterator[Finding]:
    spec, status = schedule.get("spec") or {}, schedule.get("status") or {}
    if (known := reason_named(cause)) is not None:
        yield Finding("Means", known.doc)
    if error := condition_of(schedule, "Accepted").get("message"):
        yield Finding("Error", str(error))
    if ended := condition_of(schedule, "Finished").get("message"):
        yield Finding("Finished", str(ended))
    if around.elsewhere:
        yield Finding("Elsewhere", around.elsewhere)
    if around.operator and (unseen(schedule, now) or _overdue(status, now)):
        yield Finding("Operator", around.operator)
    times = f"{spec['schedule']}" if spec.get("schedule") else f"once at {spec.get('scheduledTime')}"
    yield Finding("Schedule", f"{times}, {spec.get('timeZone') or 'UTC'}")
    if next_ := status.get("nextScheduleTime"):
        yield Finding("Next", f"{in_future(next_, now) or f'was due {age(next_, now)} ago'} ({next_})")
    if last := status.get("lastScheduleTime"):
        result = f"; the job that ended last is {status['lastResult']}" if status.get("lastResult") else ""
        yield Finding("Last", f"{age(last, now)} ago ({last}){result}")
    if missed := status.get("missedRuns"):
        policy = spec.get("missedRunPolicy") or "the default"
        yield Finding("Missed", f"{missed} since its creation; missedRunPolicy is {policy}")
    active = [str(one.get("name")) for one in status.get("active") or ()]
    if active:
        policy = spec.get("concurrencyPolicy") or "Allow"
        yield Finding("Active", f"{', '.join(active)}; concurrencyPolicy is {policy}")
    yield from (Finding("Missing", one) for one in around.missing)


def _todo(schedule: JsonObject, around: Surroundings, now: datetime, state: str, flags: str) -> Iterator[str]:
    status, name = schedule.get("status") or {}, schedule["metadata"]["name"]
    trigger = f"kubectl agentjobs trigger {name}{flags}"
    if around.elsewhere:
        yield "Look where that installation runs; or have one of the two watch other namespaces (watchNamespaces)."
    elif not state and not unseen(schedule, now):
        yield "Wait a moment: the operator has not seen it yet."
    elif not state:
        yield (
            "No operator has taken it up: it is away, does not watch this namespace, or its database does not serve it. Look with: "
            f"kubectl agentjobs doctor{flags}"
        )
    elif condition_of(schedule, "Accepted").get("status") == "False":
        yield f"Correct it in place: kubectl edit saj {name}{flags}"
    elif state == "Suspended":
        yield f"Let it go on: kubectl agentjobs resume schedule/{name}{flags}"
        yield f"Or run it once now: {trigger}"
    elif state == "Finished":
        yield f"It has had its one time. Run it once more: {trigger}"
    elif _overdue(status, now):
        yield f"Its time has passed, and no job was created: look with kubectl agentjobs doctor{flags}"
    elif status.get("missedRuns"):
        yield f"Jobs for times that have none: kubectl agentjobs backfill {name} --start 1d --dry-run{flags}"
    else:
        yield "Nothing: it goes on by itself."


def _overdue(status: JsonObject, now: datetime) -> bool:
    due = time_of(status.get("nextScheduleTime"))
    return due is not None and (now - due).total_seconds() > STALE_SECONDS
