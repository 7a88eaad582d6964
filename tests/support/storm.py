"""A storm: producers, workers that die, people who meddle, connections that are cut. Used by ``queue/test_storm.py``."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

import psycopg

from agentjobs.queue.errors import QueueUnavailable
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import Ack, AckAnswer, AckKind, ClaimedJob, NewJob, RetryPolicy
from queue_builders import TestWorker, new_job, sql

EXPIRY = 2.0
LIMIT = 7
SESSIONS = 30
PRODUCERS = 6
SLOTS = 8
LINE = "line"
"""A queue that no worker of the storm serves: its jobs come into line by every way there is, and are claimed at the end."""


@dataclass
class StormWorker(TestWorker):
    __test__ = False
    in_flight: set[int] = field(default_factory=set)
    newest: int = 0
    expired: bool = False

    async def beat_once(self) -> None:
        """As the worker's heartbeat does it: what came in meanwhile is its own, not a stranger's."""
        newest = self.newest
        beat = await self.beat(sorted(self.in_flight))
        if not beat.alive:
            self.expired = True
            return
        held = {(job.id, job.token) for job in self.held}
        strangers = [
            run
            for run in beat.disowned
            if run[1] <= newest and run[1] not in self.in_flight and run not in held
        ]
        if strangers:
            await self.queue.disown(self.id, strangers)


@dataclass
class Storm:
    dsn: str
    rng: random.Random
    jobs: int
    produced: dict[int, list[NewJob]] = field(default_factory=lambda: defaultdict(list))
    completed: Counter[UUID] = field(default_factory=Counter)
    """Completions that were answered ok or already."""
    line: list[NewJob] = field(default_factory=list)
    """The jobs of the queue ``line``, in the order in which they are to be claimed."""
    claimed: list[UUID] = field(default_factory=list)
    """Of that queue, in the order in which they were claimed."""
    deaths: int = 0
    peak: int = 0
    """Most jobs seen running at once in the limited queue."""
    calm: asyncio.Event = field(default_factory=asyncio.Event)
    """Nobody meddles any more."""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def job(self) -> NewJob:
        # in a session all are alike: who is delayed or suspended gives up its place in line
        session = f"s{self.rng.randrange(SESSIONS)}" if self.rng.random() < 0.6 else None
        late = session is None and self.rng.random() < 0.2
        return new_job(
            session=session,
            queue=self.rng.choice(["agents", "agents", "limited"]),
            priority=self.rng.randrange(10),
            run_at=datetime.now(UTC) + timedelta(seconds=self.rng.random() * 3) if late else None,
            max_attempts=1000,
            retry=RetryPolicy(initial_delay_seconds=1, factor=1),
        )

    async def produce(self, queue: Queue, number: int) -> None:
        left = self.jobs // PRODUCERS
        while left > 0:
            batch = [self.job() for _ in range(min(left, self.rng.randrange(1, 20)))]
            await again(queue.enqueue, batch)
            self.produced[number] += batch
            left -= len(batch)
            await asyncio.sleep(self.rng.random() * 0.05)

    async def work(self, queue: Queue) -> None:
        """One worker after the other: each lives a while, then dies without a word."""
        while not self.over.is_set():
            worker = StormWorker(queue, {"agents": SLOTS, "limited": SLOTS})
            await again(worker.register)
            beating = asyncio.create_task(self.beats(worker))
            try:
                async with asyncio.timeout(self.rng.uniform(1, 4)):
                    await self.live(worker)
            except TimeoutError:
                self.deaths += 1
            finally:
                beating.cancel()

    async def beats(self, worker: StormWorker) -> None:
        while not worker.expired:
            with contextlib.suppress(QueueUnavailable):
                await worker.beat_once()
            await asyncio.sleep(EXPIRY / 8)

    async def live(self, worker: StormWorker) -> None:
        while not (self.over.is_set() or worker.expired):
            await asyncio.sleep(self.rng.random() * 0.02)
            acks = [self.end(job) for job in worker.held if self.rng.random() < 0.5]
            free = 0 if any(job.solo for job in worker.held) else SLOTS - len(worker.held)
            slots = {"agents": free, "limited": free} if free else {}
            worker.newest = token = next(worker.tokens)
            worker.in_flight.add(token)
            try:
                result = await worker.queue.step(
                    worker.id, token, acks, slots, total=free, idle=not worker.held
                )
                worker.held += result.jobs
            except QueueUnavailable:
                continue
            finally:
                worker.in_flight.discard(token)
            for ack in acks:
                if ack.kind is AckKind.COMPLETE and result.answers[ack.id] is not AckAnswer.LOST:
                    (uid,) = {job.uid for job in worker.held if job.id == ack.id}
                    self.completed[uid] += 1
            ended = {(ack.id, ack.token) for ack in acks}
            worker.held = [job for job in worker.held if (job.id, job.token) not in ended]

    def end(self, job: ClaimedJob) -> Ack:
        if self.rng.random() < 0.85:
            return Ack(job.id, job.token, AckKind.COMPLETE, result="done")
        kind = self.rng.choice([AckKind.RETRY, AckKind.SNOOZE, AckKind.RELEASE])
        return Ack(job.id, job.token, kind, delay_seconds=self.rng.choice([0.0, 0.2]), reason="Again")

    async def operate(self, queue: Queue) -> None:
        """Two operators in one: judges, does what time does, explains."""
        judge = StormWorker(queue, {})
        await again(judge.register)
        while not self.over.is_set():
            with contextlib.suppress(QueueUnavailable):
                await judge.beat_once()
                if judge.expired:
                    judge = StormWorker(queue, {})
                    await judge.register()
                await queue.tick(judge.id)
                await queue.explain()
            await asyncio.sleep(0.05)

    async def watch(self) -> None:
        while not self.over.is_set():
            with contextlib.suppress(psycopg.OperationalError):
                ((running,),) = await sql(self.dsn, "select count(*) from running where queue = 'limited'")
                self.peak = max(self.peak, running)
            await asyncio.sleep(0.02)

    async def meddle(self, queue: Queue) -> None:
        """People: cancel, suspend and resume, reprioritise, pause and unpause."""
        suspended: list[NewJob] = []
        while not self.calm.is_set():
            await asyncio.sleep(self.rng.random() * 0.05)
            job = self.rng.choice([job for jobs in self.produced.values() for job in jobs][-200:] or [None])
            if job is None:
                continue
            dice = self.rng.randrange(5)
            if dice == 0:
                await again(queue.cancel, job.uid)
            elif dice == 1 and job.session is None:
                await again(queue.suspend, job.uid)
                suspended.append(job)
            elif dice == 2 and suspended:
                await again(queue.resume, suspended.pop(0).uid)
            elif dice == 3:
                await again(queue.reprioritise, job.uid, self.rng.randrange(10))
            elif dice == 4:
                await again(pause, queue, True)
                await asyncio.sleep(self.rng.random() * 0.1)
                await again(pause, queue, False)
        for job in suspended:
            await again(queue.resume, job.uid)

    async def stand_in_line(self, queue: Queue) -> None:
        """A place in line is by when a job was enqueued, became due or was resumed; a new priority keeps it."""
        now = datetime.now(UTC)

        def job(**fields: Any) -> NewJob:
            return new_job(queue=LINE, priority=self.rng.randrange(3), **fields)

        due = [job(run_at=now + timedelta(seconds=0.5 + n / 50)) for n in range(8)]
        suspended = [job(suspend=True) for _ in range(8)]
        await again(queue.enqueue, [*due, *suspended])
        await self.until_none(f"select count(*) from waiting where queue = '{LINE}' and state = 'l'")
        places = due
        for waits in suspended:
            plain, of_a_session = job(), job(session=f"line-{len(places)}")
            await again(queue.enqueue, [plain, of_a_session])
            await again(queue.resume, waits.uid)
            places += [plain, of_a_session, waits]
        priorities = {job.uid: job.priority for job in places}
        for changed in self.rng.sample(places, 8):
            priorities[changed.uid] = self.rng.randrange(3)
            await again(queue.reprioritise, changed.uid, priorities[changed.uid])
        await self.until_none(f"select count(*) from waiting where queue = '{LINE}' and state = 'n'")
        self.line = sorted(places, key=lambda job: priorities[job.uid])

    async def claim_the_line(self) -> None:
        """A few at a time: all but the first claim begin where the one before ended."""
        async with await Queue.open(self.dsn, expiry_seconds=3600) as queue:
            worker = await TestWorker(queue, {LINE: SLOTS}).register()
            while jobs := await worker.claim(SLOTS // 2):
                self.claimed += [job.uid for job in jobs]
            for claimed in list(worker.held):
                await worker.ack(claimed)
                self.completed[claimed.uid] += 1

    async def until_none(self, count: LiteralString) -> None:
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                if await sql(self.dsn, count) == [(0,)]:
                    return
            await asyncio.sleep(0.05)

    async def cut(self) -> None:
        """Connections die in the middle of whatever they do."""
        while not self.calm.is_set():
            await asyncio.sleep(0.3)
            await sql(
                self.dsn,
                "select pg_terminate_backend(pid) from (select pid from pg_stat_activity where datname = current_database()"
                " and application_name like 'storm%%' order by random() limit 2) victims",
            )

    async def until(self, finished: Callable[[int, int], bool], tasks: list[asyncio.Task[Any]]) -> None:
        """Until so many jobs are (unfinished, finished); a task that failed fails the storm."""
        while True:
            for task in tasks:
                if task.done():
                    task.result()
            with contextlib.suppress(psycopg.OperationalError):
                ((open_, done),) = await sql(
                    self.dsn,
                    f"select (select count(*) from waiting where queue <> '{LINE}') + (select count(*) from running),"
                    " (select count(*) from outcome)",
                )
                if finished(open_, done):
                    return
            await asyncio.sleep(0.05)


async def pause(queue: Queue, paused: bool) -> None:
    await queue.set_queue("agents", paused=paused)


async def again(call: Callable[..., Awaitable[object]], *args: object) -> None:
    """As every caller does: a database that is away is tried again. Any other error fails the storm."""
    while True:
        try:
            await call(*args)
            return
        except QueueUnavailable:
            await asyncio.sleep(0.05)


async def run(storm: Storm, disaster: Callable[[], Coroutine[Any, Any, None]], seconds: float = 300) -> None:
    """To its end: produce and meddle, calm down when most is done, wait for the rest."""
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(contextlib.suppress(asyncio.CancelledError))
        queues = [
            await stack.enter_async_context(
                await Queue.open(storm.dsn, expiry_seconds=EXPIRY, application_name=f"storm-{n}")
            )
            for n in range(7)
        ]
        producing, operating, other, *working = queues
        await producing.set_queue("limited", max_running=LIMIT)
        tasks: list[asyncio.Task[Any]] = []

        def start(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[Any]:
            tasks.append(asyncio.create_task(coroutine))
            return tasks[-1]

        try:
            async with asyncio.timeout(seconds):
                for queue in working:
                    start(storm.work(queue))
                start(storm.operate(operating))
                start(storm.operate(other))
                start(storm.watch())
                meddlers = [start(storm.meddle(producing)), start(disaster())]
                await asyncio.gather(
                    *(storm.produce(producing, n) for n in range(PRODUCERS)), storm.stand_in_line(producing)
                )
                made = sum(len(jobs) for jobs in storm.produced.values())
                await storm.until(lambda _, done: done > 0.8 * made, tasks)
                storm.calm.set()
                await asyncio.gather(*meddlers)
                await storm.until(lambda open_, _: open_ == 0, tasks)
                storm.over.set()
                await asyncio.gather(*tasks)
                await storm.claim_the_line()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
