"""Runs of benches that are too small to measure anything: whether each still ends with a figure in every row."""

from __future__ import annotations

import re
from typing import NoReturn

import pytest
from benchmarks.peers import install
from benchmarks.report import Options, Table, markdown

TINY = Options(rounds=1, scale=0.0001)
NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


def without_peers(patch: pytest.MonkeyPatch) -> None:
    """Nothing is installed for a test."""

    def missing() -> NoReturn:
        raise install.Missing("tests install nothing")

    for peer in ("graphile", "pgqueuer", "oban", "procrastinate"):
        patch.setattr(install, peer, missing)


def figures(table: Table, column: str) -> list[float]:
    """The first number of each row's cell in that column; cells without one are left out."""
    at = list(table.columns).index(column)
    found = (NUMBER.search(row[at]) for row in table.rows)
    return [float(number[0].replace(",", "")) for number in found if number]


def is_plausible(table: Table, rows: int, *positive: str) -> None:
    """It has so many rows, each with a figure above zero in every one of these columns."""
    assert len(table.rows) == rows, markdown(table)
    for column in positive:
        found = figures(table, column)
        assert len(found) == rows, f"{column}\n{markdown(table)}"
        assert min(found) > 0, f"{column}\n{markdown(table)}"
