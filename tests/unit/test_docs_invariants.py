"""docs/invariants.md names, for each invariant and hard case, the tests that protect its rule.

``UPDATE_GOLDEN=1`` writes the links of the page anew, where test files were moved or renamed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "invariants.md"
INVARIANTS = (*range(1, 15), 16, 20)
NUMBERS = [*(f"Invariant {number}" for number in INVARIANTS), *(f"H{number}" for number in range(1, 35))]
LINE = re.compile(r"^- \[(\w+)\]\(\.\./(tests/[\w/]+\.py)\) `(test_\w+)`$", re.MULTILINE)


@cache
def files_by_test() -> dict[str, list[Path]]:
    """The files in which each test function stands, by the function's name."""
    found: dict[str, list[Path]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for match in re.finditer(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE):
            found.setdefault(match[1], []).append(path.relative_to(ROOT))
    return found


def renewed(page: str) -> str:
    """The page with each test linked to the file in which it stands now; unknown tests stay as they are."""

    def link(match: re.Match[str]) -> str:
        paths = files_by_test().get(match[3], [])
        path = Path(match[2]) if Path(match[2]) in paths or not paths else paths[0]
        return f"- [{path.stem}](../{path}) `{match[3]}`"

    return LINE.sub(link, page)


def sections() -> Iterator[tuple[str, str]]:
    """(number, text) of each rule of the page."""
    for part in PAGE.read_text().split("\n### ")[1:]:
        number, _, text = part.partition(": ")
        yield number, re.split(r"^## ", text, flags=re.MULTILINE)[0]


def carries(test: str, number: str) -> bool:
    """True if the test's name has the number: ``test_invariant_4_5_…`` has 4 and 5, ``test_…_h9_…`` has H9."""
    if number.startswith("H"):
        return f"_{number.lower()}_" in test
    names = re.search(r"invariant((?:_\d+)+)_", test)
    return names is not None and number.removeprefix("Invariant ") in names[1].split("_")


def test_each_number_has_its_rule_once_and_in_order() -> None:
    assert [number for number, _ in sections()] == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_each_number_names_a_test_that_carries_it(number: str) -> None:
    text = dict(sections())[number]
    tests = [match[3] for match in LINE.finditer(text)]
    assert any(carries(test, number) for test in tests), (
        f"docs/invariants.md: {number} names no test with its number"
    )
    assert len(text.partition("\n- [")[0].split()) >= 15, f"docs/invariants.md: {number} has no rule"


def test_each_named_test_stands_in_the_linked_file() -> None:
    page = PAGE.read_text()
    if os.environ.get("UPDATE_GOLDEN") == "1":
        PAGE.write_text(page := renewed(page))
    for match in LINE.finditer(page):
        paths = files_by_test().get(match[3], [])
        assert Path(match[2]) in paths, (
            f"docs/invariants.md: {match[3]} is in {[str(path) for path in paths] or 'no file'}, not in {match[2]}; "
            "renew the links: UPDATE_GOLDEN=1 pytest tests/unit/test_docs_invariants.py"
        )
        assert match[1] == Path(match[2]).stem


def test_no_line_of_a_list_escapes_the_pattern() -> None:
    listed = [line for line in PAGE.read_text().splitlines() if line.startswith("- ")]
    assert listed == [match[0] for match in LINE.finditer(PAGE.read_text())]
