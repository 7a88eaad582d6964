"""``agentjobs wait``, ``transcript`` and ``top``, on a database."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from agentjobs.cli.database.look import Job
from agentjobs.cli.database.objects import of_view
from agentjobs.cli.database.opened import Database, Namespace, Session, job_of, opened
from agentjobs.cli.errors import BadInput, Unavailable
from agentjobs.cli.flags import argument, echo
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output
from agentjobs.cli.kubectl.transcript_text import entry_text
from agentjobs.cli.kubectl.verbs.top import RUNNING, frame, live
from agentjobs.cli.kubectl.verbs.wait import Told, ends_of, seconds, states_for
from agentjobs.cli.kubectl.waiting import AWAY_SECONDS, Seen, TimedOut
from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import JobView, State
from agentjobs.transcript.transcripts import MOST_EVENTS, Transcripts
from agentjobs.web.board_objects import model_of, queues_of
from agentjobs.web.conversations import Conversations, cursor_of, part_of
from agentjobs.web.convert import run_of_row
from agentjobs.web.names import API_VERSION
from agentjobs.web.status import ApiError

LOOK_SECONDS = 1.0
"""Between two looks at the jobs that are waited for."""


def wait(
    jobs: Annotated[
        list[str],
        argument(metavar="JOB...", help="Jobs by uid; with -n also by the names of their objects."),
    ],
    namespace: Namespace = None,
    for_: o.For = "Finished",
    timeout: o.Timeout = None,
    quiet: o.Quiet = False,
    *,
    database: Database,
) -> None:
    """Wait until jobs have ended, or are in a state.

    \b
    Status 0: all are Complete, or in the state of --for.
    Status 1: one has ended otherwise, or is gone.
    Status 2: --timeout is over, or the command must be mended.
    """
    wanted, good = states_for(for_)
    limit = seconds(timeout)
    flags = f" -n {namespace}" if namespace not in (None, "-") else ""
    with opened(database) as session:
        uids = {}
        for job in dict.fromkeys(jobs):
            view = session.do(lambda queue, job=job: job_of(queue, job, namespace))  # type: ignore[misc]
            uids[str(of_view(view)["metadata"]["name"])] = view.uid
        how = Told("job ", "agentjobs {verb} {name}" + flags, quiet)
        ends = ends_of(_seen(session, uids, limit), uids, wanted, how, limit)
    sys.exit(0 if all(state in good for state in ends.values()) else 1)


def _seen(session: Session, uids: dict[str, UUID], timeout_seconds: float | None) -> Iterator[Seen]:
    """These jobs as they are, then each change of them; without an end.

    :raises TimedOut: the time is over.
    :raises Unavailable: the database is away for longer than AWAY_SECONDS.
    """
    until = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
    known: dict[str, dict[str, Any]] = {}
    heard_at = time.monotonic()
    while True:
        for name, uid in uids.items():
            try:
                view = session.do(lambda queue, uid=uid: queue.show(uid))  # type: ignore[misc]
            except Unavailable:
                if time.monotonic() - heard_at > AWAY_SECONDS:
                    raise
                break
            heard_at = time.monotonic()
            if view is None:
                yield Seen({"metadata": {"name": name}}, deleted=True)
            elif (job := of_view(view)) != known.get(name):
                known[name] = job
                yield Seen(job)
        if (left := until - time.monotonic()) <= 0:
            raise TimedOut
        time.sleep(min(LOOK_SECONDS, left))


def transcript(
    job: Job,
    namespace: Namespace = None,
    follow: o.Follow = False,
    whole: o.WholeSession = False,
    form: o.Output = "",
    *,
    database: Database,
) -> None:
    """Print a job's conversation from its start: what was said, tools' calls and results, tokens.

    It is in the session store: the setting session_database_url, or the queue's database.
    """
    output.checked_object(form)
    if form and follow:
        raise BadInput("-o goes not with -f: a conversation that goes on is no object.")
    with opened(database) as session:
        view = session.do(lambda queue: job_of(queue, job, namespace))
        if follow:
            session.do(lambda queue: _told(_followed(queue, view, session, whole)))
            return
        items = session.do(lambda queue: _conversation(view, session, whole))
    if form:
        page = {"apiVersion": API_VERSION, "kind": "RunTranscript", "metadata": {}, "items": items}
        echo(output.written(form, page))
        return
    for entry in items:
        echo(entry_text(entry))
    if not items:
        echo(f"{job}: nothing was said yet.", err=True)


async def _told(entries: AsyncIterator[dict[str, Any]]) -> None:
    async for entry in entries:
        echo(entry_text(entry))
        sys.stdout.flush()


async def _conversation(view: JobView, session: Session, whole: bool) -> list[dict[str, Any]]:
    """All entries that are stored."""
    found: list[dict[str, Any]] = []
    token = ""
    async with await Transcripts.open(session.settings.session_dsn()) as transcripts:
        conversations = Conversations(transcripts)
        try:
            part = part_of(view, whole=whole)
            while True:
                page = await conversations.page(part, cursor_of(token), MOST_EVENTS)
                found += page.as_json().get("items") or []
                if not (token := page.metadata.continue_ or ""):
                    return found
        except ApiError as error:
            raise Unavailable(error.message) from None


async def _followed(
    queue: Queue, view: JobView, session: Session, whole: bool
) -> AsyncIterator[dict[str, Any]]:
    """Each entry once, until the job has ended."""

    async def ended() -> bool:
        now = await queue.show(view.uid, runs=False)
        return now is None or now.state.final

    async with await Transcripts.open(session.settings.session_dsn()) as transcripts:
        try:
            async for event in Conversations(transcripts).follow(part_of(view, whole=whole), None, ended):
                if event.model is not None:
                    yield event.model.as_json()
        except ApiError as error:
            raise Unavailable(error.message) from None


def top(
    interval: o.Interval = 2,
    once: o.Once = False,
    *,
    database: Database,
) -> None:
    """Show queues, models that fail, and running jobs, until Ctrl-C."""
    with opened(database) as session:
        live(lambda width: _frame(session, width), interval, once=once)


def _frame(session: Session, width: int | None) -> str:
    queues, models, runs = session.do(_look)
    return frame("all namespaces", queues, models, runs, datetime.now(UTC), width)


async def _look(queue: Queue) -> tuple[Sequence[dict[str, Any]], ...]:
    board, models = await queue.board(), await queue.model_health()
    page = await queue.jobs(JobFilter(None, frozenset({State.RUNNING})), limit=RUNNING)
    return (
        [one.as_json() for one in queues_of(board, None)],
        [model_of(one, None).as_json() for one in models],
        [run_of_row(row).as_json() for row in page.jobs],
    )
