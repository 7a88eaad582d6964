"""The SQL that the pages of docs/ show runs on the schema as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

DOCS = Path(__file__).parents[2] / "docs"
PLACEHOLDERS = {
    "'UID'": f"'{UUID(int=1)}'",
    "'OLD'": f"'{UUID(int=2)}'",
    "uid = '…'": f"uid = '{UUID(int=1)}'",
    "MAX": "1",
    "…": "",
}
"""What stands in the pages for a value of the reader's."""


def statements(text: str) -> Iterator[str]:
    """SQL of a page: inline code that begins with ``select``, quoted ``psql`` arguments, and blocks of SQL."""
    for block in re.findall(r"```sql\n(.*?)```", text, re.DOTALL):
        yield from (part for part in re.sub(r"--[^\n]*", "", block).split(";") if part.strip())
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for command in re.findall(r"psql .*?(['\"])((?:select|update) .+?)\1", text):
        yield command[1]
    for code in re.findall(r"`(select [^`]+)`", text):
        yield " ".join(code.split())


FOUND = [
    (page.name, statement)
    for page in sorted(DOCS.glob("*.md"))
    for statement in statements(page.read_text())
    if "{" not in statement  # an example's payload
]


@pytest.mark.parametrize(
    ("page", "statement"), FOUND, ids=[f"{page}-{i}" for i, (page, _) in enumerate(FOUND)]
)
def test_sql_of_the_docs_runs(dsn: str, page: str, statement: str) -> None:
    for placeholder, value in PLACEHOLDERS.items():
        statement = statement.replace(placeholder, value)
    with psycopg.connect(dsn) as connection:
        connection.execute(statement.encode())
        connection.rollback()


def test_the_pages_show_sql() -> None:
    assert {"queue.md", "failure-modes.md", "model-health.md", "production.md"} <= {page for page, _ in FOUND}
