"""What a bench hands back, and how it looks in Markdown and on a terminal (the same)."""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Options:
    """What a run was asked for. ``scale`` shrinks every count (a try-out: figures of less than 1 mean little)."""

    rounds: int = 3
    scale: float = 1.0
    full: bool = False

    def count(self, n: int, least: int = 1) -> int:
        return max(least, round(n * self.scale))


@dataclass(frozen=True, slots=True)
class Table:
    """The figures of one bench. ``goal`` says what was aimed at, ``notes`` what was left out and why."""

    title: str
    command: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    goal: str = ""
    notes: Sequence[str] = field(default=())


def markdown(table: Table) -> str:
    widths = [
        max(len(str(row[i])) for row in (table.columns, *table.rows)) for i in range(len(table.columns))
    ]

    def line(cells: Sequence[str]) -> str:
        return (
            "| "
            + " | ".join(str(cell).ljust(width) for cell, width in zip(cells, widths, strict=True))
            + " |"
        )

    parts = [f"### {table.title}", "", f"`{table.command}`" + (f". {table.goal}" if table.goal else ""), ""]
    parts += [line(table.columns), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
    parts += [line(row) for row in table.rows]
    if table.notes:
        parts += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(parts) + "\n"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def number(value: float) -> str:
    """Three digits that mean something, thousands with a comma."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def spread(values: Sequence[float]) -> str:
    """The median, and the range where there is more than one value."""
    if not values:
        return "–"
    if len(values) == 1:
        return number(values[0])
    return f"{number(median(values))} ({number(min(values))}–{number(max(values))})"


def share(value: float) -> str:
    return f"{value * 100:.0f} %"


def main(run: Callable[[Options], list[Table]], doc: str | None) -> None:
    """``python -m benchmarks.<name>``: one bench alone. What ``run`` raises ends it, before any table is printed."""
    parser = argparse.ArgumentParser(description=doc)
    add_options(parser)
    for table in run(options(parser.parse_args())):
        print(markdown(table))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="how often each measurement is repeated")
    parser.add_argument("--full", action="store_true", help="the large counts (1,000,000 jobs waiting)")
    parser.add_argument("--scale", type=float, default=1.0, help="shrink every count, to try things out")


def options(args: argparse.Namespace) -> Options:
    return Options(args.rounds, args.scale, args.full)
