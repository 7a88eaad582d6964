"""``list``, ``why`` and ``describe``: looking at AgentJobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from agentjobs.cli.errors import BadInput
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output
from agentjobs.cli.kubectl.apiserver import JOBS, SCHEDULES, ApiServer, RequestRefused
from agentjobs.cli.kubectl.filters import agent_of, cause_of, model_of
from agentjobs.cli.kubectl.output import Column
from agentjobs.cli.kubectl.surroundings import around_schedule, events_of, surroundings_of
from agentjobs.cli.kubectl.where import Where
from agentjobs.cli.kubectl.why import answer_of, told
from agentjobs.cli.kubectl.why_schedule import answer_of_schedule

JsonObject = Mapping[str, Any]
WhyName = Annotated[str, typer.Argument(metavar="NAME", help="The AgentJob, or schedule/NAME.")]
WHY_RUNS = 10
"""Runs that ``why`` tells; ``describe`` tells all."""


def columns(now: datetime, *, everywhere: bool) -> list[Column]:
    """The columns of the list; those of ``kubectl get``, with the cause for the reason."""

    def status(key: str) -> Any:
        return lambda job: str((job.get("status") or {}).get(key) or "")

    def spec(key: str) -> Any:
        return lambda job: str((job.get("spec") or {}).get(key, ""))

    def usage(job: JsonObject) -> str:
        return str(((job.get("status") or {}).get("usage") or {}).get("totalTokens") or "")

    return [
        *([Column("NAMESPACE", lambda job: job["metadata"]["namespace"])] if everywhere else []),
        Column("NAME", lambda job: job["metadata"]["name"], shrinks=True),
        Column("QUEUE", spec("queue"), shrinks=True),
        Column("STATE", status("state")),
        Column("REASON", lambda job: cause_of(job.get("status") or {}), shrinks=True),
        Column("ATTEMPTS", lambda job: str((job.get("status") or {}).get("attempts", ""))),
        Column("DURATION", status("duration")),
        Column("AGE", lambda job: output.age(job["metadata"].get("creationTimestamp"), now)),
        Column("AGENT", lambda job: agent_of(job.get("spec") or {}), wide=True, shrinks=True),
        Column("MODEL", lambda job: model_of(job.get("spec") or {}), wide=True, shrinks=True),
        Column("USER", spec("userID"), wide=True, shrinks=True),
        Column("SESSION", status("sessionID"), wide=True, shrinks=True),
        Column("PRIORITY", spec("priority"), wide=True),
        Column("WORKER", status("worker"), wide=True, shrinks=True),
        Column("TOKENS", usage, wide=True),
        Column("NEXT", lambda job: output.in_future((job.get("status") or {}).get("nextAttemptTime"), now), wide=True),
        Column("MESSAGE", lambda job: output.cut(status("message")(job), 120), wide=True, shrinks=True),
    ]  # fmt: skip


def list_jobs(
    where: Where,
    state: o.State = None,
    reason: o.Reason = "",
    queue: o.Queue = "",
    agent: o.Agent = "",
    model: o.Model = "",
    user: o.User = "",
    session: o.Session = "",
    since: o.Since = None,
    selector: o.Selector = "",
    everywhere: o.Everywhere = False,
    form: o.Output = "",
    no_headers: o.NoHeaders = False,
) -> None:
    """List AgentJobs, the newest first.

    REASON is the cause: of a job whose attempts are used up, the reason of the last one.
    """
    output.checked(form)
    with ApiServer.open(where) as server:
        meant = o.filter_of(server.now(), state, reason, queue, agent, model, user, session, since, selector)
        found = [job for job in server.list(JOBS, meant.query(), everywhere=everywhere) if meant.matches(job)]
        now = server.now()
    found.sort(key=lambda job: job["metadata"]["name"])
    found.sort(key=lambda job: job["metadata"].get("creationTimestamp") or "", reverse=True)
    scope = "any namespace" if everywhere else f"namespace {server.namespace}"
    words = f" with {meant.words()}" if not meant.empty else ""
    none = f"No agentjobs in {scope}{words}."
    print_jobs(found, columns(now, everywhere=everywhere), form, no_headers, none)


def print_jobs(
    jobs: Sequence[JsonObject], shown: Sequence[Column], form: str, no_headers: bool, none: str
) -> None:
    """Prints jobs in the form of ``-o``; ``none`` is told where there are none."""
    if form not in ("", "wide"):
        whole = [output.without_managed_fields({**_TYPE, **job}) for job in jobs]
        if text := output.written(form, output.listed("AgentJobList", whole)):
            typer.echo(text)
        return
    if not jobs:
        typer.echo(none, err=True)
        return
    width = output.terminal_width()
    text = output.table(shown, jobs, wide=form == "wide", headers=not no_headers, width=width)
    colours = output.coloured()
    states = ["", *((job.get("status") or {}).get("state", "") for job in jobs)][no_headers:]
    lines = zip(text.splitlines(), states, strict=True)
    typer.echo("\n".join(output.painted(line, state, colours=colours) for line, state in lines))


_TYPE = {"apiVersion": "agentjobs.dev/v1alpha1", "kind": "AgentJob"}


def why(where: Where, name: WhyName, form: o.Output = "") -> None:
    """Tell why a job is where it is: state, cause, last error, next time, queue, breakers, output, and what to do.

    NAME may be that of a schedule, too; where there is a job of that name, write schedule/NAME.
    """
    if form not in ("", "json", "yaml") and not form.startswith("jsonpath="):
        raise BadInput(f"-o: {form[:40]!r} is unknown here; there are json, yaml and jsonpath=….")
    with ApiServer.open(where) as server:
        resource, name, obj = _named(server, name)
        if resource == JOBS:
            around, history = surroundings_of(server, obj)
            now = server.now()
            answer = answer_of(obj, now, where.shown(), history, around=around)
        else:
            around = around_schedule(server, obj)
            now = server.now()
            answer = answer_of_schedule(obj, now, where.shown(), around)
    if form:
        typer.echo(output.written(form, answer.as_json()))
        return
    typer.echo(told(answer, now, output.terminal_width(), most_runs=WHY_RUNS))


def _named(server: ApiServer, name: str) -> tuple[str, str, JsonObject]:
    """The resource, name and object that a user means: a job, or else a schedule.

    :raises BadInput: the kind before the name is another.
    :raises Unavailable: there is none, or there is no answer.
    """
    kind, slash, rest = name.rpartition("/")
    if slash:
        if (resource := _KINDS.get(kind.lower().partition(".")[0])) is None:
            raise BadInput(
                f"{name[:80]!r}: the kind {kind[:40]!r} is unknown here; there are job and schedule."
            )
        return resource, rest, server.get(resource, rest)
    try:
        return JOBS, name, server.get(JOBS, name)
    except RequestRefused as error:
        if error.reply.cause() != "NotFound":
            raise
        reply = server.request("GET", server.path_of(SCHEDULES, name))
        if not reply.ok:
            raise
        return SCHEDULES, name, reply.json()


_KINDS = {
    **dict.fromkeys(("job", "aj", "agentjob", "agentjobs"), JOBS),
    **dict.fromkeys(("schedule", "saj", "scheduledagentjob", "scheduledagentjobs"), SCHEDULES),
}


def describe(where: Where, name: o.Name) -> None:
    """Tell all that the cluster knows of a job: why it is where it is, its spec, conditions and Events."""
    with ApiServer.open(where) as server:
        job = server.get(JOBS, name)
        events = events_of(server, job["metadata"]["uid"])
        around, history = surroundings_of(server, job)
        now = server.now()
    width = output.terminal_width()
    typer.echo(told(answer_of(job, now, where.shown(), history, around=around), now, width))
    spec = {key: value for key, value in (job.get("spec") or {}).items() if key != "message"}
    typer.echo(f"\nSpec:\n{_indented(output.written('yaml', spec))}")
    typer.echo(
        f"\nMessage:\n{_indented(output.printable_lines(str((job.get('spec') or {}).get('message', ''))))}"
    )
    if result := (job.get("status") or {}).get("result"):
        typer.echo(f"\nResult:\n{_indented(output.printable_lines(str(result)))}")
        if (job.get("status") or {}).get("resultTruncated"):
            flags = f"-n {server.namespace}{where.shown()}"
            typer.echo(f"  … cut at 4096 bytes; the whole one: kubectl agentjobs result {name} {flags}")
    conditions = (job.get("status") or {}).get("conditions") or []
    if conditions:
        typer.echo("\n" + output.table(_condition_columns(now), conditions, width=width))
    if isinstance(events, str):
        typer.echo(f"\nEvents: {events}")
    elif events:
        typer.echo("\n" + output.table(_event_columns(now), events, width=width))
    else:
        typer.echo("\nEvents: none")


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
