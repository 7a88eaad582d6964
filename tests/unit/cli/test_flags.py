"""Commands from typed functions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

from agentjobs.cli.errors import BadInput
from agentjobs.cli.flags import Command, argument, option

seen: dict[str, Any] = {}


def work(
    names: Annotated[list[str] | None, argument(metavar="NAME...", help="Names.")] = None,
    state: Annotated[list[str] | None, option(metavar="STATE", help="50 % of them; may be repeated.")] = None,
    count: Annotated[int, option("--count", "-c", metavar="N", min=1, max=9)] = 5,
    file: Annotated[Path | None, option("--file", "-f", metavar="FILE")] = None,
    all_: Annotated[bool, option("--all", help="All.")] = False,
    dry_run: Annotated[bool, option()] = False,
    because: Annotated[str, option(metavar="TEXT")] = "",
) -> None:
    """Do the work.

    \b
    kubectl agentjobs work a
    kubectl agentjobs work b
    """
    seen.clear()
    seen.update(names=names, state=state, count=count, file=file, all=all_, dry_run=dry_run, because=because)


def one(name: Annotated[str, argument(metavar="NAME")]) -> None:
    """One."""
    seen.clear()
    seen["name"] = name


WORK, ONE = Command("kubectl agentjobs work", work), Command("kubectl agentjobs one", one)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], {"names": [], "count": 5}),
        (["a", "b"], {"names": ["a", "b"]}),
        (["a", "--all", "b", "-c", "3", "c"], {"names": ["a", "b", "c"], "all": True, "count": 3}),
        (["--state=A", "--state", "B", "a"], {"state": ["A", "B"], "names": ["a"]}),
        (["-f", "-", "--dry-run"], {"file": Path("-"), "dry_run": True}),
        (["-c3", "--because=-x"], {"count": 3, "because": "-x"}),
        (["--because", "two words", "--", "a"], {"because": "two words", "names": ["a"]}),
        (["--because", "- a list"], {"because": "- a list"}),
    ],
)
def test_flags_and_arguments_stand_in_any_order(arguments: list[str], found: dict[str, Any]) -> None:
    WORK(arguments)
    assert {**seen, "names": seen["names"] or [], **found} == {**seen, "names": seen["names"] or []}


@pytest.mark.parametrize(
    ("command", "arguments", "told"),
    [
        (WORK, ["--stat=A"], "there is no option --stat (did you mean --state?); see: kubectl agentjobs work --help"),
        (WORK, ["-x"], "there is no option -x; see"),
        (WORK, ["--state"], "one that begins with - is given as --flag=VALUE"),
        (WORK, ["-c", "10"], "wants a number from 1 to 9, got 10"),
        (WORK, ["-c", "many"], "wants a number, got 'many'"),
        (ONE, [], "the following arguments are required: NAME; see: kubectl agentjobs one --help"),
        (ONE, ["a", "b"], "'b' is one argument too many; see"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_in_one_line_with_the_next_command(
    command: Command, arguments: list[str], told: str
) -> None:
    with pytest.raises(BadInput) as raised:
        command(arguments)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_help_keeps_examples_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        WORK(["--help"])
    assert raised.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith("usage: kubectl agentjobs work [NAME...] [OPTIONS]\n\nDo the work.\n")
    assert "kubectl agentjobs work a\nkubectl agentjobs work b\n" in told
    assert "  -c, --count N\n" in told
    assert "50 % of them" in told


@dataclass(frozen=True, slots=True)
class Which:
    """Flags that several commands have together."""

    state: Annotated[list[str] | None, option(metavar="STATE", help="In this state.")] = None
    all_: Annotated[bool, option("--all", help="All.")] = False


def together(
    names: Annotated[list[str] | None, argument(metavar="NAME...", help="Names.")] = None,
    *,
    which: Which,
    because: Annotated[str, option(metavar="TEXT")] = "",
) -> None:
    """Do the work."""
    seen.clear()
    seen.update(names=names, which=which, because=because)


def test_a_dataclass_of_flags_stands_for_them_in_its_place() -> None:
    command = Command("kubectl agentjobs work", together)
    assert [one.name for one in command.parameters] == ["names", "state", "all_", "because"]
    command(["a", "--state", "A", "--because", "x"])
    assert seen == {"names": ["a"], "which": Which(["A"]), "because": "x"}
    with pytest.raises(BadInput, match="did you mean --state"):
        command(["--stat", "A"])
