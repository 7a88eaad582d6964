"""The commands of the pages that need nothing but Postgres run as they stand there, and print what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from doc_blocks import ROOT, Command
from doc_rules import page_commands, shown
from local_runs import left_over, run

pytestmark = pytest.mark.timeout(400)  # whole runs on a busy machine
LOCAL = [command for command in page_commands() if command.words[:2] == ("agentjobs", "local")]
NOT_HERE = ("examples/schedules/", "examples/gemini/")
"""A schedule fires until Ctrl-C (tests/queue/test_cli_local_schedules.py has them); Gemini needs a key."""


def runs_here(command: Command) -> bool:
    """Whether it names examples of this repository: an agent's folder is the reader's own."""
    examples = [word for word in command.words if word.startswith("examples/")]
    return bool(examples) and not any(word.startswith(NOT_HERE) for word in examples)


DISTINCT = sorted({command.words for command in LOCAL if runs_here(command)})


@pytest.mark.parametrize("words", DISTINCT, ids=" ".join)
def test_a_command_of_the_pages_on_the_examples_completes(words: tuple[str, ...], tmp_path: Path) -> None:
    given = words[2:] if "--yes" in words else (*words[2:], "--yes")  # nobody is at a terminal
    status, answers, told = run(*given, cwd=ROOT, temporary=tmp_path)
    assert status == 0, told
    assert answers.strip()
    assert left_over(tmp_path) == []


def test_the_readmes_first_command_prints_what_the_readme_shows(tmp_path: Path) -> None:
    (words,) = [
        command.words for command in LOCAL if command.where.startswith("README.md") and runs_here(command)
    ]
    status, answers, told = run(*words[2:], cwd=ROOT, temporary=tmp_path)
    assert status == 0, told
    assert answers.rstrip("\n") == shown("README.md", "greeter:")
