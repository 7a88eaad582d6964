"""``retry``, ``cancel``, ``suspend``, ``resume`` and ``delete``: acts on one job, or on all that a filter means.

``suspend`` and ``resume`` are for schedules, too, by their names.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from typing import Any

from agentjobs.cli.errors import FAILURE_EXIT_STATUS, INTERRUPTED_EXIT_STATUS, BadInput, Unavailable
from agentjobs.cli.flags import confirm, echo
from agentjobs.cli.kubectl import acts
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl.acts import Act, Author, Plan, patch_of, plan_of, question
from agentjobs.cli.kubectl.apiserver import JOBS, SCHEDULES, ApiServer
from agentjobs.cli.kubectl.checks import without_operator
from agentjobs.cli.kubectl.filters import JobFilter
from agentjobs.cli.kubectl.pace import Count, carry_out, interruptible
from agentjobs.cli.kubectl.reply import Reply
from agentjobs.cli.kubectl.where import Where
from agentjobs.cli.printable import printable

SHOWN = 10
"""Jobs that a preview names."""


def _verb(act: Act, help_: str) -> Callable[..., None]:
    """The verb of an act."""

    def verb(
        where: Where, names: o.Names = None, *, meant: o.Meant, selector: o.Selector = "", acting: o.Acting
    ) -> None:
        _act(act, where, names, meant, selector, acting)

    verb.__doc__ = help_
    return verb


retry = _verb(
    acts.RETRY,
    """Run failed or cancelled jobs once more, each in a new round.

    \b
    kubectl agentjobs retry refund
    kubectl agentjobs retry --state Failed --reason ModelUnavailable --since 2h --spread 10m

    A command that was interrupted goes on where it is given again: jobs that were asked already are left out.
    """,
)
cancel = _verb(
    acts.CANCEL, "End jobs: waiting ones at once, running ones after a grace. It cannot be taken back."
)
suspend = _verb(
    acts.SUSPEND,
    """Keep jobs from starting; a running attempt is stopped and refunded. Or keep a schedule from creating jobs.

    A NAME may be that of a schedule, too; where there is a job of that name, write schedule/NAME.
    """,
)
resume = _verb(acts.RESUME, "Let suspended jobs go on, or a suspended schedule.")
delete = _verb(acts.DELETE, "Delete jobs. One that has not ended is cancelled by that.")


def _act(
    act: Act,
    where: Where,
    names: list[str] | None,
    meant_by: o.Meant,
    selector: str,
    acting: o.Acting,
) -> None:
    spread_seconds = acting.spread_seconds
    with ApiServer.open(where) as server:
        meant = meant_by.filter(server.now(), selector)
        if names and (acting.all_ or not meant.empty):
            raise BadInput("names go with neither --all nor a filter: give one of them.")
        if not names and not acting.all_ and meant.empty:
            raise BadInput(
                f"Which? Name jobs, give a filter such as --state Failed, or --all: kubectl agentjobs {act.word} --help"
            )
        found = _found(act, server, names, meant)
        if names and act is not acts.DELETE:
            named = list(found)
            if why := without_operator(server, named):
                raise Unavailable(f"{why}. Nothing was changed.")
            found = iter(named)
        plan = plan_of(act, found)
        if names and plan.unfit:
            first = plan.unfit[0]
            raise Unavailable(
                f"{first.words}. Look with: kubectl agentjobs why {_prefix(first.kind)}{first.name} -n {server.namespace}{where.shown()}"
            )
        before = sum(one.asked for one in plan.unfit)
        asked = f" ({before:,} are asked already)" if before else ""
        if not plan.jobs:
            echo(f"No agentjobs to {act.word} {_scope(server, meant)}{asked}.", err=True)
            return
        several = not names or len(names) > 1
        if several or act is acts.DELETE or acting.dry_run:
            _preview(act, plan, server, meant, spread_seconds, asked, yes=acting.yes and not acting.dry_run)
        if acting.dry_run:
            echo("Nothing was changed: this was a dry run.", err=True)
            return
        if several or act is acts.DELETE:
            confirm("Go on?", yes=acting.yes)
        _carry_out(act, server, plan, acting.because, spread_seconds, quiet=several)


def _found(
    act: Act, server: ApiServer, names: list[str] | None, meant: JobFilter
) -> Iterator[dict[str, Any]]:
    if names:
        for name in dict.fromkeys(names):
            yield server.named(name, also_schedules=act in acts.OF_SCHEDULES)[2]
        return
    yield from (job for job in server.list(JOBS, meant.query()) if meant.matches(job))


def _prefix(kind: str) -> str:
    return "schedule/" if kind == acts.SCHEDULE else ""


def _scope(server: ApiServer, meant: JobFilter) -> str:
    return f"in namespace {server.namespace}" + (f" with {meant.words()}" if not meant.empty else "")


def _preview(
    act: Act, plan: Plan, server: ApiServer, meant: JobFilter, spread_seconds: int, asked: str, *, yes: bool
) -> None:
    for job in plan.jobs[:SHOWN]:
        echo(f"  {job['metadata']['name']}   {job['state'] or ''}", err=True)
    if len(plan.jobs) > SHOWN:
        echo(f"  … and {len(plan.jobs) - SHOWN:,} more", err=True)
    asks = question(act, plan, _scope(server, meant), spread_seconds)
    echo((asks.removesuffix("?") + "." if yes else asks) + asked, err=True)


def _carry_out(
    act: Act, server: ApiServer, plan: Plan, because: str, spread_seconds: int, *, quiet: bool
) -> None:
    author = Author(server.user(), because)
    total = len(plan.jobs)

    def request_for(job: dict[str, Any]) -> Callable[[], Reply]:
        patch = patch_of(act, author, server.now())
        resource = SCHEDULES if acts.kind_of(job) == acts.SCHEDULE else JOBS
        if act is not acts.DELETE:
            return lambda: server.patch(resource, job, patch)

        def remove() -> Reply:
            """Says who and why before the object goes: the operator takes it from the object's last state."""
            if patch:
                reply = server.patch(JOBS, job, patch)
                if not reply.ok:
                    return reply
            return server.delete(JOBS, job)

        return remove

    def done(job: dict[str, Any]) -> None:
        if not quiet:
            echo(f"{acts.kind_of(job)}.agentjobs.dev/{job['metadata']['name']} {_word(act)}")

    def progress(count: Count) -> None:
        echo(f"{count.handled:,} of {total:,} {act.done}", err=True)

    with interruptible() as interrupt:
        count = carry_out(
            plan.jobs,
            request_for,
            interrupt,
            spread_seconds=float(spread_seconds),
            done=done,
            progress=progress,
        )
    told_end(_word(act), "were gone", count, total, quiet=quiet, kind=acts.noun_of(plan))


def _word(act: Act) -> str:
    """What is true once the request is written: the operator and the worker do the rest."""
    return {"retry": "retry requested", "cancel": "cancel requested"}.get(act.word, act.done)


def told_end(done: str, gone: str, count: Count, total: int, *, quiet: bool, kind: str = "agentjob") -> None:
    """Tells how far it has come, and how to go on; ends the process where it is not done."""
    more = [f"{count.gone:,} {gone}"] if count.gone else []
    more += [f"{len(count.failed):,} were refused"] if count.failed else []
    rest = total - count.handled
    if quiet or count.interrupted or count.stopped:
        echo(f"{count.done:,} of {total:,} {kind}s: {done}{''.join(f', {m}' for m in more)}.")
    for line in count.failed[:SHOWN]:
        echo(f"error: {printable(line)}", err=True)
    if count.interrupted or count.stopped:
        why = f"error: {printable(count.stopped)}. " if count.stopped else "Interrupted. "
        echo(f"{why}{rest:,} are left; go on with the same command: {_same_command()}", err=True)
        sys.exit(INTERRUPTED_EXIT_STATUS if count.interrupted else FAILURE_EXIT_STATUS)
    if count.failed or (count.gone and not quiet):
        if count.gone and not quiet:
            echo("error: it was deleted meanwhile.", err=True)
        sys.exit(FAILURE_EXIT_STATUS)


def _same_command() -> str:
    return shlex.join(["kubectl", "agentjobs", *sys.argv[1:]])
