"""``agentjobs list``, ``why``, ``result`` and ``logs``, on a database."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

from agentjobs.cli.database.around import around
from agentjobs.cli.database.objects import history_of, of_row, of_view
from agentjobs.cli.database.opened import Database, Namespace, job_of, run
from agentjobs.cli.deferred import DATABASE
from agentjobs.cli.errors import BadInput, Unavailable
from agentjobs.cli.flags import argument, echo
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output
from agentjobs.cli.kubectl.surroundings import Surroundings
from agentjobs.cli.kubectl.verbs.listing import columns, print_jobs
from agentjobs.cli.kubectl.verbs.look import WHY_RUNS
from agentjobs.cli.kubectl.verbs.runs import nothing_printed
from agentjobs.cli.kubectl.why import answer_of, told
from agentjobs.cli.kubectl.why_todo import Commands
from agentjobs.queue.job_list import JobFilter, JobRow
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import JobView, State
from agentjobs.web.output import lines_of, whole_output

PAGE = 500
COMMANDS = Commands("agentjobs", frozenset(DATABASE), "agentjobs workers")
Job = Annotated[str, argument(metavar="JOB", help="Its uid; with -n also the name of its object.")]


def list_jobs(
    namespace: Namespace = None,
    *,
    meant: o.Meant,
    form: o.Output = "",
    no_headers: o.NoHeaders = False,
    database: Database,
) -> None:
    """List the jobs of a database, the newest first. NAME is the object's; of a job without one, its uid."""
    output.checked(form)
    wanted = filter_of(meant, namespace)

    rows = run(lambda made: rows_of(made, wanted), database)
    now = datetime.now(UTC)
    print_jobs(
        [of_row(row) for row in rows],
        columns(now, everywhere=True),
        form,
        no_headers=no_headers,
        none="No jobs.",
    )


async def rows_of(queue: Queue, wanted: JobFilter) -> list[JobRow]:
    """All jobs that the filter means, the newest first."""
    found: list[JobRow] = []
    after = None
    while True:
        page = await queue.jobs(wanted, after=after, limit=PAGE)
        found += page.jobs
        if (after := page.next) is None:
            return found


def filter_of(meant: o.Meant, namespace: str | None) -> JobFilter:
    """The filter that these flags describe.

    :raises BadInput: a state is unknown, ``--since`` is no time, or a word has a ``*``, which a database does not know.
    """
    for flag, word in (("--agent", meant.agent), ("--model", meant.model)):
        if "*" in word:
            raise BadInput(f"{flag}: {word[:40]!r}: on a database a whole name is wanted, without *.")
    wanted = meant.filter(datetime.now(UTC))
    return JobFilter(
        "" if namespace == "-" else namespace,
        frozenset(map(State, wanted.states)),
        wanted.reason or None,
        wanted.queue or None,
        wanted.agent or None,
        wanted.model or None,
        wanted.user or None,
        wanted.session or None,
        wanted.since,
    )


def why(
    job: Job,
    namespace: Namespace = None,
    form: o.Output = "",
    *,
    database: Database,
) -> None:
    """Tell why a job is where it is: state, cause, last error, next time, queue, runs, and what to do."""
    output.checked_object(form)

    async def found(queue: Queue) -> tuple[JobView, Surroundings]:
        view = await job_of(queue, job, namespace)
        return view, await around(queue, view)

    view, surroundings = run(found, database)
    now = datetime.now(UTC)
    commands = COMMANDS if view.ref is None else Commands()
    answer = answer_of(of_view(view), now, history=history_of(view), commands=commands, around=surroundings)
    if form:
        echo(output.written(form, answer.as_json()))
        return
    echo(told(answer, now, output.terminal_width(), most_runs=WHY_RUNS))


def result(
    job: Job,
    namespace: Namespace = None,
    raw: o.Raw = False,
    *,
    database: Database,
) -> None:
    """Print a job's whole final answer."""
    view = _view(job, namespace, database)
    if view.result is None:
        raise Unavailable(f"job {job} has no result: it is {view.state}. Look with: agentjobs why {job}")
    if raw:
        sys.stdout.buffer.write(view.result.encode(errors="replace"))
        sys.stdout.buffer.flush()
    else:
        echo(output.printable_lines(view.result))
    if view.result_truncated:
        echo(f"{job}: this is not the whole answer: 1 MiB of it is kept.", err=True)


def logs(
    job: Job,
    namespace: Namespace = None,
    attempt: o.Attempt = None,
    *,
    database: Database,
) -> None:
    """Print what a job's runs have printed. A run's output is kept when it ends."""
    view = _view(job, namespace, database)
    ended = [record for record in view.attempts_log if attempt in (None, record.run)]
    for line in lines_of(whole_output(ended, 0, 0, None, titled=attempt is None)):
        echo(output.printable_lines(line))
    if not ended:
        echo(nothing_printed(job, attempt), err=True)


def _view(job: str, namespace: str | None, database: Database) -> JobView:
    async def found(queue: Queue) -> JobView:
        return await job_of(queue, job, namespace)

    return run(found, database)
