"""The end of a worker, step by step."""

from __future__ import annotations

import asyncio

import pytest

from agentjobs.queue.records import Ack, AckKind
from agentjobs.worker.process.stopping import Why
from agentjobs.worker.supervisor import drain as module
from agentjobs.worker.supervisor.drain import Drain
from agentjobs.worker.supervisor.identity import Identity
from agentjobs.worker.supervisor.runs import Run, Runs
from processes import until
from worker_builders import claimed


def drained(seconds: float) -> tuple[Drain, Identity, Runs, Run]:
    identity, runs = Identity(registered=True), Runs({"agents": 2})
    run = Run(claimed(), identity.uuid)
    runs.add(run)
    return Drain(identity, runs, seconds=seconds), identity, runs, run


def ends(drain: Drain, runs: Runs, run: Run, kind: AckKind = AckKind.COMPLETE) -> None:
    runs.end(run, Ack(run.job.id, run.job.token, kind))
    drain.changed.set()


async def test_the_first_request_stops_claiming_at_once_and_lets_runs_finish() -> None:
    drain, identity, runs, run = drained(600)
    running = asyncio.ensure_future(drain.run())
    assert identity.claims
    drain.ask("SIGTERM")
    assert not identity.claims
    ends(drain, runs, run)
    await asyncio.sleep(0)
    assert not running.done(), "the last ack is still unanswered"
    runs.answered(run.key)
    drain.changed.set()
    async with asyncio.timeout(60):
        await running
    assert run.stop_asked is None


async def test_what_does_not_finish_in_time_is_given_back() -> None:
    drain, _, runs, run = drained(0.01)
    running = asyncio.ensure_future(drain.run())
    drain.ask("SIGTERM")
    await until(lambda: run.stop_asked, "the run is stopped")
    assert run.stop_asked is Why.DRAIN
    ends(drain, runs, run, AckKind.RELEASE)
    runs.answered(run.key)
    drain.changed.set()
    async with asyncio.timeout(60):
        await running


async def test_the_second_request_hurries() -> None:
    drain, _, runs, run = drained(600)
    running = asyncio.ensure_future(drain.run())
    drain.ask("SIGTERM")
    drain.ask("SIGTERM")
    await until(lambda: run.stop_asked, "the run is stopped")
    drain.ask("SIGTERM")
    drain.ask("SIGTERM")
    ends(drain, runs, run, AckKind.RELEASE)
    runs.answered(run.key)
    drain.changed.set()
    async with asyncio.timeout(60):
        await running


async def test_a_database_that_stays_away_does_not_hold_up_the_end_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_FLUSH_SECONDS", 0.05)
    drain, _, runs, run = drained(600)
    running = asyncio.ensure_future(drain.run())
    drain.ask("SIGTERM")
    ends(drain, runs, run)
    async with asyncio.timeout(60):
        await running
    assert runs.unacked
