"""What a test run says about the time that it took."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import durations
from durations import LONG_SECONDS, Seconds, describe, ends, now, read, spans, write

BURN = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
TESTS = {
    "tests/queue/test_new.py::test_a": Seconds(40.0, 1.0, 30.0),
    "tests/queue/test_new.py::test_b[x\ty]": Seconds(LONG_SECONDS, 1.0, 2.0),
    "tests/unit/test_c.py::test_d": Seconds(1.0, 1.0, 0.0),
}


def test_the_work_of_a_process_that_has_ended_is_counted_below() -> None:
    before = now()
    subprocess.run([sys.executable, "-c", BURN], check=True)
    took = now() - before
    assert took.below >= 0.25
    assert took.wall >= 0.25
    assert took.own < took.wall


def test_the_work_of_a_process_that_runs_still_is_counted_below() -> None:
    before = now()
    with subprocess.Popen([sys.executable, "-c", BURN + "\nprint(flush=True); input()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        assert (now() - before).below >= 0.25
        process.communicate(b"\n")


def test_a_table_says_what_was_written(tmp_path: Path) -> None:
    write(tmp_path / "new" / "table.tsv", TESTS)
    assert read(tmp_path / "new" / "table.tsv") == TESTS


def test_the_report_sums_up_and_tells_which_long_file_is_not_in_the_order() -> None:
    _, unit, queue, first, *rest = describe(TESTS)
    assert unit.split() == ["1", "1", "0", "unit"]
    assert queue.split() == ["100", "2", "32", "queue"]
    assert first.endswith("tests/queue/test_new.py  (to be added to lanes.LONGEST_FIRST)")
    assert len(rest) == 1 + len(TESTS)


def test_the_report_says_when_tiers_and_lanes_were_done() -> None:
    a, b, c = TESTS
    lanes = {"gw0": [(a, 50.0), (c, 60.0)], "gw1": [(b, 70.0)]}
    assert spans(lanes, TESTS) == ["from second to second of the run: queue 10 to 70, unit 59 to 60"]
    assert ends(lanes, TESTS) == [
        f"gw0: 2 tests in 41 s, done after 60 s with {c}",
        f"gw1: 1 tests in {LONG_SECONDS} s, done after 70 s with {b}",
    ]


def test_the_report_of_a_large_run_is_short() -> None:
    many = {f"tests/api/test_{n}.py::test_{m}": Seconds(n) for n in range(50) for m in range(50)}
    lanes = {f"gw{n}": [(test, 1.0) for test in many] for n in range(6)}
    assert len([*describe(many), *spans(lanes, many), *ends(lanes, many)]) <= 40


def test_the_table_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(durations.NAMED, "ci")
    assert durations.table_path().name == "ci.tsv"
