"""The program ``kubectl-agentjobs``. It starts for each command: so it imports no API model, kopf or ADK."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from agentjobs.api.input_response import Response
from agentjobs.cli.errors import FAILURE_EXIT_STATUS, USAGE_EXIT_STATUS, BadInput, Unavailable, need_extra
from agentjobs.cli.kubectl import questions
from agentjobs.cli.questions import told

app = typer.Typer(
    name="kubectl agentjobs",
    help="Answer the questions of agents' tools from the command line.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The AgentJob that waits for input.")]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Its namespace. Default: the context's.")
]
Context = Annotated[str | None, typer.Option(help="The kubeconfig's context to use.")]
Kubeconfig = Annotated[
    Path | None, typer.Option(help="Path of the kubeconfig. Default: $KUBECONFIG, else ~/.kube/config.")
]
Id = Annotated[str | None, typer.Option("--id", help="Answer this question only (status.inputRequest.id).")]
Reason = Annotated[str, typer.Option(help="The reason; it is kept with the answer and given to the tool.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Payload = Annotated[
    str | None, typer.Option(help="The filled-in payload for the tool, as JSON. Default: the tool's own.")
]


@app.callback()
def _group() -> None:
    """Makes typer want the command's name, which it would not with a single command."""


@app.command()
def approve(
    name: Name,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    id: Id = None,
    reason: Reason = "",
    payload: Payload = None,
    yes: Yes = False,
) -> None:
    """Approve the job's question: its tool is called once, and the agent goes on."""
    _answer(name, namespace, context, kubeconfig, id, Response("", True, reason, _json(payload)), yes)


@app.command()
def reject(
    name: Name,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    id: Id = None,
    reason: Reason = "",
    yes: Yes = False,
) -> None:
    """Reject the job's question: its tool is not called. The agent is told so, and goes on to an answer."""
    _answer(name, namespace, context, kubeconfig, id, Response("", False, reason), yes)


def _answer(
    name: str,
    namespace: str | None,
    context: str | None,
    kubeconfig: Path | None,
    id: str | None,
    said: Response,
    yes: bool,
) -> None:
    need_extra("kubectl", "kubernetes", "This command")
    from agentjobs.cli.kubectl.cluster import Cluster

    cluster = Cluster.of(kubeconfig, context, namespace)
    found = cluster.agent_job(name)
    question = questions.question_of(found, id)
    typer.echo(told(question), err=True)
    word = "Approve" if said.approved else "Reject"
    if not yes:
        if not sys.stdin.isatty():
            raise BadInput("standard input is no terminal, so nobody can confirm: add --yes.")
        if not typer.confirm(f"{word}?", err=True):
            raise Unavailable("nothing was changed.")
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    said = replace(said, id=question.id, by=cluster.user(), at=now)
    cluster.annotate(found, questions.patch_of(found, said))
    typer.echo(
        f"agentjob.agentjobs.dev/{name} {word.lower()}{'d' if said.approved else 'ed'}: {question.tool}"
    )
    if question.remaining:
        typer.echo(f"It asks {question.remaining} more: run the command again.", err=True)


def _json(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadInput(f"--payload: JSON is wanted ({error}), such as '{{\"days\": 3}}'.") from None


def main() -> None:
    """Runs the command. Errors that the user can correct are printed in one line, without a traceback."""
    try:
        app()
    except (BadInput, Unavailable) as problem:
        print(f"error: {problem}", file=sys.stderr)  # noqa: T201
        sys.exit(USAGE_EXIT_STATUS if isinstance(problem, BadInput) else FAILURE_EXIT_STATUS)
