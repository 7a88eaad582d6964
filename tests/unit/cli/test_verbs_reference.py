"""docs/cli-reference.md is what the commands say."""

from __future__ import annotations

from pathlib import Path

from agentjobs.cli.deferred import DATABASE
from agentjobs.cli.deferred import command_of as database_command
from agentjobs.cli.kubectl.main import command_of
from agentjobs.cli.kubectl.verb_table import VERBS
from agentjobs.cli.verbs_reference import PAGE, reference

ROOT = Path(__file__).parents[3]


def test_the_page_is_generated_from_the_commands() -> None:
    assert (ROOT / PAGE).read_text() == reference(), "run: make crds"


def test_each_verb_and_option_says_what_it_does() -> None:
    commands = [*map(command_of, VERBS.values()), *map(database_command, DATABASE)]
    for command in commands:
        assert command.help, command.program
        for one in command.parameters:
            assert one.info.help.endswith((".", "...")), (command.program, one.name)
            assert not one.takes_value or one.info.metavar, (command.program, one.name)


def test_the_explanation_names_every_verb() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    missing = [name for name in (*VERBS, *DATABASE) if f"`{name}" not in page]
    assert not missing
