"""``backfill``: AgentJobs for the past times of a schedule that have none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Annotated, Any

from agentjobs.api.names import API_VERSION, SCHEDULE_LABEL, SCHEDULED_TIME
from agentjobs.cli.errors import BadInput, Unavailable, need_extra
from agentjobs.cli.flags import argument, confirm, echo, option
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl.acts import Author, annotation
from agentjobs.cli.kubectl.apiserver import FIELD_MANAGER, JOBS, SCHEDULES, ApiServer
from agentjobs.cli.kubectl.filters import since_of, time_of, time_text
from agentjobs.cli.kubectl.pace import carry_out, interruptible
from agentjobs.cli.kubectl.reply import Reply
from agentjobs.cli.kubectl.verbs.act import told_end
from agentjobs.cli.kubectl.where import Where
from agentjobs.schedule.names import tick_child
from agentjobs.values.verbs import Verb

SHOWN = 10
JsonObject = Mapping[str, Any]


def backfill(
    where: Where,
    name: Annotated[str, argument(metavar="NAME", help="The ScheduledAgentJob.")],
    start: Annotated[str, option(metavar="TIME", help="From this time: RFC 3339, or 2d ago.")],
    end: Annotated[str | None, option(metavar="TIME", help="To this time. Default: now.")] = None,
    most: Annotated[int, option("--max", min=1, metavar="N", help="Refuse to create more than this.")] = 100,
    spread: o.Spread = None,
    because: o.Because = "",
    dry_run: Annotated[bool, option("--dry-run", help="Tell which, and create nothing.")] = False,
    yes: o.Yes = False,
) -> None:
    """Create a job for each past time of a schedule for which there is none.

    Each is named as the operator names the job of that time: so no time gets two, and the command can be given again.
    The jobs carry the schedule's label and the template, and are not its own: neither its history limits nor its
    concurrency policy counts them. A time whose job was deleted, by the history limits too, counts as one without a job.
    """
    spread_seconds = o.spread_of(spread)
    with ApiServer.open(where) as server:
        schedule = server.get(SCHEDULES, name)
        now = server.now()
        times = _times(schedule, _time(start, now, "--start"), _time(end, now, "--end") if end else now)
        present = _present(server, name)
        missing = [moment for moment in times if tick_child(name, moment) not in present]
        if len(missing) > most:
            raise BadInput(
                f"--max {most}: there are {len(missing):,} times without a job; raise it, or name a later --start."
            )
        echo(
            f"{len(times):,} times, {len(times) - len(missing):,} with a job, {len(missing):,} without.",
            err=True,
        )
        for moment in missing[:SHOWN]:
            echo(f"  {tick_child(name, moment)}   {time_text(moment)}", err=True)
        if len(missing) > SHOWN:
            echo(f"  … and {len(missing) - SHOWN:,} more", err=True)
        if dry_run or not missing:
            return
        echo(f"Create {len(missing):,} agentjobs in namespace {server.namespace}?", err=True)
        confirm("Go on?", yes=yes)
        author = Author(server.user(), because)
        jobs = [job_of(schedule, moment, author, now) for moment in missing]

        def request_for(job: dict[str, Any]) -> Callable[[], Reply]:
            query = {"fieldManager": FIELD_MANAGER}
            return lambda: server.request("POST", server.path_of(JOBS), query, job)

        with interruptible() as interrupt:
            count = carry_out(jobs, request_for, interrupt, spread_seconds=float(spread_seconds))
    told_end("created", "were there already", count, len(jobs), quiet=True)


def _time(text: str, now: datetime, flag: str) -> datetime:
    found = since_of(text.removesuffix(" ago"), now, flag)
    if found is None:
        raise BadInput(f"{flag}: a time is wanted.")
    return found


def _times(schedule: JsonObject, start: datetime, end: datetime) -> list[datetime]:
    """The schedule's times from ``start`` to ``end`` that the operator has settled: it creates none of them any more.

    Those are the times up to the last one that it created, or gave up, and those before the schedule was there.
    """
    need_extra("kubectl", "croniter", "This command")
    from agentjobs.schedule.cron import UnknownTimeZone, UnparseableSchedule, parse
    from agentjobs.schedule.times import missed_times, next_times

    spec, status = schedule.get("spec") or {}, schedule.get("status") or {}
    name = schedule["metadata"]["name"]
    if not spec.get("schedule"):
        raise BadInput(
            f"scheduledagentjob {name} has scheduledTime, and no times to fill: kubectl agentjobs trigger {name}"
            f" -n {schedule['metadata']['namespace']}"
        )
    created = time_of(schedule["metadata"].get("creationTimestamp"))
    settled = time_of(status.get("lastScheduleTime")) or (created - timedelta(seconds=1) if created else None)
    until = min(end, settled) if settled else end
    try:
        parsed = parse(str(spec["schedule"]), str(spec.get("timeZone") or "UTC"))
    except (UnknownTimeZone, UnparseableSchedule) as error:
        raise Unavailable(f"scheduledagentjob {name}: {error}.") from None
    before = start - timedelta(minutes=1)
    n = missed_times(parsed, before, until).count
    if n > MOST_TIMES:
        raise BadInput(
            f"--start: there are {n:,} times since then; at most {MOST_TIMES:,} can be looked at: name a later one."
        )
    return list(takewhile(lambda moment: moment <= until, next_times(parsed, before, n)))


MOST_TIMES = 100_000


def _present(server: ApiServer, schedule: str) -> frozenset[str]:
    """The names of all jobs of the namespace that begin as those of the schedule do."""
    begin = f"{schedule}-"
    names = (job["metadata"]["name"] for job in server.list(JOBS))
    return frozenset(name for name in names if name.startswith(begin))


def job_of(schedule: JsonObject, moment: datetime, author: Author, now: datetime) -> dict[str, Any]:
    """The AgentJob of a past time: the operator's name for it, the template, the time in its message."""
    from agentjobs.schedule.cron import zone_of
    from agentjobs.schedule.expand import expand

    spec = schedule.get("spec") or {}
    template = spec.get("jobTemplate") or {}
    given = template.get("metadata") or {}
    name = schedule["metadata"]["name"]
    last = time_of((schedule.get("status") or {}).get("lastSuccessfulTime"))
    before = last if last is not None and last < moment else None
    inner = dict(template.get("spec") or {})
    zone = zone_of(str(spec.get("timeZone") or "UTC"))
    if "message" in inner:
        inner["message"] = expand(str(inner["message"]), zone, moment, before)
    return {
        "apiVersion": API_VERSION,
        "kind": "AgentJob",
        "metadata": {
            "name": tick_child(name, moment),
            "labels": {**(given.get("labels") or {}), SCHEDULE_LABEL: name},
            "annotations": {
                **(given.get("annotations") or {}),
                SCHEDULED_TIME: time_text(moment),
                **annotation(Verb.CREATE, author, now, origin=name),
            },
        },
        "spec": inner,
    }
