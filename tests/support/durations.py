"""How long each test took, and how much of that was work: a table per run under ``.cache/durations/``.

The fixtures that a module or a session shares are in the row of the first test that takes them. ``own`` is the CPU time of pytest's process, ``below`` that of all
processes below it: workers, Postgres, the API server. What is left of ``wall`` is waiting, or another process's turn.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Generator, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import pytest

from lanes import LONGEST_FIRST, PODS
from tiers import TIERS

FOLDER = Path(__file__).parents[2] / ".cache" / "durations"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PROPERTY = "seconds"
NAMED = "AGENTJOBS_DURATIONS"
FILES_SHOWN, TESTS_SHOWN = 12, 12
LONG_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Seconds:
    """What one test, or several, took."""

    wall: float = 0.0
    own: float = 0.0
    below: float = 0.0

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def waiting(self) -> float:
        return max(0.0, self.wall - self.own - self.below)


def now() -> Seconds:
    """The clock, and the CPU time so far of this process and of all below it, with those of them that have ended."""
    own = time.process_time()
    return Seconds(time.monotonic(), own, _cpu_of_family() - own)


def _cpu_of_family() -> float:
    """Of this process and those below it. It reads their files alone: of all there are, hundreds beside kind, it would be most of a
    short test's time. A kernel that does not tell children (CONFIG_PROC_CHILDREN) leaves out those that still run."""
    ticks = 0
    family = [os.getpid()]
    for process in family:
        with contextlib.suppress(OSError):  # it ended while we looked
            ticks += sum(
                map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:15])
            )
            for thread in os.listdir(f"/proc/{process}/task"):
                family += map(int, Path(f"/proc/{process}/task/{thread}/children").read_text().split())
    return ticks / TICKS_PER_SECOND


class DurationsPlugin:
    """Measures in the process that runs a test, keeps and writes in the one that reports."""

    def __init__(self, config: pytest.Config) -> None:
        self.is_worker = hasattr(config, "workerinput")
        self.begun = self.last = now()
        self.tests: dict[str, Seconds] = defaultdict(Seconds)
        self.lanes: dict[str, list[tuple[str, float]]] = defaultdict(list)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Send what the phase took with its report."""
        report = yield
        reached = now()
        report.user_properties.append((PROPERTY, astuple(reached - self.last)))
        self.last = reached
        return report

    def pytest_runtest_logstart(self) -> None:
        """Leave out what passes between two tests: the collection, and a lane's waiting for its next file."""
        self.last = now()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up the phases of each test."""
        if self.is_worker:
            return
        for name, value in report.user_properties:
            if name == PROPERTY:
                assert isinstance(value, (tuple, list))
                self.tests[report.nodeid] += Seconds(*value)
        if report.when == "teardown":
            node = getattr(report, "node", None)
            lane = node.gateway.id if node is not None else "alone"
            self.lanes[lane].append((report.nodeid, time.monotonic() - self.begun.wall))

    def pytest_sessionfinish(self) -> None:
        """Write the table."""
        if not self.is_worker and self.tests:
            write(table_path(), self.tests)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say where the time went, when somebody asked for it by naming a table."""
        if NAMED in os.environ and self.tests:
            terminalreporter.section(f"seconds, all of them in {table_path().relative_to(FOLDER.parents[1])}")
            for line in [
                *describe(self.tests),
                *spans(self.lanes, self.tests),
                *ends(self.lanes, self.tests),
            ]:
                terminalreporter.write_line(line)


def known(file: str, seconds: float) -> bool:
    """Whether the order of files has its place, or needs none."""
    return file in LONGEST_FIRST or file.startswith(PODS) or seconds < LONG_SECONDS


def tier_of_file(test: str) -> str:
    """The folder below ``tests/``; what lies elsewhere goes by its first folder."""
    first, _, rest = test.partition("/")
    return rest.partition("/")[0] if first == "tests" else first


def describe(tests: Mapping[str, Seconds]) -> list[str]:
    """At most 32 lines: each tier, the files and the tests that took longest."""
    tiers: dict[str, Seconds] = defaultdict(Seconds)
    files: dict[str, Seconds] = defaultdict(Seconds)
    for test, seconds in tests.items():
        file = test.partition("::")[0]
        files[file] += seconds
        tiers[tier_of_file(file)] += seconds
    rows = [(tiers[tier], tier) for tier in (*TIERS, *sorted(set(tiers) - set(TIERS))) if tier in tiers]
    for seconds, file in _longest(files, FILES_SHOWN):
        rows.append(
            (seconds, file if known(file, seconds.wall) else f"{file}  (to be added to lanes.LONGEST_FIRST)")
        )
    rows += _longest(tests, TESTS_SHOWN)
    head = f"{'wall':>7} {'own CPU':>8} {'below':>7}"
    return [head, *(f"{s.wall:7.0f} {s.own:8.0f} {max(0, s.below):7.0f}  {name}" for s, name in rows)]


def _longest(rows: Mapping[str, Seconds], count: int) -> list[tuple[Seconds, str]]:
    return [(seconds, name) for name, seconds in sorted(rows.items(), key=lambda row: -row[1].wall)[:count]]


def spans(lanes: Mapping[str, list[tuple[str, float]]], tests: Mapping[str, Seconds]) -> list[str]:
    """One line: when the first test of each tier began and its last one ended."""
    begun: dict[str, float] = {}
    ended: dict[str, float] = {}
    for test, at in (row for done in lanes.values() for row in done):
        tier = tier_of_file(test)
        begun[tier] = min(begun.get(tier, at), at - tests[test].wall)
        ended[tier] = max(ended.get(tier, at), at)
    told = [f"{tier} {begun[tier]:.0f} to {ended[tier]:.0f}" for tier in sorted(begun, key=begun.__getitem__)]
    return [f"from second to second of the run: {', '.join(told)}"]


def ends(lanes: Mapping[str, list[tuple[str, float]]], tests: Mapping[str, Seconds]) -> list[str]:
    """One line per lane: how long it was busy, when it was done, and with what."""
    lines = []
    for lane, done in sorted(lanes.items()):
        last, at = done[-1]
        busy = sum(tests[test].wall for test, _ in done)
        lines.append(f"{lane}: {len(done)} tests in {busy:.0f} s, done after {at:.0f} s with {last[:80]}")
    return lines


def table_path() -> Path:
    """``AGENTJOBS_DURATIONS`` names the table; without it each run overwrites the last one."""
    return FOLDER / f"{os.environ.get(NAMED, 'last')}.tsv"


def write(path: Path, tests: Mapping[str, Seconds]) -> None:
    """One line per test, the longest first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join([*(field.name for field in fields(Seconds)), "test"])]
    for test, seconds in sorted(tests.items(), key=lambda row: -row[1].wall):
        lines.append("\t".join([*(f"{value:.2f}" for value in astuple(seconds)), test]))
    path.write_text("\n".join(lines) + "\n")


def read(path: Path) -> dict[str, Seconds]:
    """The rows of a table."""
    _, *lines = path.read_text().splitlines()
    rows = (line.split("\t", 3) for line in lines)
    return {test: Seconds(float(wall), float(own), float(below)) for wall, own, below, test in rows}


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin."""
    config.pluginmanager.register(DurationsPlugin(config), "agentjobs-durations")
