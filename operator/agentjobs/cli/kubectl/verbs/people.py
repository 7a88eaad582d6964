"""``inbox``, ``approve``, ``reject`` and ``answer``: the questions of jobs, and people's answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from agentjobs.api.input_response import Response
from agentjobs.cli.errors import BadInput, Unavailable
from agentjobs.cli.flags import argument, confirm, echo, option
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output, questions
from agentjobs.cli.kubectl.acts import precise
from agentjobs.cli.kubectl.apiserver import JOBS, ApiServer
from agentjobs.cli.kubectl.checks import without_operator
from agentjobs.cli.kubectl.filters import JobFilter, time_of
from agentjobs.cli.kubectl.output import Column
from agentjobs.cli.kubectl.where import Where
from agentjobs.cli.questions import Question, told

Name = Annotated[str, argument(metavar="NAME", help="The AgentJob that waits for input.")]
Id = Annotated[
    str | None, option("--id", metavar="ID", help="Answer this question only (status.inputRequest.id).")
]
Reason = Annotated[
    str, option(metavar="TEXT", help="The reason; it is kept with the answer and given to the tool.")
]
Payload = Annotated[
    str | None,
    option(metavar="JSON", help="The filled-in payload for the tool, as JSON. Default: the tool's own."),
]
Result = Annotated[
    str,
    option("--payload", metavar="JSON", help="The tool's result, or the input that is asked for, as JSON."),
]


def inbox(
    where: Where,
    queue: o.Queue = "",
    selector: o.Selector = "",
    everywhere: o.Everywhere = False,
    form: o.Output = "",
    no_headers: o.NoHeaders = False,
) -> None:
    """List the questions that wait for a person, the oldest first."""
    output.checked(form)
    meant = JobFilter(states=frozenset({"InputRequired"}), queue=queue, selector=selector)
    with ApiServer.open(where) as server:
        found = [job for job in server.list(JOBS, meant.query(), everywhere=everywhere) if meant.matches(job)]
        now = server.now()
    scope = "any namespace" if everywhere else f"namespace {server.namespace}"
    shown(found, now, f"No question waits in {scope}.", form, no_headers=no_headers, everywhere=everywhere)
    if form in ("", "wide") and found and sys.stdout.isatty():
        first = min(found, key=_asked)["metadata"]
        echo(
            f"\nAnswer: kubectl agentjobs approve {first['name']} -n {first['namespace']}{where.shown()} (or reject)",
            err=True,
        )


def _asked(job: Mapping[str, Any]) -> str:
    return str(((job.get("status") or {}).get("inputRequest") or {}).get("askedTime") or "")


def shown(
    jobs: list[dict[str, Any]], now: datetime, none: str, form: str, *, no_headers: bool, everywhere: bool
) -> None:
    """Prints the jobs' questions, the oldest first, in the form of ``-o``; ``none`` where there are none."""
    found = sorted((job for job in jobs if job["status"].get("inputRequest")), key=_asked)
    columns = _columns(now, everywhere=everywhere)
    output.print_list("AgentJobList", found, columns, form, no_headers=no_headers, none=none)


def _columns(now: datetime, *, everywhere: bool) -> list[Column]:
    def asked(key: str) -> Any:
        return lambda job: str(job["status"]["inputRequest"].get(key) or "")

    def deadline(job: Mapping[str, Any]) -> str:
        until = job["status"]["inputRequest"].get("expiryTime")
        return output.in_future(until, now) or ("over" if time_of(until) else "")

    return [
        *([Column("NAMESPACE", lambda job: job["metadata"]["namespace"])] if everywhere else []),
        Column("NAME", lambda job: job["metadata"]["name"], shrinks=True),
        Column("TOOL", asked("tool"), shrinks=True),
        Column("ARGUMENTS", asked("arguments"), shrinks=True),
        Column("SINCE", lambda job: output.age(job["status"]["inputRequest"].get("askedTime"), now)),
        Column("DEADLINE", deadline),
        Column("QUEUE", lambda job: str(job["spec"].get("queue", "")), wide=True),
        Column("USER", lambda job: str(job["spec"].get("userID", "")), wide=True),
        Column("HINT", asked("hint"), wide=True, shrinks=True),
    ]


def approve(
    where: Where, name: Name, id: Id = None, reason: Reason = "", payload: Payload = None, yes: o.Yes = False
) -> None:
    """Approve the job's question: its tool is called once, and the agent goes on."""
    _answer(where, name, id, Response("", True, reason, json_of(payload)), yes)


def reject(where: Where, name: Name, id: Id = None, reason: Reason = "", yes: o.Yes = False) -> None:
    """Reject the job's question: its tool is not called. The agent is told so, and goes on to an answer."""
    _answer(where, name, id, Response("", False, reason), yes)


def answer(
    where: Where, name: Name, id: Id = None, reason: Reason = "", payload: Result = "", yes: o.Yes = False
) -> None:
    """Give the job the result of its long-running tool, or the input that it asks for. The agent goes on with it."""
    _answer(where, name, id, Response("", None, reason, given_payload(payload)), yes)


def _answer(where: Where, name: str, id: str | None, said: Response, yes: bool) -> None:
    with ApiServer.open(where) as server:
        found = server.get(JOBS, name)
        question = questions.question_of(found, id)
        if why := without_operator(server, [found]):
            raise Unavailable(f"{why}. Nothing was changed.")
        questions.check_kind(
            question, said, f"kubectl agentjobs answer {name} -n {server.namespace}{where.shown()}"
        )
        confirm_answer(question, approved=said.approved, yes=yes)
        said = replace(said, id=question.id, by=server.user(), at=precise(server.now()))
        server.done(server.patch(JOBS, found, questions.patch_of(found, said)), JOBS, name)
    tell(f"agentjob.agentjobs.dev/{name}", question, approved=said.approved)


def confirm_answer(question: Question, *, approved: bool | None, yes: bool) -> None:
    """Prints the question, and asks the person once more.

    :raises BadInput: there is nobody to ask.
    :raises Unavailable: the person does not want to.
    """
    echo(told(question), err=True)
    confirm({True: "Approve?", False: "Reject?", None: "Answer?"}[approved], yes=yes)


def tell(job: str, question: Question, *, approved: bool | None) -> None:
    """The lines after an answer."""
    word = {True: "approved", False: "rejected", None: "answered"}[approved]
    echo(f"{job} {word}: {output.printable(question.tool)}")
    if question.remaining:
        echo(f"It asks {question.remaining} more: run the command again.", err=True)


def given_payload(text: str) -> Any:
    """The value of ``answer``'s ``--payload``.

    :raises BadInput: there is none, it is no JSON, or null.
    """
    if (payload := json_of(text or None)) is None:
        raise BadInput('--payload: JSON other than null is wanted, such as \'{"status": "approved"}\'.')
    return payload


def json_of(text: str | None) -> Any:
    """The value of ``--payload``.

    :raises BadInput: it is no JSON.
    """
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadInput(f"--payload: JSON is wanted ({error}), such as '{{\"days\": 3}}'.") from None
