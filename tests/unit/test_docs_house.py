"""docs/design.md, "The house": the folders and files that it names are there, and no folder is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "operator" / "agentjobs"


def listed() -> Iterator[str]:
    """Paths of the tree, relative to the package; two spaces are one level."""
    house = (ROOT / "docs" / "design.md").read_text().partition("## The house")[2]
    tree = re.findall(r"```\n(.*?)```", house, re.DOTALL)[0].partition("operator/agentjobs/\n")[2]
    above: list[str] = []
    for line in tree.splitlines():
        if not line.startswith(" "):
            break  # what follows is beside the package
        level = (len(line) - len(line.lstrip())) // 2 - 1
        above = [*above[:level], line.split()[0].rstrip("/")]
        yield "/".join(above)


def signposts() -> Iterator[str]:
    """Paths of the table "Looking for"."""
    house = (ROOT / "docs" / "design.md").read_text().partition("| Looking for |")[2].partition("\n\n")[0]
    yield from re.findall(r"`([\w/]+\.\w+)`", house)


@pytest.mark.parametrize("path", sorted({*listed(), *signposts()}))
def test_what_the_design_names_is_there(path: str) -> None:
    assert (PACKAGE / path).exists(), f"docs/design.md names operator/agentjobs/{path}"


def test_each_room_of_the_package_is_in_the_design() -> None:
    rooms = {
        path.parent.relative_to(PACKAGE).as_posix()
        for pattern in (
            "*/__init__.py",
            "agents/*/__init__.py",
            "worker/*/__init__.py",
            "controller/*/__init__.py",
        )
        for path in PACKAGE.glob(pattern)
    }
    assert len(rooms) >= 18
    assert rooms <= set(listed()), f"docs/design.md lacks {sorted(rooms - set(listed()))}"
