"""What a worker counts of its runs, with bounded labels."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agentjobs.agents.verdict.outcome import AgentEvent
from agentjobs.queue.records import Ack, AckAnswer, AckKind
from agentjobs.telemetry.metrics import MOST_MODELS, OTHER
from agentjobs.worker.process.ended import Ended
from agentjobs.worker.supervisor.identity import Identity
from agentjobs.worker.supervisor.metrics import WorkerMetrics
from agentjobs.worker.supervisor.runs import Run, Runs
from worker_builders import claimed

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
SLOTS = {"agents": 5, "scheduled": 2}


@pytest.fixture
def metrics() -> WorkerMetrics:
    return WorkerMetrics(SLOTS)


def scrape(metrics: WorkerMetrics, runs: Runs | None = None, identity: Identity | None = None) -> Samples:
    text = metrics.page(identity or Identity(), runs or Runs(SLOTS), ready=True, templates=1)
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"agentjobs_worker_{name}", tuple(sorted(labels.items()))))


def ended_run(kind: AckKind, *, reason: str = "", ended: Ended | None = None, **job: object) -> Run:
    run = Run(claimed(**job), UUID(int=2))
    run.ack = Ack(run.job.id, run.job.token, kind, reason=reason)
    run.ended = ended or Ended(duration_seconds=2.0, cpu_seconds=0.5, max_resident_bytes=200 * 2**20)
    return run


def test_slots_and_busy_slots_are_shown_by_queue_even_where_nothing_runs(metrics: WorkerMetrics) -> None:
    runs = Runs(SLOTS)
    runs.add(Run(claimed(), UUID(int=2)))
    samples = scrape(metrics, runs)
    assert value(samples, "slots", queue="agents") == 5
    assert value(samples, "slots_busy", queue="agents") == 1
    assert value(samples, "slots_busy", queue="scheduled") == 0
    assert value(samples, "claims_total", queue="scheduled") == 0, "a rate needs a beginning"


def test_the_age_of_the_heartbeat_is_absent_before_the_first(metrics: WorkerMetrics) -> None:
    identity = Identity()
    assert value(scrape(metrics, identity=identity), "heartbeat_age_seconds") is None
    before = time.monotonic()
    identity.beaten()
    age = value(scrape(metrics, identity=identity), "heartbeat_age_seconds")
    assert age is not None
    assert 0 <= age <= time.monotonic() - before


@pytest.mark.parametrize(
    ("kind", "attempt", "outcome"),
    [
        (AckKind.COMPLETE, 1, "complete"),
        (AckKind.RETRY, 1, "retry"),
        (AckKind.RETRY, 3, "discard"),
        (AckKind.FAIL, 1, "discard"),
        (AckKind.SNOOZE, 1, "snooze"),
        (AckKind.RELEASE, 1, "snooze"),
        (AckKind.CANCEL, 1, "cancel"),
    ],
)
def test_a_run_is_counted_by_how_it_ended(
    metrics: WorkerMetrics, kind: AckKind, attempt: int, outcome: str
) -> None:
    metrics.acked(ended_run(kind, reason="ModelError", attempt=attempt), AckAnswer.OK)
    samples = scrape(metrics)
    assert value(samples, "runs_total", queue="agents", outcome=outcome, reason="ModelError") == 1
    assert value(samples, "run_duration_seconds_count", queue="agents") == 1
    assert value(samples, "run_duration_seconds_bucket", queue="agents", le="1.0") == 0
    assert value(samples, "run_duration_seconds_bucket", queue="agents", le="2.5") == 1
    assert value(samples, "executor_cpu_seconds_total", queue="agents") == 0.5
    assert value(samples, "executor_memory_bytes_sum") == 200 * 2**20


def test_a_run_that_belongs_to_another_worker_by_now_is_lost(metrics: WorkerMetrics) -> None:
    metrics.acked(ended_run(AckKind.COMPLETE), AckAnswer.LOST)
    assert value(scrape(metrics), "runs_total", queue="agents", outcome="lost", reason="") == 1


def test_a_reason_that_is_none_of_ours_gets_no_series_of_its_own(metrics: WorkerMetrics) -> None:
    for n in range(50):
        metrics.acked(ended_run(AckKind.FAIL, reason=f"Invented{n}"), AckAnswer.OK)
    samples = scrape(metrics)
    assert value(samples, "runs_total", queue="agents", outcome="discard", reason=OTHER) == 50
    assert sum(name == "agentjobs_worker_runs_total" for name, _ in samples) == 1


def event(**fields: Any) -> AgentEvent:
    return AgentEvent("agent", "text", prompt_tokens=10, output_tokens=5, total_tokens=15, **fields)


def test_tokens_are_counted_by_model_with_a_bound(metrics: WorkerMetrics) -> None:
    run = Run(claimed(payload={"agent": {"inline": {"model": "gemini-flash"}}}), UUID(int=2))
    metrics.saw(run, event(model="gemini-flash-001"))
    metrics.saw(run, event())
    metrics.saw(run, AgentEvent("agent", "tool_call", tool="search"))
    metrics.saw(Run(claimed(), UUID(int=2)), event())
    samples = scrape(metrics)
    for model in ("gemini-flash-001", "gemini-flash", "unknown"):
        assert value(samples, "llm_calls_total", model=model) == 1
        assert value(samples, "llm_tokens_total", model=model, kind="prompt") == 10
        assert value(samples, "llm_tokens_total", model=model, kind="output") == 5
    for n in range(1000):
        metrics.saw(run, event(model=f"invented-{n}"))
    samples = scrape(metrics)
    assert sum(name == "agentjobs_worker_llm_calls_total" for name, _ in samples) == MOST_MODELS + 1
    assert value(samples, "llm_calls_total", model=OTHER) == 1000 - (MOST_MODELS - 3)


def test_a_claim_is_counted_with_its_round_trip(metrics: WorkerMetrics) -> None:
    metrics.asked(0.004, ["agents", "agents", "scheduled"])
    samples = scrape(metrics)
    assert value(samples, "claims_total", queue="agents") == 2
    assert value(samples, "claim_seconds_bucket", le="0.005") == 1
