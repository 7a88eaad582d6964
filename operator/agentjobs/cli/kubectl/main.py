"""The program ``kubectl-agentjobs``. It starts for each command: so it imports the module of one verb, and no API model,
kopf or ADK."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from types import FrameType

from agentjobs.cli.errors import (
    FAILURE_EXIT_STATUS,
    INTERRUPTED_EXIT_STATUS,
    USAGE_EXIT_STATUS,
    BadInput,
    Unavailable,
)
from agentjobs.cli.flags import Command
from agentjobs.cli.kubectl.output import printable
from agentjobs.cli.kubectl.verb_table import VERBS, Verb, help_text, suggestion
from agentjobs.cli.kubectl.where import verb_first, with_where

PROGRAM = "kubectl agentjobs"


def command_of(verb: Verb) -> Command:
    """The command of a verb."""
    module = importlib.import_module(f"agentjobs.cli.kubectl.verbs.{verb.module}")
    function = getattr(module, verb.function)
    return Command(f"{PROGRAM} {verb.name}", with_where(function) if verb.cluster else function)


def run(arguments: list[str]) -> None:
    """Runs the command line.

    :raises BadInput: there is no such verb.
    """
    arguments = verb_first(arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        if len(arguments) > 1 and arguments[0] == "help" and arguments[1] in VERBS:
            arguments = [arguments[1], "--help"]
        else:
            print(help_text())  # noqa: T201
            return
    if arguments[0] == "--version":
        from agentjobs import __version__

        print(f"{PROGRAM} {__version__}")  # noqa: T201
        return
    verb = VERBS.get(arguments[0])
    if verb is None:
        raise BadInput(
            f"{arguments[0][:40]!r} is no command{suggestion(arguments[0])}; see: {PROGRAM} --help"
        )
    command_of(verb)(arguments[1:])


def main() -> None:
    """Runs the command. Errors that the user can correct are printed in one line, without a traceback."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminated)
    try:
        run(sys.argv[1:])
        sys.stdout.flush()
    except (BadInput, Unavailable) as problem:
        print(f"error: {printable(str(problem))}", file=sys.stderr)  # noqa: T201
        sys.exit(USAGE_EXIT_STATUS if isinstance(problem, BadInput) else FAILURE_EXIT_STATUS)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_EXIT_STATUS)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILURE_EXIT_STATUS)


def _terminated(number: int, frame: FrameType | None) -> None:
    """Ends by an exception, so that the proxy ends, too."""
    sys.exit(128 + number)
