"""What counts for a clock that ends a job: every clock against every event (H16, H20).

Each clock is started so that half of its limit is over; then the event takes ten limits. What counts has ended the job.
What does not count has left it the other half, and not more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, ClaimedJob, NewJob, RetryPolicy, State
from agentjobs.values.reasons import Reason
from agentjobs.values.requests import InputRequest
from queue_builders import TestWorker, new_job, pass_time, shown, sql

LIMIT = 1000
LONG = 10 * LIMIT
ASKED = (InputRequest("q", "approve"),)
MODEL = {"v": 1, "agent": {"inline": {"model": "model"}}}
Clock = Callable[["Bench"], Awaitable[NewJob]]
Event = Callable[["Bench", NewJob], Awaitable[object]]


@dataclass
class Bench:
    dsn: str
    queue: Queue
    worker: TestWorker

    async def job(self, **fields: object) -> NewJob:
        job = new_job(**fields)
        await self.queue.enqueue([job])
        return job

    async def pass_time(self, seconds: float) -> None:
        await pass_time(self.dsn, seconds)
        await self.worker.beat()  # a busy machine takes longer than a worker may be silent
        await self.queue.tick(self.worker.id)

    async def claim(self) -> ClaimedJob:
        await self.queue.admit()
        return await self.worker.one()

    async def run(self, kind: AckKind, reason: str = "Because", delay: float = 0, **more: object) -> None:
        await self.worker.ack(await self.claim(), kind, reason=reason, delay_seconds=delay, **more)

    async def model_is(self, state: str) -> None:
        if state == "unavailable":
            await sql(
                self.dsn,
                "with b as (insert into model_breaker (pool, model, kind, since, failed_at, probe_at) values ('default',"
                " 'model', 'u', clock_timestamp(), clock_timestamp(), clock_timestamp() + interval '90 days') returning id)"
                " insert into model_target select id, 'model' from b",
            )
        else:
            await self.queue.reset_model("default", "model")
            await self.queue.tick(self.worker.id)

    async def state(self, job: NewJob) -> State:
        return (await shown(self.queue, job)).state


# -- clocks: each is half over when it returns ------------------------------------------------------

CLOCKS: dict[str, Clock] = {}
EVENTS: dict[str, Event] = {}


def clock(start: Clock) -> Clock:
    CLOCKS[start.__name__.replace("_", " ")] = start
    return start


def event(happen: Event) -> Event:
    EVENTS[happen.__name__.replace("_", " ")] = happen
    return happen


@clock
async def longest_wait(bench: Bench) -> NewJob:
    job = await bench.job(retry=RetryPolicy(max_wait_seconds=LIMIT), max_attempts=99)
    await bench.run(AckKind.SNOOZE, "ModelRateLimited", delay=100)
    await bench.pass_time(LIMIT / 2)
    return job


@clock
async def longest_wait_of_a_snoozed_job(bench: Bench) -> NewJob:
    """It is due only during what happens."""
    job = await bench.job(retry=RetryPolicy(max_wait_seconds=LIMIT), max_attempts=99)
    await bench.run(AckKind.SNOOZE, "ModelRateLimited", delay=LIMIT / 2 + 50)
    await bench.pass_time(LIMIT / 2)
    return job


@clock
async def longest_wait_for_its_model(bench: Bench) -> NewJob:
    await bench.model_is("unavailable")
    job = await bench.job(payload=MODEL, retry=RetryPolicy(max_wait_seconds=LIMIT))
    assert await bench.worker.claim() == []
    await bench.pass_time(LIMIT / 2)
    return job


@clock
async def starting_deadline(bench: Bench) -> NewJob:
    job = await bench.job(starting_deadline_seconds=LIMIT)
    await bench.pass_time(LIMIT / 2)
    return job


@clock
async def starting_deadline_while_its_model_is_away(bench: Bench) -> NewJob:
    await bench.model_is("unavailable")
    job = await bench.job(payload=MODEL, starting_deadline_seconds=LIMIT)
    assert await bench.worker.claim() == []
    await bench.pass_time(LIMIT / 2)
    return job


@clock
async def active_deadline(bench: Bench) -> NewJob:
    job = await bench.job(active_deadline_seconds=LIMIT, max_attempts=99)
    await bench.run(AckKind.RETRY)
    await bench.pass_time(LIMIT / 2)
    return job


@clock
async def active_deadline_in_backoff(bench: Bench) -> NewJob:
    job = await bench.job(active_deadline_seconds=LIMIT, max_attempts=99)
    await bench.run(AckKind.RETRY, delay=LIMIT / 2 + 50)
    await bench.pass_time(LIMIT / 2)
    return job


@clock
async def input_deadline(bench: Bench) -> NewJob:
    job = await bench.job()
    await bench.run(AckKind.ASK, requests=ASKED, input_deadline_seconds=LIMIT)
    await bench.pass_time(LIMIT / 2)
    return job


# -- events: each takes ten limits ------------------------------------------------------------------


async def _in_order(bench: Bench, job: NewJob, steps: str) -> None:
    """s suspends, r resumes, p pauses, u unpauses, m: its model answers again; time passes between two of them."""
    for number, step in enumerate(steps):
        if number:
            await bench.pass_time(LONG)
        match step:
            case "s":
                await bench.queue.suspend(job.uid)
            case "r":
                await bench.queue.resume(job.uid)
            case "p":
                await bench.queue.set_queue("agents", paused=True)
            case "u":
                await bench.queue.set_queue("agents", paused=False)
            case "m":
                await bench.model_is("answering")


@event
async def suspended(bench: Bench, job: NewJob) -> None:
    await _in_order(bench, job, "sr")


@event
async def suspended_twice(bench: Bench, job: NewJob) -> None:
    await _in_order(bench, job, "sr")
    await _in_order(bench, job, "sr")


@event
async def queue_paused(bench: Bench, job: NewJob) -> None:
    await _in_order(bench, job, "pu")


@event
async def queue_paused_twice(bench: Bench, job: NewJob) -> None:
    await _in_order(bench, job, "pu")
    await _in_order(bench, job, "pu")


@event
async def suspended_in_a_pause(bench: Bench, job: NewJob) -> None:
    await _in_order(bench, job, "psru")


@event
async def paused_while_suspended(bench: Bench, job: NewJob) -> None:
    await _in_order(bench, job, "spur")


@event
async def suspended_and_then_paused(bench: Bench, job: NewJob) -> None:
    await _in_order(bench, job, "spru")


@event
async def paused_and_then_suspended(bench: Bench, job: NewJob) -> None:
    await _in_order(bench, job, "psur")


@event
async def the_model_answers_again_in_a_pause(bench: Bench, job: NewJob) -> None:
    await _in_order(bench, job, "pmu")


@event
async def runs(bench: Bench, job: NewJob) -> None:
    claimed = await bench.claim()
    await bench.pass_time(LONG)
    await bench.worker.ack(claimed, AckKind.RELEASE, reason=Reason.DRAINED)


def _given_back(reason: Reason, delay: float) -> Event:
    async def given_back(bench: Bench, job: NewJob) -> None:
        """Over and over, for ten limits."""
        passed = 0
        while passed < LONG and not (await bench.state(job)).final:
            await bench.run(AckKind.RELEASE, reason, delay)
            ((seconds,),) = await sql(
                bench.dsn, "select extract(epoch from run_at - clock_timestamp())::int + 1 from waiting"
            )
            await bench.pass_time(seconds)
            passed += seconds

    return given_back


EVENTS["its payload is too new"] = _given_back(Reason.PAYLOAD_UNSUPPORTED, 300)
EVENTS["its template is lost"] = _given_back(Reason.EXECUTOR_CRASHED, 300)


@event
async def waits_for_input(bench: Bench, job: NewJob) -> None:
    await bench.run(AckKind.ASK, requests=ASKED)
    await bench.pass_time(LONG)


@event
async def nothing(bench: Bench, job: NewJob) -> None:
    await bench.pass_time(LONG)


# -- what is left of the limit afterwards -----------------------------------------------------------

ENDED, HALF, WHOLE, OFF = "it has ended the job", "half of it is left", "all of it is left", "it runs no more"
PAUSES = [name for name in EVENTS if "suspended" in name or "paused" in name]
BLOCKED = [name for name in CLOCKS if "model" in name]


def promised(clock: str, event: str) -> tuple[str, str] | None:
    """What is left, and the sentence of the docs that says so. None: the two do not meet."""
    kind = clock.split()[0]
    if event == "nothing":
        return ENDED, "a limit is a limit"
    if event in PAUSES:
        if kind == "active" and "suspended" in event:
            return WHOLE, "activeDeadlineSeconds starts over on resume"
        if kind == "input" and "suspended" in event:
            return WHOLE, "one that was asked a question is asked again, with the whole time to answer"
        return HALF, "while a job is suspended, or waits in a paused queue, its clocks stand still"
    if event.startswith("the model"):
        if clock == "longest wait for its model":
            return WHOLE, "it waits for its model no more: the next wait begins a new row"
        return (HALF, "a job that waits in a paused queue") if kind in ("longest", "starting") else None
    if clock == "longest wait":
        if event == "waits for input":
            return OFF, "a question ends the row of waits"
        return HALF, "maxWaitSeconds counts waits that a provider or our own store asked for, not runs"
    if clock == "active deadline":
        return ENDED, "activeDeadlineSeconds runs from the first start over all attempts"
    return None


async def left(bench: Bench, clock: str, job: NewJob) -> str:
    for seconds, so_far in (
        (0, ENDED),
        (440, "less than half of it is left"),
        (120, HALF),
        (380, "more"),
        (120, WHOLE),
    ):
        await bench.pass_time(seconds)
        if clock.startswith("longest"):
            await bench.queue.admit()
            for claimed in await bench.worker.claim():
                await bench.worker.ack(claimed, AckKind.SNOOZE, reason="ModelRateLimited")
            await bench.queue.tick(bench.worker.id)
        if (await bench.state(job)).final:
            return so_far
    return OFF


@pytest.mark.parametrize("clock", CLOCKS)
async def test_h16_h20_what_counts_for_a_clock_that_ends_a_job(queue: Queue, dsn: str, clock: str) -> None:
    wrong = []
    for name, happen in EVENTS.items():
        if (rule := promised(clock, name)) is None:
            continue
        await sql(
            dsn,
            "truncate job, waiting, running, outcome, attempt, session, queue, worker, pause, model_breaker cascade",
        )
        bench = Bench(dsn, queue, await TestWorker(queue).register())
        job = await CLOCKS[clock](bench)
        await happen(bench, job)
        if (found := await left(bench, clock, job)) != rule[0]:
            wrong.append(f"{clock}, {name}: {found}, not: {rule[0]} ({rule[1]})")
    assert not wrong, f"{len(wrong)} events\n" + "\n".join(wrong)
