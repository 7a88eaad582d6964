"""Commands whose modules are imported when they run, not for ``--help`` of the program."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from typer.core import TyperCommand, TyperGroup

from agentjobs.cli.errors import FAILURE_EXIT_STATUS, INTERRUPTED_EXIT_STATUS
from agentjobs.cli.flags import Command

DATABASE: Mapping[str, tuple[str, str, str]] = {
    "list": ("look", "list_jobs", "List the jobs of a database."),
    "why": ("look", "why", "Tell why a job is where it is."),
    "result": ("look", "result", "Print a job's whole answer."),
    "logs": ("look", "logs", "Print what a job's runs have printed."),
    "retry": ("act", "retry", "Run failed or cancelled jobs once more."),
    "cancel": ("act", "cancel", "End jobs."),
    "suspend": ("act", "suspend", "Keep jobs from starting; stop running ones."),
    "resume": ("act", "resume", "Let suspended jobs go on."),
    "wait": ("follow", "wait", "Wait for jobs; the exit status is theirs."),
    "transcript": ("follow", "transcript", "Print a job's conversation; -f follows."),
    "inbox": ("people", "inbox", "List the questions that wait for a person."),
    "approve": ("people", "approve", "Approve a tool's call."),
    "reject": ("people", "reject", "Reject a tool's call."),
    "answer": ("people", "answer", "Give a tool's result, or an input."),
    "top": ("follow", "top", "Show queues and running jobs, live."),
    "queues": ("board", "queues", "List queues: waiting, running, slots, limit, pause."),
    "pause": ("board", "pause", "Pause a queue."),
    "unpause": ("board", "unpause", "Let a paused queue go on."),
    "workers": ("board", "workers", "List the live workers."),
    "models": ("board", "models", "List models that fail, and their breakers."),
}
"""The commands on a database: name, module below ``agentjobs.cli.database``, function there, line of help."""


# Contexts are Any here: newer releases of typer have a click of their own, older ones use the package.


class Deferred(TyperCommand):
    """A command that is known by its name and its line of help until it runs. It reads its arguments itself (flags.py), as the
    plugin's verbs do."""

    def __init__(self, name: str) -> None:
        settings = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
        super().__init__(
            name,
            short_help=DATABASE[name][2],
            help=DATABASE[name][2],
            rich_markup_mode=None,
            context_settings=settings,
            add_help_option=False,
        )

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = args
        return args

    def invoke(self, ctx: Any) -> None:
        try:
            command_of(str(self.name))(ctx.args)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED_EXIT_STATUS)
        except BrokenPipeError:  # the reader of a pipe has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(FAILURE_EXIT_STATUS)


def command_of(name: str) -> Command:
    """The command on a database."""
    module, function, _ = DATABASE[name]
    found = importlib.import_module(f"agentjobs.cli.database.{module}")
    return Command(f"agentjobs {name}", getattr(found, function))


class WithDatabase(TyperGroup):
    """The program's commands, and those on a database."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *DATABASE]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return Deferred(cmd_name) if cmd_name in DATABASE else super().get_command(ctx, cmd_name)
