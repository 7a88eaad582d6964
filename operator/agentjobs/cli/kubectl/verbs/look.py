"""``why`` and ``describe``: looking at an AgentJob."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from agentjobs.cli.flags import argument, echo
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output
from agentjobs.cli.kubectl.apiserver import JOBS, ApiServer
from agentjobs.cli.kubectl.output import Column
from agentjobs.cli.kubectl.surroundings import around_schedule, events_of, surroundings_of
from agentjobs.cli.kubectl.where import Where
from agentjobs.cli.kubectl.why import answer_of, told
from agentjobs.cli.kubectl.why_schedule import answer_of_schedule

JsonObject = Mapping[str, Any]
WhyName = Annotated[str, argument(metavar="NAME", help="The AgentJob, or schedule/NAME.")]
WHY_RUNS = 10
"""Runs that ``why`` tells; ``describe`` tells all."""


def why(where: Where, name: WhyName, form: o.Output = "") -> None:
    """Tell why a job is where it is: state, cause, last error, next time, queue, breakers, output, and what to do.

    NAME may be that of a schedule, too; where there is a job of that name, write schedule/NAME.
    """
    output.checked_object(form)
    with ApiServer.open(where) as server:
        resource, name, obj = server.named(name)
        if resource == JOBS:
            around, history = surroundings_of(server, obj)
            now = server.now()
            answer = answer_of(obj, now, where.shown(), history, around=around)
        else:
            around = around_schedule(server, obj)
            now = server.now()
            answer = answer_of_schedule(obj, now, where.shown(), around)
    if form:
        echo(output.written(form, answer.as_json()))
        return
    echo(told(answer, now, output.terminal_width(), most_runs=WHY_RUNS))


def describe(where: Where, name: o.Name) -> None:
    """Tell all that the cluster knows of a job: why it is where it is, its spec, conditions and Events."""
    with ApiServer.open(where) as server:
        job = server.get(JOBS, name)
        events = events_of(server, job["metadata"]["uid"])
        around, history = surroundings_of(server, job)
        now = server.now()
    width = output.terminal_width()
    echo(told(answer_of(job, now, where.shown(), history, around=around), now, width))
    spec = {key: value for key, value in (job.get("spec") or {}).items() if key != "message"}
    echo(f"\nSpec:\n{_indented(output.written('yaml', spec))}")
    echo(f"\nMessage:\n{_indented(output.printable_lines(str((job.get('spec') or {}).get('message', ''))))}")
    if result := (job.get("status") or {}).get("result"):
        echo(f"\nResult:\n{_indented(output.printable_lines(str(result)))}")
        if (job.get("status") or {}).get("resultTruncated"):
            flags = f"-n {server.namespace}{where.shown()}"
            echo(f"  … cut at 4096 bytes; the whole one: kubectl agentjobs result {name} {flags}")
    conditions = (job.get("status") or {}).get("conditions") or []
    if conditions:
        echo("\n" + output.table(_condition_columns(now), conditions, width=width))
    if isinstance(events, str):
        echo(f"\nEvents: {output.printable(events)}")
    elif events:
        echo("\n" + output.table(_event_columns(now), events, width=width))
    else:
        echo("\nEvents: none")


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _condition_columns(now: datetime) -> list[Column]:
    return [
        Column("CONDITION", lambda c: str(c.get("type", ""))),
        Column("STATUS", lambda c: str(c.get("status", ""))),
        Column("REASON", lambda c: str(c.get("reason", ""))),
        Column("SINCE", lambda c: output.age(c.get("lastTransitionTime"), now)),
        Column("MESSAGE", lambda c: str(c.get("message", "")), shrinks=True),
    ]


def _event_columns(now: datetime) -> list[Column]:
    def when(event: JsonObject) -> str:
        series = event.get("series") or {}
        moments = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
        return output.age(next(filter(None, moments), None), now)

    return [
        Column("EVENT", lambda e: str(e.get("type", ""))),
        Column("REASON", lambda e: str(e.get("reason", ""))),
        Column("AGE", when),
        Column("MESSAGE", lambda e: str(e.get("message", "")), shrinks=True),
    ]
