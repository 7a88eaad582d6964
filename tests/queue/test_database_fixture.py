"""The databases that tests get."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import psycopg

TABLES = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'agentjobs'"


def count(dsn: str, query: str = TABLES) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def test_a_test_gets_a_migrated_database_of_its_own(
    dsn: str, new_database: Callable[[], AbstractContextManager[str]]
) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE agentjobs.mine ()")
    with new_database() as other:
        assert count(dsn) == count(other) + 1 > 5


def test_an_empty_database_has_no_schema_yet(empty_dsn: str) -> None:
    assert count(empty_dsn) == 0
