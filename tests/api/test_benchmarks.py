"""Each bench that needs an API server still runs, and has a figure in every row; the figures say nothing here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime

import pytest
from benchmarks import apply, operator_load, schedules
from benchmarks.server import Server

from agentjobs.api.meta import format_time
from agentjobs.local.controlplane import ControlPlane
from benches import TINY, figures, is_plausible
from clusters import Cluster


@pytest.fixture
def plane(cluster: Cluster) -> ControlPlane:
    if cluster.own is None:
        pytest.skip(f"counts the CPU seconds of a control plane of our own, and this is {cluster.origin}")
    return cluster.own


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(autouse=True)
def _shared(plane: ControlPlane, started: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One API server and one Postgres for all."""
    for bench in (apply, operator_load, schedules):
        monkeypatch.setattr(bench, "Server", lambda: nullcontext(started))
        monkeypatch.setattr(bench, "control_plane", lambda: nullcontext(plane))


def test_apply() -> None:
    (table,) = apply.run(TINY)
    assert [row[0] for row in table.rows] == [
        "one at a time, HTTP",
        "one at a time, `kubectl apply`",
        "at once",
    ]
    assert figures(table, "n") == [3, 2, 5]
    for column, rows in (("p50 ms", 2), ("p95 ms", 2), ("jobs/s", 1), ("status writes/job", 1)):
        found = figures(table, column)
        assert len(found) == rows
        assert min(found) > 0, column


def test_operator_load() -> None:
    table, many = operator_load.run(TINY)
    is_plausible(many, 4, "AgentJobs", "seconds", "operator CPU s", "peak MiB")
    is_plausible(table, 3, "jobs", "operator CPU ms per job")
    assert len(figures(table, "create → Complete, p50 / p99 ms")) == 1
    assert min(figures(table, "jobs/s")) > 0


def test_schedules(monkeypatch: pytest.MonkeyPatch) -> None:
    async def soon() -> tuple[Mapping[str, str], float]:
        """One shots, so that nobody waits for the next minute."""
        moment = int(time.time()) + 15
        return {"scheduledTime": format_time(datetime.fromtimestamp(moment, UTC))}, moment

    monkeypatch.setattr(schedules, "each_minute", soon)
    monkeypatch.setattr(schedules, "IDLE_SECONDS", 1)
    monkeypatch.setattr(schedules, "SETTLE_SECONDS", 0)
    due, many = schedules.run(TINY)
    is_plausible(due, 1, "last s late", "children")
    assert figures(due, "children") == [5]
    is_plausible(many, 4, "seconds", "peak MiB")
