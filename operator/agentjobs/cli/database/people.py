"""``agentjobs inbox``, ``approve``, ``reject`` and ``answer``, on a database. Questions of jobs with an object are answered in the cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from agentjobs.api.input_response import Response
from agentjobs.cli.database.look import Job, rows_of
from agentjobs.cli.database.objects import of_view
from agentjobs.cli.database.opened import (
    Database,
    Namespace,
    Session,
    author,
    job_of,
    opened,
    run,
)
from agentjobs.cli.errors import Unavailable
from agentjobs.cli.flags import option
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output, questions
from agentjobs.cli.kubectl.verbs import people
from agentjobs.cli.kubectl.verbs.people import confirm_answer, given_payload, json_of, tell
from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import InputAnswer, State

Id = Annotated[
    str | None, option("--id", metavar="ID", help="Answer this question only, as inbox -o json tells it.")
]


def inbox(
    namespace: Namespace = None,
    queue: o.Queue = "",
    form: o.Output = "",
    no_headers: o.NoHeaders = False,
    *,
    database: Database,
) -> None:
    """List the questions that wait for a person, the oldest first."""
    output.checked(form)
    place = "" if namespace == "-" else namespace
    wanted = JobFilter(place, frozenset({State.INPUT_REQUIRED}), queue=queue or None)

    async def found(made: Queue) -> list[dict[str, Any]]:
        views = [await made.show(row.uid) for row in await rows_of(made, wanted)]
        there = [view for view in views if view is not None]
        return [of_view(view) for view in sorted(there, key=lambda view: view.since)]

    jobs = run(found, database)
    people.shown(jobs, datetime.now(UTC), "No question waits.", form, no_headers=no_headers, everywhere=True)


def approve(
    job: Job,
    namespace: Namespace = None,
    id: Id = None,
    reason: people.Reason = "",
    payload: people.Payload = None,
    yes: o.Yes = False,
    *,
    database: Database,
) -> None:
    """Approve the job's question: its tool is called once, and the agent goes on."""
    said = InputAnswer("", True, reason, json_of(payload))
    with opened(database) as session:
        _answer(session, job, namespace, id, said, yes)


def reject(
    job: Job,
    namespace: Namespace = None,
    id: Id = None,
    reason: people.Reason = "",
    yes: o.Yes = False,
    *,
    database: Database,
) -> None:
    """Reject the job's question: its tool is not called. The agent is told so, and goes on to an answer."""
    with opened(database) as session:
        _answer(session, job, namespace, id, InputAnswer("", False, reason), yes)


def answer(
    job: Job,
    namespace: Namespace = None,
    id: Id = None,
    reason: people.Reason = "",
    payload: people.Result = "",
    yes: o.Yes = False,
    *,
    database: Database,
) -> None:
    """Give the job the result of its long-running tool, or the input that it asks for. The agent goes on with it."""
    said = InputAnswer("", None, reason, given_payload(payload))
    with opened(database) as session:
        _answer(session, job, namespace, id, said, yes)


def _answer(
    session: Session, job: str, namespace: str | None, id: str | None, said: InputAnswer, yes: bool
) -> None:
    view = session.do(lambda queue: job_of(queue, job, namespace))
    word = {True: "approve", False: "reject", None: "answer"}[said.approved]
    if view.ref is not None:
        raise Unavailable(
            f"job {job} is that of agentjob {view.ref.namespace}/{view.ref.name}, which is answered through the cluster: "
            f"kubectl agentjobs {word} {view.ref.name} -n {view.ref.namespace}"
        )
    question = questions.question_of(of_view(view), id)
    questions.check_kind(
        question, Response("", said.approved, payload=said.payload), f"agentjobs answer {job}"
    )
    confirm_answer(question, approved=said.approved, yes=yes)
    act = author(said.reason)
    whole = replace(said, id=question.id, by=act.actor)
    if why := session.do(lambda queue: queue.answer(view.uid, whole, act)):
        raise Unavailable(f"job {job}: {why}. Look with: agentjobs why {job}")
    tell(f"job {job}", question, approved=said.approved)
