"""Many workers at once, a model that comes and goes, people who meddle: no deadlock, no job lost, no limit overshot."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import Ack, AckKind, ClaimedJob, NewJob
from model_jobs import ANSWERED, DOWN, LIMITED, MODEL, OTHER, REFUSED, heard, job_of, module_job
from queue_builders import TestWorker, make_steady, sql, whereabouts

WORKERS, ROUNDS = 6, 40


@dataclass
class World:
    """What the models do at the moment."""

    rng: random.Random
    down: bool = False

    def answer_of(self, job: ClaimedJob) -> Ack:
        agent = job.payload["agent"]
        model = agent["inline"]["model"] if "inline" in agent else MODEL
        if model == OTHER or not self.down:
            return heard(job, ANSWERED, model)
        kind = self.rng.choice([DOWN, DOWN, DOWN, REFUSED, LIMITED])
        return heard(job, kind, model, delay=0, asked=0.05)


async def test_nothing_is_lost_or_stuck_while_a_model_comes_and_goes(queue: Queue, dsn: str) -> None:
    rng = random.Random(11)
    world = World(rng)
    jobs: list[NewJob] = []
    for n in range(500):
        session = f"s{rng.randrange(8)}" if rng.random() < 0.2 else None
        fields = {"session": session, "priority": rng.randrange(3), "max_attempts": 50}
        pick = rng.random()
        jobs.append(
            module_job(f"m{n % 3}", **fields)
            if pick < 0.2
            else job_of(OTHER if pick < 0.4 else MODEL, **fields)
        )
    workers = [
        await TestWorker(queue, {"agents": 5}, pool="a" if n % 2 else "b").register() for n in range(WORKERS)
    ]
    await make_steady(dsn, workers[0])
    still_there = {job.uid for job in jobs}

    async def work(worker: TestWorker, rounds: int) -> None:
        for _ in range(rounds):
            claimed = await worker.claim()
            await asyncio.sleep(0)
            half = len(claimed) // 2
            await worker.step([world.answer_of(job) for job in claimed[:half]], {})
            await worker.step([world.answer_of(job) for job in claimed[half:]])
            await worker.step([Ack(job.id, job.token, AckKind.RELEASE) for job in worker.held], {})
            worker.held.clear()

    async def meddle() -> None:
        for _ in range(ROUNDS):
            uid = rng.choice(jobs).uid
            match rng.randrange(5):
                case 0:
                    await queue.suspend(uid)
                    await queue.resume(uid)
                case 1:
                    await queue.reprioritise(uid, rng.randrange(4))
                case 2:
                    await queue.set_queue("agents", paused=True)
                    await queue.set_queue("agents", paused=False)
                case 3:
                    await queue.reset_model("a", MODEL)
                case 4:
                    world.down = not world.down
            await sql(dsn, "update model_breaker set probe_at = clock_timestamp() - interval '2 minutes'")

    async def tick() -> None:
        for _ in range(ROUNDS):
            await queue.tick(workers[0].id)
            await asyncio.gather(*(worker.beat() for worker in workers))

    async def come() -> None:
        for start in range(0, len(jobs), 50):
            await queue.enqueue(jobs[start : start + 50])
            await queue.admit()

    await asyncio.gather(*(work(worker, ROUNDS) for worker in workers), meddle(), tick(), come())

    world.down = False
    for _ in range(200):
        if not (await whereabouts(dsn))["waiting"]:
            break
        for job in jobs:  # somebody may have been suspended between two commands
            if rng.random() < 0.01:
                await queue.resume(job.uid)
        await sql(
            dsn,
            "update model_breaker set probe_at = clock_timestamp() - interval '2 minutes' where kind is not null;"
            " update waiting set run_at = clock_timestamp() where state = 'l'",
        )
        await queue.tick(workers[0].id)
        await asyncio.gather(*(worker.beat() for worker in workers), *(work(worker, 1) for worker in workers))
    places = await whereabouts(dsn)
    left = await sql(dsn, "select state, reason, count(*) from waiting group by 1, 2")
    assert places == {"waiting": 0, "running": 0, "outcome": len(jobs), "job": len(still_there)}, left
    assert await sql(dsn, "select state, count(*) from outcome group by 1") == [("c", len(jobs))]
    assert await sql(dsn, "select * from session") == []
