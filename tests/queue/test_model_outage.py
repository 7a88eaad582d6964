"""An outage of an hour with thousands of jobs queued: nothing is charged, nothing fails, nobody else waits."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import ClaimedJob, NewJob
from model_jobs import ANSWERED, DOWN, MODEL, OTHER, breaker, heard, held, mirrored_of
from queue_builders import TestWorker, pass_time, sql

JOBS, INNOCENT, SLOTS = 4000, 400, 20
HOUR, STEP_SECONDS = 3600, 60


@dataclass
class Projection:
    """What the status writer would have written to each object: (state, reason), write by write."""

    queue: Queue
    writes: dict[UUID, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))

    async def catch_up(self) -> None:
        while entries := await self.queue.outbox(1000, 0):
            for entry in entries:
                self.writes[entry.job.uid].append((entry.job.state.value, entry.job.reason))
            await self.queue.projected([(e.job.id, e.version, e.posted_run) for e in entries])


def model_of(job: ClaimedJob) -> str:
    return str(job.payload["agent"]["inline"]["model"])


async def round_of(queue: Queue, workers: list[TestWorker], *, up: Mapping[str, bool]) -> Counter[str]:
    """Each worker claims all it can; then all runs end. Returns how many ran, by model."""
    claimed = [(worker, await worker.claim()) for worker in workers]
    for worker, jobs in claimed:
        answers = {True: ANSWERED, False: DOWN}
        acks = [heard(job, answers[up[model_of(job)]], model_of(job)) for job in jobs]
        await worker.step(acks, {})
        worker.held.clear()
        await worker.beat()
    await queue.tick(workers[0].id)
    return Counter(model_of(job) for _, jobs in claimed for job in jobs)


async def test_an_hour_without_the_model_charges_nothing_and_ends_without_a_herd(
    queue: Queue, dsn: str
) -> None:
    workers = [await TestWorker(queue, {"agents": SLOTS}).register() for _ in range(2)]
    projection = Projection(queue)
    jobs: list[NewJob] = [mirrored_of(f"j{n}", MODEL) for n in range(JOBS)]
    jobs += [mirrored_of(f"i{n}", OTHER) for n in range(INNOCENT)]
    random.Random(7).shuffle(jobs)
    await queue.enqueue(jobs)
    await projection.catch_up()

    # the outage
    calls, rounds_of_innocent = 0, 0
    for _ in range(HOUR // STEP_SECONDS):
        ran = await round_of(queue, workers, up={MODEL: False, OTHER: True})
        calls += ran[MODEL]
        rounds_of_innocent += bool(ran[OTHER])
        await projection.catch_up()
        await pass_time(dsn, STEP_SECONDS)
    assert calls <= 2 * SLOTS + 12, "what ran when it began, and one probe at a time: 30 s, 60 s, … 10 min"
    assert rounds_of_innocent <= INNOCENT / (2 * SLOTS) + 2, "the others' jobs went on at full speed"
    assert await held(dsn) == JOBS

    # it answers again
    at_once: list[int] = []
    for worker in workers:
        await worker.beat()
    await sql(dsn, "update model_breaker set probe_at = clock_timestamp()")
    while (await queue.counts()) and len(at_once) < 400:
        ran = await round_of(queue, workers, up={MODEL: True, OTHER: True})
        at_once.append(ran[MODEL])
    await projection.catch_up()
    assert at_once[:6] == [1, 2, 4, 8, 16, 32], "no herd"
    assert max(at_once) <= 2 * SLOTS
    assert len(at_once) <= JOBS / (2 * SLOTS) + 12, "and no time lost"
    assert await breaker(queue) is None

    # nothing was charged, and each object was told once
    outcomes = await sql(dsn, "select state, attempt, count(*) from outcome group by 1, 2")
    assert outcomes == [("c", 1, JOBS + INNOCENT)]
    assert await sql(dsn, "select count(*) from attempt where charged") == [(0,)]
    kept = [projection.writes[job.uid] for job in jobs if job.payload["agent"]["inline"]["model"] == MODEL]
    never_probed = [written for written in kept if ("Retrying", "ModelUnavailable") not in written]
    assert len(never_probed) >= JOBS - calls
    for written in never_probed:
        assert written[:2] == [("Queued", ""), ("Queued", "ModelUnavailable")]
        assert written[2:] in ([("Complete", "")], [("Queued", ""), ("Complete", "")])
