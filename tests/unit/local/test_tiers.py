"""What the test run says about its tiers."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiers
from tiers import MARK, Tally, describe, missing, tallies


def report(nodeid: str, outcome: str, when: str = "call", reason: str = "") -> pytest.TestReport:
    longrepr = ("file.py", 1, f"Skipped: {reason}") if outcome == "skipped" else None
    return pytest.TestReport(nodeid, ("file.py", 1, "t"), {}, outcome, longrepr, when)  # type: ignore[arg-type]


def test_a_tier_that_cannot_run_is_left_out_with_the_reason() -> None:
    found = tallies(
        [
            report("tests/unit/test_a.py::test_b", "passed"),
            report("tests/unit/test_a.py::test_c", "failed"),
            report("tests/api/test_d.py::test_e", "skipped", "setup", MARK + "no Docker"),
            report("tests/api/test_d.py::test_f", "skipped", "setup", MARK + "no Docker"),
        ]
    )
    assert describe(found, ()) == [
        "unit: ran (2, 1 failed)",
        "chart: no test was selected",
        "queue: no test was selected",
        "api: left out: no Docker (2)",
        "pods: no test was selected",
    ]


def test_a_required_tier_is_missing_until_one_of_its_tests_ran() -> None:
    skipped = Tally()
    skipped.outcomes["skipped"] = 3
    ran = Tally()
    ran.outcomes["passed"] = 1
    assert missing({"api": skipped, "unit": ran}, ("unit", "queue", "api")) == ["queue", "api"]


def test_an_error_in_a_fixture_counts_as_a_failure() -> None:
    assert (
        tallies([report("tests/queue/test_a.py::test_b", "failed", "setup")])["queue"].outcomes["failed"] == 1
    )


def test_a_misspelt_tier_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tiers.REQUIRE, "unit, quue")
    with pytest.raises(
        pytest.UsageError, match=r"no tier \['quue'\]; name some of unit, chart, queue, api, pods"
    ):
        tiers.required_tiers()


def test_the_folder_decides_the_tier() -> None:
    assert tiers.tier_of(Path(tiers.TESTS / "queue" / "deep" / "test_a.py")) == "queue"
    assert tiers.tier_of(Path(tiers.TESTS / "support" / "test_a.py")) is None
    assert tiers.tier_of(Path("/elsewhere/test_a.py")) is None
