"""Builders for the tests of model health: jobs by model, and runs that say how their model answered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agentjobs.queue.breakers import Breaker
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import Ack, AckKind, ClaimedJob, ModelReport, NewJob, StepResult
from agentjobs.values.model_answer import ModelAnswer
from queue_builders import TestWorker, mirrored_job, new_job, sql

MODEL = "gemini-test"
OTHER = "other-model"
FAILURES = 5
"""In a row that open a breaker."""
DOWN = ModelAnswer.UNAVAILABLE
REFUSED = ModelAnswer.KEY_REFUSED
LIMITED = ModelAnswer.RATE_LIMITED
ANSWERED = ModelAnswer.ANSWERED
_REASONS = {DOWN: "ModelServerError", REFUSED: "ModelAuthFailed", LIMITED: "ModelRateLimited", ANSWERED: ""}


def inline(model: str) -> dict[str, Any]:
    return {"v": 1, "agent": {"inline": {"model": model}}}


def job_of(model: str = MODEL, **fields: Any) -> NewJob:
    return new_job(payload=inline(model), **fields)


def jobs_of(n: int, model: str = MODEL, **fields: Any) -> list[NewJob]:
    return [job_of(model, **fields) for _ in range(n)]


def mirrored_of(name: str, model: str = MODEL, **fields: Any) -> NewJob:
    return mirrored_job(name, payload=inline(model), **fields)


def module_job(module: str, **fields: Any) -> NewJob:
    return new_job(payload={"v": 1, "agent": {"module": module}}, **fields)


def heard(
    job: ClaimedJob, answer: ModelAnswer, model: str = MODEL, *, delay: float = 15, asked: float = 0
) -> Ack:
    """How a run ends whose model answered so; ``delay`` until the next attempt where the queue leaves it at that."""
    report = ModelReport(model, answer, _REASONS[answer], asked)
    if answer is ANSWERED:
        return Ack(job.id, job.token, AckKind.COMPLETE, result="done", models=(report,))
    kind = AckKind.RETRY if answer is DOWN else AckKind.SNOOZE
    return Ack(
        job.id,
        job.token,
        kind,
        delay,
        reason=_REASONS[answer],
        message="the provider said so",
        models=(report,),
    )


async def hear(
    worker: TestWorker, jobs: Iterable[ClaimedJob], answer: ModelAnswer, model: str = MODEL, **options: Any
) -> StepResult:
    """Acks runs in one step, and claims nothing."""
    acks = [heard(job, answer, model, **options) for job in jobs]
    gone = {ack.id for ack in acks}
    result = await worker.step(acks, {})
    worker.held = [job for job in worker.held if job.id not in gone]
    return result


async def break_model(
    queue: Queue, worker: TestWorker, answer: ModelAnswer = DOWN, model: str = MODEL, **options: Any
) -> list[NewJob]:
    """Jobs of their own that fail until the breaker of that model is open."""
    jobs = jobs_of(FAILURES if answer is DOWN else 1, model)
    await queue.enqueue(jobs)
    runs = await worker.claim(len(jobs))
    assert {run.uid for run in runs} == {job.uid for job in jobs}, "the test's own jobs come first"
    await hear(worker, runs, answer, model, **options)
    return jobs


async def probe_is_due(dsn: str, model: str = "%") -> None:
    """So much time has passed for the breakers of these models, by default of all, that their next probe is due."""
    await sql(
        dsn,
        "update model_breaker set probe_at = clock_timestamp() - interval '1 s' where model like %s",
        model,
    )


async def breaker(queue: Queue, model: str = MODEL, pool: str = "default") -> Breaker | None:
    found = [b for b in await queue.model_health() if (b.pool, b.model) == (pool, model)]
    return found[0] if found else None


async def open_breaker(queue: Queue, model: str = MODEL, pool: str = "default") -> Breaker:
    found = await breaker(queue, model, pool)
    assert found is not None, f"no breaker of {model} in {pool}"
    assert found.reason is not None, found
    return found


async def held(dsn: str) -> int:
    """Jobs in the state of their own."""
    rows = await sql(dsn, "select count(*) from waiting where state = 'm'")
    return int(rows[0][0])
