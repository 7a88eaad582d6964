"""The command ``agentjobs``.

Each subcommand imports its packages when it runs, so that ``--help`` stays quick.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from agentjobs import __version__
from agentjobs.cli.commands import crds, local, migrate, operator, sessions, web, withdraw, worker
from agentjobs.cli.deferred import WithDatabase
from agentjobs.cli.entry import leave
from agentjobs.cli.errors import FAILURE_EXIT_STATUS, USAGE_EXIT_STATUS, BadInput, Unavailable
from agentjobs.cli.printable import printable, printable_lines

app = typer.Typer(
    name="agentjobs",
    cls=WithDatabase,
    help="Durable background runs of AI agents (Google ADK), with nothing but Postgres underneath.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's help costs 0.4 s of CPU
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("local", short_help="Run jobs here, with no cluster.")(local.local)
app.command("worker", short_help="Claim jobs and run their agents.")(worker.worker)
app.command("operator", short_help="Carry AgentJobs from Kubernetes to the queue.")(operator.operator)
app.command("web", short_help="Serve the runs API.")(web.web)
app.add_typer(migrate.app, name="migrate", short_help="Bring the database's schema up or down.")
app.add_typer(sessions.app, name="sessions", short_help="Look after stored conversations.")
app.command("withdraw", short_help="Take the runs API out of the cluster.")(withdraw.withdraw)
app.command("crds", short_help="Print the CRDs.")(crds.crds)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"agentjobs {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Options before a subcommand. The callback of ``--version`` does all there is to do for it."""
    if context.invoked_subcommand != "local" and signal.getsignal(signal.SIGINT) is leave:
        # The command has its own way with a KeyboardInterrupt. A local run has none: it listens itself in the end.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> None:
    """Runs the command line.

    Errors that the user can correct are printed in one line, without a traceback.
    """
    try:
        app()
    except BadInput as problem:
        print(f"agentjobs: {printable_lines(str(problem))}", file=sys.stderr)  # noqa: T201
        if (settings_sources := sys.modules.get("agentjobs.cli.settings_sources")) is not None:
            # the missing setting may be set under a misspelt name
            for warning in settings_sources.misspelt_variables(os.environ):
                print(f"agentjobs: {printable(warning)}", file=sys.stderr)  # noqa: T201
        sys.exit(USAGE_EXIT_STATUS)
    except Unavailable as problem:
        print(f"agentjobs: {printable_lines(str(problem))}", file=sys.stderr)  # noqa: T201
        sys.exit(FAILURE_EXIT_STATUS)
