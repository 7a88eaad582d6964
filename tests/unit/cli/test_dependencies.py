"""docs/dependencies.md and pyproject.toml name the same packages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def installed_by(requirements: list[str]) -> set[str]:
    """The packages of these lines; extras of our own are told under their own heading."""
    names = {re.split(r"[\[<>=!; ]", line, maxsplit=1)[0] for line in requirements}
    return names - {"agentjobs"}


def told() -> dict[str, set[str]]:
    """The packages of each table of the page, by its heading; each with a reason."""
    found: dict[str, set[str]] = {}
    heading = ""
    for line in (ROOT / "docs" / "dependencies.md").read_text().splitlines():
        if line.startswith("## "):
            heading = line[3:].strip()
        elif match := re.fullmatch(r"\| ([\w.-]+) \| (.{10,}) \|", line):
            found.setdefault(heading, set()).add(match[1])
    return found


def test_every_dependency_has_its_reason_on_the_page_and_nothing_else_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {"Always": installed_by(project["dependencies"])} | {
        extra: installed_by(lines) for extra, lines in project["optional-dependencies"].items()
    }
    assert told() == wanted


def test_every_dependency_is_bounded_above_except_tools_and_certificates() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(r for e in project["optional-dependencies"].values() for r in e)]
    unbounded = {
        line for line in lines if "<" not in line and "==" not in line and not line.startswith("agentjobs[")
    }
    assert unbounded == {"cryptography>=44", "types-PyYAML"}


def test_the_operator_installs_no_adk() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert not installed_by(extras["operator"]) & {"google-adk", "sqlalchemy", "asyncpg"}
