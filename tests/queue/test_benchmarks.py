"""Each bench that needs nothing but Postgres still runs, and has a figure in every row; the figures say nothing here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from benchmarks import (
    attempt,
    attempt_overhead,
    backlog,
    drain,
    endurance,
    latency,
    lists,
    rescue,
    session_store,
    slots,
    web,
)
from benchmarks.server import Server

from benches import TINY, figures, is_plausible, without_peers


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(autouse=True)
def _small(started: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """No peers, and one server for all."""
    without_peers(monkeypatch)
    for bench in (attempt, backlog, drain, endurance, latency, lists, rescue, session_store, slots, web):
        monkeypatch.setattr(bench, "Server", lambda: nullcontext(started))


def test_drain() -> None:
    (table,) = drain.run(TINY)
    is_plausible(table, 2, "processes", "jobs/s")
    assert len(table.notes) == 4, "one for each peer that was left out"


def test_backlog() -> None:
    (table,) = backlog.run(TINY)
    is_plausible(table, 3, "jobs/s", "of the short queue's rate")


def test_lists() -> None:
    (table,) = lists.run(TINY)
    is_plausible(table, len(lists.calls()), "p50 ms", "p95 ms")


def test_web() -> None:
    asked, dashboards = web.run(TINY)
    is_plausible(asked, len(web.routes("a job")), "p50 ms", "p95 ms")
    assert len(dashboards.rows) == 5, "streams have no requests, and shares of so short a run say nothing"
    assert min(figures(dashboards, "requests/s")) > 0


def test_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "_LAST_SECONDS", 60.0)
    (table,) = latency.run(TINY)
    is_plausible(table, 1, "p50 ms", "p90 ms", "p99 ms")
    assert figures(table, "jobs") == [20]


def test_slots() -> None:
    (table,) = slots.run(TINY)
    is_plausible(table, 2, "jobs/s", "Postgres CPU ms/job", "worker CPU ms/job")
    assert max(figures(table, "jobs/s")) < 4000, "200 slots, and no job is shorter than 50 ms"


def test_session_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_store, "CONNECTIONS", session_store.CONNECTIONS[1:])
    (table,) = session_store.run(TINY)
    is_plausible(table, 2, "p50 ms", "run's CPU ms", "process MiB")


def test_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "KEPT", ("in Postgres",))
    overhead, memory = attempt.run(TINY)
    is_plausible(overhead, 5, "p50 ms", "p95 ms", "CPU ms/job")
    is_plausible(memory, 1, "jobs at once", "private MiB per job", "proportional MiB per job")


def test_attempt_overhead(
    dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    attempt_overhead.main(["--runs", "2", "--dsn", dsn])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[:2] for row in rows] == [
        [sessions, what] for sessions in ("memory", "database") for what in ("bare", "attempt", "overhead")
    ]
    assert all(float(cell) > 0 for row in rows if row[1] != "overhead" for cell in row[2:])


def test_endurance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endurance, "STEPS", 1)
    monkeypatch.setattr(endurance, "_POLL_SECONDS", 0.1)
    left, slot = endurance.run(TINY)
    is_plausible(
        left,
        2,
        "jobs so far",
        "supervisor MiB",
        "template MiB",
        "processes",
        "descriptors",
        "threads",
        "connections",
    )
    is_plausible(slot, 1, "deaths", "p50 ms", "p95 ms", "longest ms")


def test_rescue() -> None:
    (table,) = rescue.run(TINY)
    is_plausible(table, 1, "kills", "shortest s", "median s", "longest s")
