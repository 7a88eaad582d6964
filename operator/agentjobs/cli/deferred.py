"""Commands whose modules are imported when they run, not for ``--help`` of the program."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

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
    """A command that is known by its name and its line of help until it runs."""

    def __init__(self, name: str) -> None:
        self._module, self._function, summary = DATABASE[name]
        super().__init__(name, short_help=summary, help=summary, rich_markup_mode=None)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        module = importlib.import_module(f"agentjobs.cli.database.{self._module}")
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        app.command()(getattr(module, self._function))
        return typer.main.get_command(app).make_context(info_name, args, parent, **extra)


class WithDatabase(TyperGroup):
    """The program's commands, and those on a database."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *DATABASE]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return Deferred(cmd_name) if cmd_name in DATABASE else super().get_command(ctx, cmd_name)
