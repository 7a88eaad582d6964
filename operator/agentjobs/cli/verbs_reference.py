"""docs/cli-reference.md, generated from the commands themselves.

``python -m agentjobs.cli.verbs_reference`` writes the page; a test compares it.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from agentjobs.cli.deferred import DATABASE
from agentjobs.cli.deferred import command_of as database_command
from agentjobs.cli.flags import Command, Parameter, is_block
from agentjobs.cli.kubectl.main import command_of
from agentjobs.cli.kubectl.verb_table import VERBS
from agentjobs.cli.kubectl.where import FLAGS

PAGE = "docs/cli-reference.md"
DATABASE_FLAGS = ("config", "database_url_file")


def reference() -> str:
    """The page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "# Every verb and option of kubectl agentjobs\n"
    yield "    kubectl agentjobs VERB --help         # the same in a terminal"
    yield "    agentjobs VERB --help                 # on a database, without a cluster\n"
    yield "Generated from the commands by `make crds`. What they are for, with examples: [cli.md](cli.md).\n"
    yield "`-o json`, `yaml`, `name` and `jsonpath=TEMPLATE` are kubectl's own forms. A TIME is a duration back, such as `90s`,"
    yield "`10m`, `1h30m` or `2d`, or RFC 3339. Options and names stand in any order. Exit status 2: the command line is wrong.\n"
    first = command_of(VERBS["list"])
    yield "## Options of every verb\n"
    yield _table([one for one in first.parameters if one.name in FLAGS])
    yield "They may stand before the verb, too: `kubectl agentjobs -n team list`.\n"
    for section in dict.fromkeys(verb.section for verb in VERBS.values()):
        yield f"## {section}\n"
        for verb in VERBS.values():
            if verb.section == section:
                yield from _command(command_of(verb), FLAGS if verb.cluster else ())
    yield "## On a database, without a cluster\n"
    yield "Each of these also has:\n"
    listing = database_command("list")
    yield _table([one for one in listing.parameters if one.name in DATABASE_FLAGS])
    for name in DATABASE:
        yield from _command(database_command(name), DATABASE_FLAGS)


def _command(command: Command, without: Collection[str]) -> Iterator[str]:
    yield f"### {command.program}\n"
    yield f"    {command.usage}\n"
    for paragraph in command.help.split("\n\n"):
        lines = paragraph.splitlines()
        if is_block(paragraph) and lines[0].startswith(("kubectl ", "agentjobs ")):
            yield "\n".join(f"    {line}" for line in lines) + "\n"
        elif is_block(paragraph) and len(lines) > 1:
            yield "\n".join(f"- {line}" for line in lines) + "\n"
        else:
            yield " ".join(lines) + "\n"
    if shown := [one for one in command.parameters if one.name not in without]:
        yield _table(shown)


def _table(parameters: list[Parameter]) -> str:
    rows = ["| | |", "|---|---|"]
    for one in parameters:
        names = ", ".join(f"`{flag}`" for flag in sorted(one.flags, key=len)) or f"`{one.info.metavar}`"
        if one.flags and one.takes_value:
            names += f" {one.info.metavar}"
        default = f" Default: `{one.default}`." if one.default not in (None, "", False) else ""
        rows.append(f"| {names} | {one.info.help}{default} |".replace("<", "\\<"))
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else PAGE)
    path.write_text(reference(), encoding="utf-8")
    sys.stdout.write(f"{path}\n")
