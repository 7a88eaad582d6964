"""What a worker's /metrics says of real runs."""

from __future__ import annotations

from pathlib import Path

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State
from processes import until
from scrapes import scrape
from worker_agents import call, write_modules
from workers import job, running_worker, state_of, submit, worker_config


async def test_runs_are_counted_by_outcome_with_duration_memory_and_tokens(dsn: str, tmp_path: Path) -> None:
    path = write_modules(tmp_path / "modules")
    config = worker_config(
        dsn, path, queues={"agents": 4, "quiet": 2}, health_port=0, health_host="127.0.0.1"
    )
    gate = tmp_path / "gate"
    async with await Queue.open(dsn) as queue, running_worker(config) as worker:
        before = await scrape(worker.health.port)
        assert before.value("agentjobs_worker_slots", queue="agents") == 4
        assert before.value("agentjobs_worker_slots_busy", queue="agents") == 0
        assert before.value("agentjobs_worker_runs_total") is None
        (waits,) = await submit(queue, job(call("wait_for", file=str(gate))))
        await state_of(queue, waits, State.RUNNING)
        await until(lambda: worker.runs.running, "the worker has heard of its claim")
        during = await scrape(worker.health.port)
        assert during.value("agentjobs_worker_slots_busy", queue="agents") == 1
        assert during.value("agentjobs_worker_slots_busy", queue="quiet") == 0
        gate.touch()
        (good, bad) = await submit(queue, job(), job(call("crash"), max_attempts=1))
        for uid in (waits, good, bad):
            await state_of(queue, uid)
        await until(lambda: not (worker.runs.running or worker.runs.unacked), "each ack is answered")
        after = await scrape(worker.health.port)
    runs = "agentjobs_worker_runs_total"
    assert after.value(runs, queue="agents", outcome="complete", reason="Completed") == 2
    assert after.value(runs, queue="agents", outcome="discard", reason="ExecutorCrashed") == 1
    assert after.value("agentjobs_worker_claims_total", queue="agents") == 3
    assert after.value("agentjobs_worker_run_duration_seconds_count", queue="agents") == 3
    memory = after.value("agentjobs_worker_executor_memory_bytes_sum")
    assert memory is not None
    assert memory > 30 * 2**20
    assert (after.value("agentjobs_worker_claim_seconds_count") or 0) >= 2
    assert after.value("agentjobs_worker_llm_calls_total", model="echo-1") == 4
    assert (after.value("agentjobs_worker_llm_tokens_total", model="echo-1", kind="prompt") or 0) > 0
    assert (after.value("agentjobs_worker_heartbeat_age_seconds") or 99) < 15
    assert after.value("agentjobs_worker_ready") == 1
