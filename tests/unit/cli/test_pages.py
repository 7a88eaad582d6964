"""What the pages promise is there: proofs in the feature table, links, settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentjobs.cli.reference import marks, renewed

ROOT = Path(__file__).parents[3]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.md")]


FEATURES = ROOT / "docs" / "features.md"


def proofs() -> Iterator[tuple[str, str]]:
    """(file, test) of each row of the feature table that names one."""
    for line in FEATURES.read_text().splitlines():
        if match := re.search(r"\[\w+\]\(\.\./(tests/[\w/]+\.py)\) `(test_\w+)` \|$", line):
            yield match[1], match[2]


def rows_of_features(page: Path) -> list[str]:
    table = page.read_text().partition("| Feature |")[2].partition("\n\n")[0]
    return [line for line in table.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize(("path", "test"), list(proofs()), ids=lambda value: Path(value).stem)
def test_a_feature_of_the_table_has_the_test_that_proves_it(path: str, test: str) -> None:
    assert re.search(rf"^(async )?def {test}\(", (ROOT / path).read_text(), re.MULTILINE), (
        f"{FEATURES.name} says that {path} has {test}"
    )


def test_a_feature_without_a_proof_is_said_not_to_be_there() -> None:
    rows = rows_of_features(FEATURES)
    assert len(rows) >= 36
    for row in rows:
        assert "`test_" in row or re.search(r"\*[^*]+ yet\* \|$", row), row


def test_each_feature_of_the_readme_is_one_of_those_with_a_proof() -> None:
    proved = {row.split(" | ")[0] for row in rows_of_features(FEATURES)}
    shown = {row.split(" | ")[0] for row in rows_of_features(ROOT / "README.md")}
    assert len(shown) == 10
    assert shown <= proved


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_into_a_page_names_one_of_its_headings(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", text):
        other = page.parent / target if target else page
        if "://" not in target and other.suffix == ".md":
            assert anchor in anchors(other), f"{page.name} links to {target}#{anchor}"


def test_every_page_of_the_docs_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name})" in index, (
            f"docs/index.md does not name {page.name}"
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_the_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize(
    ("page", "tables"),
    [
        ("settings.md", ["settings"]),
        ("metrics.md", ["metrics of the operator", "metrics of workers"]),
        ("on-call.md", ["reasons"]),
    ],
)
def test_the_generated_tables_are_those_of_the_definitions(page: str, tables: list[str]) -> None:
    text = (ROOT / "docs" / page).read_text()
    assert all(mark in text for name in tables for mark in marks(name))
    assert renewed(text) == text, f"run: python -m agentjobs.cli.reference docs/{page}"
