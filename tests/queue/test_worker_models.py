"""Model health with real parts: a worker, its executors, the google-genai client and a provider that is down."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from gemini import FakeGemini, error, gemini, rate_limited

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import NewJob, State
from agentjobs.worker.supervisor.config import WorkerConfig
from model_jobs import FAILURES, breaker, open_breaker, probe_is_due
from queue_builders import sql, until
from workers import running_worker, state_of, submit, worker_config

__all__ = ["gemini"]

MODEL = "gemini-2.5-flash"
SLOTS = 6
PROBE_SECONDS = 20
"""The shortest pause before a probe, with its jitter."""


def config(dsn: str, **changes: Any) -> WorkerConfig:
    agents = AgentSettings(models=("gemini-*", "echo"), session_dsn=dsn)
    path = str(Path(__file__).parent)
    return worker_config(dsn, path, settings=agents, queues={"agents": SLOTS}, tick_seconds=0.2, **changes)


def inline(model: str = MODEL) -> NewJob:
    payload = {"v": 1, "agent": {"inline": {"name": "agent", "model": model}}, "message": "hello"}
    return NewJob(uuid4(), payload)


async def all_wait(queue: Queue, jobs: Sequence[NewJob], reason: str) -> bool:
    views = [await queue.show(job.uid) for job in jobs]
    return all(view is not None and view.reason == reason for view in views)


async def all_are_blocked(queue: Queue, n: int) -> bool:
    """Whether they wait for the model; while a probe runs, it is one less."""
    return (await open_breaker(queue, MODEL)).blocked == n


async def probe_has_failed(dsn: str) -> bool:
    return await sql(dsn, "select 1 from model_breaker where probe_seconds > 30") != []


async def test_invariant_7_a_providers_outage_burns_no_attempt_and_ends_by_itself(
    gemini: FakeGemini, queue: Queue, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gemini.script(*[error(503, "the service is down")] * 200)
    async with running_worker(config(dsn)):
        jobs, began = [inline() for _ in range(20)], time.monotonic()
        await queue.enqueue(jobs)
        await until(lambda: all_wait(queue, jobs, "ModelUnavailable"), 90)
        calls, probes = len(gemini.requests), 1 + (time.monotonic() - began) / PROBE_SECONDS
        assert calls <= SLOTS + FAILURES + probes, "those that ran when it opened, and the probes since"
        await until(lambda: all_are_blocked(queue, len(jobs)), 90)
        assert (await open_breaker(queue, MODEL)).last_failure == "ModelServerError"
        (innocent,) = await submit(queue, inline("echo"))
        assert (await state_of(queue, innocent)).state is State.COMPLETE, "another model's jobs go on"
        await probe_is_due(dsn)
        await until(lambda: probe_has_failed(dsn), 60)
        gemini.forget()
        await probe_is_due(dsn)
        for job in jobs:
            view = await state_of(queue, job.uid)
            assert (view.state, view.attempts, view.result) == (State.COMPLETE, 1, "ok")
            assert not any(attempt.charged for attempt in view.attempts_log[:-1])
        assert await breaker(queue, MODEL) is None
    assert "job.discard" not in caplog.text


async def test_a_refused_key_waits_and_a_worker_with_another_key_probes_at_once(
    gemini: FakeGemini, queue: Queue, dsn: str
) -> None:
    gemini.script(error(401, "the key is wrong"))
    async with running_worker(config(dsn)):
        (uid,) = await submit(queue, inline())
        view = await state_of(queue, uid, State.RETRYING)
        assert (view.reason, view.attempts) == ("ModelAuthFailed", 0)
        assert "correct the pool's model key" in view.message
        async with running_worker(config(dsn, name="restarted")):
            view = await state_of(queue, uid)
            assert (view.state, view.attempts, view.worker) == (State.COMPLETE, 1, "restarted")
    assert len(gemini.requests) == 2


async def test_a_429_is_heard_once_and_not_by_each_job(gemini: FakeGemini, queue: Queue, dsn: str) -> None:
    gemini.script(*[rate_limited(delay="600s")] * SLOTS)
    async with running_worker(config(dsn)):
        jobs = [inline() for _ in range(30)]
        await queue.enqueue(jobs)
        await until(lambda: all_wait(queue, jobs, "ModelRateLimited"), 90)
        assert len(gemini.requests) <= SLOTS
        gemini.forget()  # the answers for slots that had no turn
        await probe_is_due(dsn)
        for job in jobs:
            assert (await state_of(queue, job.uid)).state is State.COMPLETE
        assert await breaker(queue, MODEL) is None


async def test_without_model_health_a_refused_key_fails_at_once(
    gemini: FakeGemini, queue: Queue, dsn: str
) -> None:
    gemini.script(error(401, "the key is wrong"))
    async with running_worker(config(dsn, model_health=False)):
        (uid,) = await submit(queue, inline())
        view = await state_of(queue, uid)
        assert (view.state, view.reason) == (State.FAILED, "ModelAuthFailed")
        assert await queue.model_health() == []
