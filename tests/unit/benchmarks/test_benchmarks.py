"""The bench that needs nothing but Python still runs, and has a figure in every row; the figures say nothing here."""

from __future__ import annotations

from benchmarks import hollow_scheduler

from benches import TINY, is_plausible


def test_hollow_scheduler() -> None:
    (table,) = hollow_scheduler.run(TINY)
    is_plausible(table, 3, "seconds", "CPU s", "the loop's longest turn, CPU ms")
