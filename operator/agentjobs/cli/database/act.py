"""``agentjobs retry``, ``cancel``, ``suspend`` and ``resume``, on a database: for jobs without an object, by uid or by a filter.

Jobs of objects are refused here: they are changed through the Kubernetes API, or their operator would change them back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from agentjobs.cli.database.look import filter_of
from agentjobs.cli.database.opened import Database, Session, author, job_of, opened
from agentjobs.cli.errors import BadInput, Unavailable
from agentjobs.cli.flags import argument, confirm, echo
from agentjobs.cli.kubectl import acts
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl.acts import Act, question_text
from agentjobs.queue.bulk_acts import ActedOn
from agentjobs.queue.job_list import JobFilter, JobPage
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State
from agentjobs.values.verbs import Verb
from agentjobs.web.board_objects import UNFINISHED

SHOWN = 10
Jobs = Annotated[list[str] | None, argument(metavar="JOB...", help="Jobs by uid.")]
FIT = {
    Verb.RETRY: frozenset({State.FAILED, State.CANCELLED}),
    Verb.CANCEL: UNFINISHED,
    Verb.SUSPEND: UNFINISHED - {State.SUSPENDED},
    Verb.RESUME: frozenset({State.SUSPENDED}),
}
"""States of the jobs that an act is for."""


def command(act: Act, help_: str) -> Callable[..., None]:
    """The command of an act."""

    def command_(jobs: Jobs = None, *, meant: o.Meant, acting: o.Acting, database: Database) -> None:
        wanted = filter_of(meant, "-")
        filtered = wanted != JobFilter("")
        if jobs and (acting.all_ or filtered):
            raise BadInput("jobs go with neither --all nor a filter: give one of them.")
        if not (jobs or acting.all_ or filtered):
            raise BadInput(
                f"Which? Give uids, a filter such as --state Failed, or --all: agentjobs {act.word} --help"
            )
        if acting.spread is not None and act is not acts.RETRY:
            raise BadInput("--spread: on a database only retries are spread.")
        fit = replace(wanted, states=(wanted.states or FIT[act.verb]) & FIT[act.verb])
        if not fit.states:
            raise BadInput(f"--state: {act.word} is for jobs that are {', '.join(sorted(FIT[act.verb]))}.")
        seconds = acting.spread_seconds
        with opened(database) as session:
            if not jobs:
                _many(session, act, fit, acting, seconds)
            for job in dict.fromkeys(jobs or ()):
                session.do(lambda queue, job=job: _one(queue, act, job, acting))  # type: ignore[misc]

    command_.__doc__ = help_
    return command_


def _many(session: Session, act: Act, fit: JobFilter, acting: o.Acting, spread_seconds: int) -> None:
    total, page = session.do(lambda queue: _preview(queue, fit))
    if not total:
        echo(f"No jobs without an object to {act.word}.", err=True)
        return
    for row in page.jobs:
        echo(f"  {row.uid}   {row.state}", err=True)
    if total > len(page.jobs):
        echo(f"  … and {total - len(page.jobs):,} more", err=True)
    echo(question_text(act, total, "job", "without an object", spread_seconds), err=True)
    if acting.dry_run:
        echo("Nothing was changed: this was a dry run.", err=True)
        return
    confirm("Go on?", yes=acting.yes)
    by = author(acting.because)
    done = session.do(lambda queue: queue.act_on(fit, act.verb, by, spread_seconds=float(spread_seconds)))
    echo(told(act, done))


async def _preview(queue: Queue, wanted: JobFilter) -> tuple[int, JobPage]:
    return await queue.count_jobs(wanted), await queue.jobs(wanted, limit=SHOWN)


async def _one(queue: Queue, act: Act, job: str, acting: o.Acting) -> None:
    view = await job_of(queue, job, None)
    if view.ref is not None:
        raise Unavailable(
            f"job {job} is that of agentjob {view.ref.namespace}/{view.ref.name}, which is changed through the cluster: "
            f"kubectl agentjobs {act.word} {view.ref.name} -n {view.ref.namespace}"
        )
    if view.state not in FIT[act.verb]:
        raise Unavailable(
            f"job {job} is {view.state}, and cannot be {act.done}. Look with: agentjobs why {job}"
        )
    if acting.dry_run:
        echo(f"job {job} {act.done} (dry run)")
        return
    done = await queue.act_on_jobs([view.uid], act.verb, author(acting.because))
    if not done.done:
        why = next(iter(done.refused), "it has finished meanwhile")
        raise Unavailable(f"job {job}: {why}. Look with: agentjobs why {job}")
    echo(f"job {job} {act.done}")


def told(act: Act, done: ActedOn) -> str:
    """The line after an act on many jobs."""
    more = [f"{n:,} refused: {why}" for why, n in done.refused.items()]
    more += [f"{done.finished:,} had finished or were gone"] if done.finished else []
    return f"{done.done:,} jobs {act.done}{''.join(f'; {m}' for m in more)}."


retry = command(acts.RETRY, "Run failed or cancelled jobs without an object once more, each in a new round.")
cancel = command(acts.CANCEL, "End jobs without an object: waiting ones at once, running ones after a grace.")
suspend = command(
    acts.SUSPEND, "Keep jobs without an object from starting; a running attempt is stopped and refunded."
)
resume = command(acts.RESUME, "Let suspended jobs without an object go on.")
