"""Which lane of a test run gets which file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lanes import API_LANES, LONGEST_FIRST, PODS, choose, order, piece_of
from tiers import TESTS


def run(pieces: list[str], lanes: int) -> dict[int, list[str]]:
    """Each lane takes one piece after the other, in turn."""
    left, taken = order(pieces), {lane: list[str]() for lane in range(lanes)}
    while left:
        before = len(left)
        for lane in range(lanes):
            if (piece := choose(left, lane, lanes)) is not None:
                left.remove(piece)
                taken[lane].append(piece)
        assert len(left) < before, f"nobody takes {left}"
    return taken


EVERYTHING = [*(f"tests/{tier}/test_{n}.py" for tier in ("unit", "queue", "api") for n in range(9)), PODS]


def test_all_tests_of_pods_are_one_piece_and_elsewhere_each_file() -> None:
    assert piece_of("tests/pods/test_a.py::test_b[tests/queue::x]") == PODS
    assert piece_of("tests/queue/test_a.py::test_b[1]") == "tests/queue/test_a.py"


def test_every_piece_is_run_whatever_the_number_of_lanes() -> None:
    for lanes in range(1, 9):
        assert sorted(piece for taken in run(EVERYTHING, lanes).values() for piece in taken) == sorted(
            EVERYTHING
        )


def test_the_last_lane_begins_with_pods_and_two_lanes_have_a_control_plane() -> None:
    taken = run(EVERYTHING, 6)
    assert taken[5][0] == PODS
    assert {lane for lane, pieces in taken.items() if any("/api/" in p for p in pieces)} == set(
        range(API_LANES)
    )


def test_the_longest_comes_first_and_the_tests_of_units_last() -> None:
    longest, second = LONGEST_FIRST[:2]
    pieces = ["tests/unit/test_a.py", second, "tests/queue/test_new.py", longest, PODS]
    assert order(pieces) == [PODS, longest, second, "tests/queue/test_new.py", "tests/unit/test_a.py"]


def test_the_files_that_are_said_to_be_long_exist() -> None:
    assert [file for file in LONGEST_FIRST if not (TESTS.parent / file).is_file()] == []


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_test_that_kills_its_lane_fails_once_and_all_others_run(tmp_path: Path, lanes: int) -> None:
    support = str(TESTS / "support")
    (tmp_path / "conftest.py").write_text(
        f"import sys; sys.path.insert(0, {support!r}); pytest_plugins = ['lanes']"
    )
    for tier in ("unit", "queue", "api", "pods"):
        folder = tmp_path / "tests" / tier
        folder.mkdir(parents=True)
        for n in range(3):
            (folder / f"test_{tier}_{n}.py").write_text("def test_a(): pass\ndef test_b(): pass")
    dies = "import os\ndef test_before(): pass\ndef test_dies(): os._exit(3)\ndef test_after(): pass"
    for tier in ("api", "pods"):
        (tmp_path / "tests" / tier / f"test_{tier}_dies.py").write_text(dies)
    command = (
        sys.executable,
        "-m",
        "pytest",
        f"-n{lanes}",
        "-q",
        "-pno:cacheprovider",
        "--import-mode=importlib",
        ".",
    )
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "2 failed, 28 passed" in done.stdout, done.stdout + done.stderr
