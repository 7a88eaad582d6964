"""The tiers of the tests: which folder is which, what happens to one that cannot run, and the report at the end.

A tier is a folder below ``tests/``; its tests get the marker of that name. A fixture that cannot be had calls
:func:`leave_out`: the test is skipped with the reason, or fails where ``AGENTJOBS_REQUIRE`` names its tier.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest
from _pytest.outcomes import Skipped  # pytest.skip.Exception, which no type checker takes for a base

TESTS = Path(__file__).parent.parent
TIERS = ("unit", "chart", "queue", "api", "pods")
REQUIRE = "AGENTJOBS_REQUIRE"
MARK = "tier left out: "


class LeftOut(Skipped):
    """What a test needs cannot be had on this machine."""

    always = False


def leave_out(reason: str, *, always: bool = False) -> NoReturn:
    """Skip this test, and so in effect its tier, for want of something; a failure where its tier is required.

    :param always: not a failure even there: the tier does not depend on it. The report at the end says so.
    """
    missing = LeftOut(MARK + reason)
    missing.always = always
    raise missing


def required_tiers() -> tuple[str, ...]:
    """The tiers that ``AGENTJOBS_REQUIRE`` names."""
    names = tuple(name.strip() for name in os.environ.get(REQUIRE, "").split(",") if name.strip())
    unknown = sorted(set(names) - set(TIERS))
    if unknown:
        raise pytest.UsageError(
            f"{REQUIRE}={os.environ[REQUIRE]!r}: no tier {unknown}; name some of {', '.join(TIERS)}"
        )
    return names


def tier_of(path: Path) -> str | None:
    """The tier of a test file."""
    first = path.relative_to(TESTS).parts[0] if path.is_relative_to(TESTS) else None
    return first if first in TIERS else None


@dataclass
class Tally:
    """How one tier went."""

    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def ran(self) -> int:
        """How many tests ran to an end, good or bad."""
        return self.outcomes["passed"] + self.outcomes["failed"]


def tallies(reports: Iterable[pytest.TestReport]) -> dict[str, Tally]:
    """Count the reports of a session by tier."""
    found: dict[str, Tally] = defaultdict(Tally)
    for report in reports:
        tier = next((part for part in report.nodeid.split("/")[:2] if part in TIERS), None)
        if tier is None:
            continue
        tally = found[tier]
        if report.failed:
            tally.outcomes["failed"] += 1
        elif report.when == "call" and report.passed:
            tally.outcomes["passed"] += 1
        elif report.skipped:
            tally.outcomes["skipped"] += 1
            if isinstance(report.longrepr, tuple) and MARK in report.longrepr[2]:
                tally.reasons[report.longrepr[2].partition(MARK)[2]] += 1
    return found


def describe(found: dict[str, Tally], required: tuple[str, ...]) -> list[str]:
    """The lines of the report, one for each tier."""
    lines = []
    for tier in TIERS:
        tally = found.get(tier, Tally())
        failed, skipped = tally.outcomes["failed"], tally.outcomes["skipped"]
        what = (
            f"ran ({tally.ran}"
            + (f", {failed} failed" if failed else "")
            + (f", {skipped} skipped" if skipped else "")
            + ")"
        )
        if not tally.ran:
            what = "left out" if skipped else "no test was selected"
        why = "; ".join(f"{reason} ({count})" for reason, count in tally.reasons.most_common())
        lines.append(
            f"{tier}: {what}" + (f": {why}" if why else "") + (" [required]" if tier in required else "")
        )
    return lines


def missing(found: dict[str, Tally], required: tuple[str, ...]) -> list[str]:
    """The required tiers of which no test ran."""
    return [tier for tier in required if not found.get(tier, Tally()).ran]


class TierPlugin:
    """Marks, converts and reports. Works the same in one process and under pytest-xdist."""

    def __init__(self, config: pytest.Config) -> None:
        self.required = required_tiers()
        self.is_worker = hasattr(config, "workerinput")
        self.reports: list[pytest.TestReport] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Give every test the marker of its folder (before ``-m`` selects)."""
        for item in items:
            tier = tier_of(item.path)
            if tier is not None:
                item.add_marker(tier)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Turn what was left out into a failure where its tier is required."""
        report = yield
        if (
            call.excinfo is not None
            and isinstance(call.excinfo.value, LeftOut)
            and not call.excinfo.value.always
            and tier_of(item.path) in self.required
        ):
            report.outcome = "failed"
            report.longrepr = f"{REQUIRE} names this tier, and it cannot run: {call.excinfo.value.msg}"
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what the tally needs."""
        if report.when == "call" or not report.passed:
            self.reports.append(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A required tier of which nothing ran fails the run."""
        if (
            not self.is_worker
            and not session.config.option.collectonly
            and missing(tallies(self.reports), self.required)
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which tiers ran and which did not, and why."""
        if terminalreporter.config.option.collectonly:
            return
        found = tallies(self.reports)
        terminalreporter.section("tiers")
        for line in describe(found, self.required):
            terminalreporter.write_line(line)
        for tier in missing(found, self.required):
            terminalreporter.write_line(f"{REQUIRE} names {tier}, and none of its tests ran", red=True)


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin."""
    config.pluginmanager.register(TierPlugin(config), "agentjobs-tiers")
