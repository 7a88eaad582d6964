"""What the pages promise is there: proofs in the feature table, links, settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentjobs.cli.reference import marks, renewed

ROOT = Path(__file__).parents[3]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.md")]


def proofs() -> Iterator[tuple[str, str]]:
    """(file, test) of each row of the README's feature table that names one."""
    for line in (ROOT / "README.md").read_text().splitlines():
        if match := re.search(r"\[\w+\]\((tests/[\w/]+\.py)\) `(test_\w+)` \|$", line):
            yield match[1], match[2]


@pytest.mark.parametrize(("path", "test"), list(proofs()), ids=lambda value: Path(value).stem)
def test_a_feature_in_the_readme_has_the_test_that_proves_it(path: str, test: str) -> None:
    assert re.search(rf"^(async )?def {test}\(", (ROOT / path).read_text(), re.MULTILINE), (
        f"README.md says that {path} has {test}"
    )


def test_a_feature_without_a_proof_is_said_not_to_be_there() -> None:
    table = (ROOT / "README.md").read_text().partition("## What it does")[2].partition("## Read on")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 20
    for row in rows:
        assert "`test_" in row or re.search(r"\*[^*]+ yet\* \|$", row), row


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_the_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize(
    ("page", "tables"),
    [("index.md", ["settings"]), ("metrics.md", ["metrics of the operator", "metrics of workers"])],
)
def test_the_tables_of_settings_and_metrics_are_those_of_the_definitions(
    page: str, tables: list[str]
) -> None:
    text = (ROOT / "docs" / page).read_text()
    assert all(mark in text for name in tables for mark in marks(name))
    assert renewed(text) == text, f"run: python -m agentjobs.cli.reference docs/{page}"
