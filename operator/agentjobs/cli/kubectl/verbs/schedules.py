"""``schedules``, ``trigger`` and ``next``: ScheduledAgentJobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from agentjobs.api.names import RUN_REQUESTED_AT
from agentjobs.cli.errors import Unavailable, need_extra
from agentjobs.cli.flags import argument, echo, option
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output
from agentjobs.cli.kubectl.acts import Author, annotation, precise
from agentjobs.cli.kubectl.apiserver import SCHEDULES, ApiServer
from agentjobs.cli.kubectl.filters import time_of, time_text
from agentjobs.cli.kubectl.output import Column
from agentjobs.cli.kubectl.schedule_state import condition_of, state_of
from agentjobs.cli.kubectl.where import Where
from agentjobs.schedule.names import manual_child
from agentjobs.values.verbs import Verb

Name = Annotated[str, argument(metavar="NAME", help="The ScheduledAgentJob.")]
JsonObject = Mapping[str, Any]


def schedules(
    where: Where,
    selector: o.Selector = "",
    everywhere: o.Everywhere = False,
    form: o.Output = "",
    no_headers: o.NoHeaders = False,
) -> None:
    """List schedules, by name."""
    output.checked(form)
    query = {"labelSelector": selector} if selector else {}
    with ApiServer.open(where) as server:
        found = list(server.list(SCHEDULES, query, everywhere=everywhere))
        now = server.now()
    none = f"No schedules in {'any namespace' if everywhere else f'namespace {server.namespace}'}."
    columns = _columns(now, everywhere=everywhere)
    output.print_list("ScheduledAgentJobList", found, columns, form, no_headers=no_headers, none=none)


def _columns(now: datetime, *, everywhere: bool) -> list[Column]:
    def spec(key: str) -> Any:
        return lambda one: str((one.get("spec") or {}).get(key, ""))

    def status(key: str) -> Any:
        return lambda one: str((one.get("status") or {}).get(key, ""))

    return [
        *([Column("NAMESPACE", lambda one: one["metadata"]["namespace"])] if everywhere else []),
        Column("NAME", lambda one: one["metadata"]["name"], shrinks=True),
        Column("SCHEDULE", lambda one: spec("schedule")(one) or f"once at {spec('scheduledTime')(one)}"),
        Column("TIMEZONE", spec("timeZone")),
        Column("STATE", state_of),
        Column("ACTIVE", status("activeCount")),
        Column("LAST", lambda one: output.age((one.get("status") or {}).get("lastScheduleTime"), now)),
        Column("RESULT", status("lastResult")),
        Column("NEXT", lambda one: output.in_future((one.get("status") or {}).get("nextScheduleTime"), now)),
        Column("MISSED", status("missedRuns"), wide=True),
        Column("POLICY", spec("concurrencyPolicy"), wide=True),
        Column(
            "MESSAGE",
            lambda one: str(condition_of(one, "Accepted").get("message") or ""),
            wide=True,
            shrinks=True,
        ),
    ]


def trigger(
    where: Where,
    name: Name,
    because: o.Because = "",
    dry_run: Annotated[bool, option("--dry-run", help="Tell the job's name, and create nothing.")] = False,
) -> None:
    """Run a schedule now: the operator creates its job, also while the schedule is suspended."""
    with ApiServer.open(where) as server:
        schedule = server.get(SCHEDULES, name)
        now = server.now()
        child = manual_child(name, precise(now), now)
        if not dry_run:
            said = annotation(Verb.RUN_NOW, Author(server.user(), because), now, precise(now))
            patch = {"metadata": {"annotations": {RUN_REQUESTED_AT: precise(now), **said}}}
            server.done(server.patch(SCHEDULES, schedule, patch), SCHEDULES, name)
    echo(f"scheduledagentjob.agentjobs.dev/{name} triggered: {child}{' (dry run)' if dry_run else ''}")
    if not dry_run:
        echo(f"Wait for it: kubectl agentjobs wait {child} -n {server.namespace}{where.shown()}", err=True)


def next_times_(
    where: Where,
    name: Name,
    count: Annotated[int, option("--count", "-c", min=1, max=1000, metavar="N", help="How many times.")] = 5,
    form: o.Output = "",
) -> None:
    """Tell a schedule's next times: in its own time zone, in UTC, and how long it is until then."""
    output.checked_object(form)
    with ApiServer.open(where) as server:
        schedule = server.get(SCHEDULES, name)
        now = server.now()
    times, zone = upcoming(schedule, now, count)
    spec = schedule.get("spec") or {}
    if form:
        shape = {
            "apiVersion": "cli.agentjobs.dev/v1",
            "kind": "NextTimes",
            "name": name,
            "namespace": server.namespace,
            "suspend": bool(spec.get("suspend")),
            "times": [time_text(moment) for moment in times],
        }
        echo(output.written(form, shape))
        return
    if spec.get("suspend"):
        echo("It is suspended: nothing runs at these times until it is resumed.", err=True)
    if not times:
        echo("It has no further time.", err=True)
        return
    columns = [
        Column("NEXT", lambda moment: moment.astimezone(zone).isoformat(timespec="minutes")),
        Column("UTC", time_text),
        Column("IN", lambda moment: output.in_future(time_text(moment), now).removeprefix("in ")),
    ]
    echo(output.table(columns, times, width=output.terminal_width()))


def upcoming(schedule: JsonObject, now: datetime, count: int) -> tuple[list[datetime], Any]:
    """The next times of a schedule, and its zone.

    :raises Unavailable: the schedule cannot be read; the operator says so in its status, too.
    """
    need_extra("kubectl", "croniter", "This command")
    from agentjobs.schedule.cron import UnknownTimeZone, UnparseableSchedule, parse, zone_of
    from agentjobs.schedule.times import next_times

    spec = schedule.get("spec") or {}
    try:
        zone = zone_of(str(spec.get("timeZone") or "UTC"))
        if once := time_of(spec.get("scheduledTime")):
            return ([once] if once > now else []), zone
        return next_times(parse(str(spec.get("schedule") or ""), zone.key), now, count), zone
    except (UnknownTimeZone, UnparseableSchedule) as error:
        raise Unavailable(f"scheduledagentjob {schedule['metadata']['name']}: {error}.") from None
