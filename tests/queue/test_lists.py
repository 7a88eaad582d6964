"""Lists and counts of jobs against a plain filter over all of them; and what has ended, by the minute, against every end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from agentjobs.queue import numbers
from agentjobs.queue.board import SeriesKey
from agentjobs.queue.errors import JobRejected
from agentjobs.queue.job_list import JobFilter, JobRow
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, NewJob, ObjectRef, State
from agentjobs.values.usage import Usage
from queue_builders import CLUSTER, TestWorker, expire_worker, make_steady, new_job, pass_time, sql

NAMESPACES, QUEUES, AGENTS, USERS, SESSIONS = (
    ("", "a", "b"),
    ("agents", "slow"),
    ("m.one", "m.two"),
    ("ann", "bob/x"),
    ("s 1", "s/2"),
)
ENDS = """
create table ends as select id, facet, state, reason, finished_at, spent, usage, run_started_at from outcome where false;
create function note() returns trigger language plpgsql as $$ begin
  insert into agentjobs.ends select n.id, n.facet, n.state, n.reason, n.finished_at, n.spent, n.usage, n.run_started_at from (select new.*) n;
  return null; end $$;
create trigger note after insert on outcome for each row execute function note()
"""
"""Every end, noted by the database itself, whatever statement made it."""
SERIES = """
select date_trunc('minute', finished_at), {key}, state_name(e.state, false), count(*),
       sum(coalesce(e.spent[3], 0) + coalesce(e.usage[3], 0))::bigint
from ends e join facet f on f.id = e.facet group by 1, 2, 3 order by 1, 2, 3
"""


def any_job(chance: random.Random) -> NewJob:
    namespace, agent, session = (
        chance.choice(NAMESPACES),
        chance.choice(AGENTS),
        chance.choice((None, *SESSIONS)),
    )
    payload: dict[str, Any] = {"v": 1, "userID": chance.choice(USERS), "agent": {"module": agent}}
    if chance.random() < 0.5:
        payload["agent"] = {"inline": {"name": agent, "model": f"gpt-{agent[-3:]}"}}
    later = chance.random() < 0.2
    return new_job(
        payload=payload,
        queue=chance.choice(QUEUES),
        session=None if session is None else f"ns/app/u/{session.replace(' ', '%20').replace('/', '%2F')}",
        run_at=datetime.now(UTC) + timedelta(hours=1) if later else None,
        suspend=chance.random() < 0.1,
        starting_deadline_seconds=chance.choice((None, None, None, 3000)),
        ref=ObjectRef(CLUSTER, namespace, f"job-{chance.randrange(9)}") if namespace else None,
    )


async def live(queue: Queue, worker: TestWorker, dsn: str, chance: random.Random, steps: int) -> list[UUID]:
    """A random life of many jobs: every way in which a job ends or goes back occurs."""
    uids: list[UUID] = []
    usage = Usage(1, 2, 3, 1, 0)
    for _ in range(steps):
        match chance.randrange(12):
            case 0 | 1 | 2:
                jobs = [any_job(chance) for _ in range(5)]
                await queue.enqueue(jobs)
                uids += [job.uid for job in jobs]
            case 3 | 4 | 5:
                await queue.admit()
                await worker.claim(6)
            case 6 | 7 | 8 if worker.held:
                kind = chance.choice(
                    (AckKind.COMPLETE, AckKind.FAIL, AckKind.RETRY, AckKind.RETRY, AckKind.SNOOZE)
                )
                delay = 0.0 if kind in (AckKind.COMPLETE, AckKind.FAIL) else chance.choice((0.0, 60.0))
                reason = "" if kind is AckKind.COMPLETE else chance.choice(("ModelError", "ToolError"))
                await worker.ack(
                    chance.choice(worker.held), kind, delay_seconds=delay, reason=reason, usage=usage
                )
            case 9 if uids:
                act = chance.choice((queue.cancel, queue.suspend, queue.resume, queue.retry))
                await act(chance.choice(uids))
            case 10 if uids:
                await queue.set_max_attempts(chance.choice(uids), 1)
            case _:
                await pass_time(dsn, chance.choice((40, 1200)))
                await sql(dsn, "update worker set beat_at = clock_timestamp()")
                await queue.tick(worker.id)
    return uids


async def everything(queue: Queue) -> list[JobRow]:
    page = await queue.jobs(JobFilter(), limit=1000)
    assert page.next is None
    return list(page.jobs)


def passes(job: JobRow, which: JobFilter, accepted: dict[UUID, datetime]) -> bool:
    namespace = job.ref.namespace if job.ref else ""
    ended = job.finished_at is not None and which.since is not None and job.finished_at >= which.since
    return (
        which.namespace in (None, namespace)
        and (not which.states or job.state in which.states)
        and which.reason in (None, job.reason)
        and which.queue in (None, job.queue)
        and which.agent in (None, job.agent)
        and which.model in (None, job.model)
        and which.user in (None, job.user)
        and which.session in (None, job.session)
        and (which.since is None or accepted[job.uid] >= which.since or ended)
    )


def any_filter(chance: random.Random, now: datetime) -> JobFilter:
    def maybe(*values: Any) -> Any:
        return chance.choice(values) if chance.random() < 0.3 else None

    return JobFilter(
        namespace=maybe(*NAMESPACES, "none"),
        states=frozenset(chance.sample(list(State), chance.choice((0, 0, 1, 2, 5)))),
        reason=maybe("ModelError", "Cancelled", "Backoff", "Suspended", "ToolFailed"),
        queue=maybe(*QUEUES),
        agent=maybe(*AGENTS, "none"),
        model=maybe("gpt-one", "gpt-two", "none"),
        user=maybe(*USERS, "none"),
        session=maybe(*SESSIONS, "none"),
        since=maybe(
            now - timedelta(minutes=1),
            now - timedelta(minutes=30),
            now - timedelta(hours=5),
            now - timedelta(days=30),
        ),
    )


@pytest.mark.parametrize("seed", range(3))
async def test_every_filter_finds_exactly_the_jobs_that_a_plain_one_does(
    queue: Queue, worker: TestWorker, dsn: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    await live(queue, worker, dsn, chance, 120)
    await sql(dsn, "update outcome set finished_at = '2020-01-01' where mod(id, 7) = 0")
    await queue.prune()  # leaves tombstones
    jobs = await everything(queue)
    accepted = dict(await sql(dsn, "select uid, accepted_at from job"))
    assert len({job.state for job in jobs}) > 5
    monkeypatch.setattr(numbers, "LIST_LOOK", 7)
    monkeypatch.setattr(numbers, "LIST_COUNT", chance.choice((5, 20_000)))
    monkeypatch.setattr(numbers, "LIST_STATEMENTS", 3)
    now = datetime.now(UTC)
    for _ in range(150):
        which = any_filter(chance, now)
        right = [job.id for job in jobs if passes(job, which, accepted)]
        paged: list[int] = []
        after, limit = None, chance.choice((1, 3, 50))
        while True:
            page = await queue.jobs(which, after=after, limit=limit)
            assert len(page.jobs) <= limit
            paged += [job.id for job in page.jobs]
            after = page.next
            if after is None:
                break
        assert paged == right, which
        assert await queue.count_jobs(which) == len(right), which


async def test_no_page_repeats_or_loses_a_job_while_jobs_move(queue: Queue, worker: TestWorker) -> None:
    still = [new_job(suspend=True) for _ in range(30)]
    moving = [new_job() for _ in range(30)]
    await queue.enqueue([job for pair in zip(still, moving, strict=True) for job in pair])
    seen: list[UUID] = []
    after = None
    while True:
        page = await queue.jobs(JobFilter(queue="agents"), after=after, limit=4)
        seen += [job.uid for job in page.jobs]
        after = page.next
        if after is None:
            break
        for run in await worker.claim(2):
            await worker.ack(run, AckKind.RETRY if run.id % 2 else AckKind.COMPLETE)
        await queue.enqueue([new_job()])
    assert len(seen) == len(set(seen))
    assert {job.uid for job in (*still, *moving)} <= set(seen)


@pytest.mark.parametrize("token", ["", "7", "1-", "1--7", "1-x", "1-99999999999999999999", "2-7"])
async def test_a_token_that_no_page_gave_is_refused(queue: Queue, token: str) -> None:
    with pytest.raises(JobRejected, match="continue"):
        await queue.jobs(JobFilter(), after=token)


async def test_many_facets_change_how_a_list_is_found_and_not_what_it_has(queue: Queue) -> None:
    jobs = [new_job(payload={"v": 1, "agent": {"module": f"m{n}"}}, suspend=n % 9 == 0) for n in range(600)]
    await queue.enqueue(jobs)
    suspended = frozenset({State.SUSPENDED})
    for which, right in (
        (JobFilter(queue="agents"), jobs[::-1]),
        (JobFilter(queue="agents", states=suspended), [job for job in jobs[::-1] if job.suspend]),
        (JobFilter(states=suspended), [job for job in jobs[::-1] if job.suspend]),
        (JobFilter(agent="m7"), [jobs[7]]),
        (JobFilter(queue="none"), []),
    ):
        assert [job.uid for job in (await queue.jobs(which, limit=1000)).jobs] == [job.uid for job in right]
        assert await queue.count_jobs(which) == len(right)


async def test_the_newest_job_of_a_name_is_found(queue: Queue) -> None:
    old, new = (new_job(ref=ObjectRef(CLUSTER, "a", "x")) for _ in range(2))
    await queue.enqueue([old])
    await queue.enqueue([new])
    assert await queue.job_at("a", "x") == new.uid
    assert await queue.job_at("a", "y") is None
    assert await queue.job_at("b", "x") is None


@pytest.mark.parametrize("key", ["queue", "namespace", "agent", "model", "reason"])
async def test_the_series_counts_every_end_once_however_the_job_ended(
    queue: Queue, worker: TestWorker, dsn: str, key: Any
) -> None:
    await sql(dsn, ENDS)
    chance = random.Random(key)
    for _ in range(4):
        await live(queue, worker, dsn, chance, 40)
        await sql(
            dsn,
            "update ends set finished_at = (select max(finished_at) from outcome where outcome.id = ends.id)"
            " where exists (select from outcome where outcome.id = ends.id)",
        )
        await queue.prune()
    if worker.held:
        await expire_worker(dsn, worker)
        other = await TestWorker(queue).register()
        await make_steady(dsn, other)
        for _ in range(6):
            await queue.tick(other.id)
    column = {"reason": "e.reason"}.get(key, f"f.{key}")
    right = Counter[tuple[Any, ...]]()
    for _, name, state, n, tokens in await sql(dsn, SERIES.format(key=column)):
        right[name, state] += n
        right[name, state, "tokens"] += tokens
    now = datetime.now(UTC)
    for minutes in (1, 7, 15, 24 * 60):
        found = Counter[tuple[Any, ...]]()
        for point in await queue.series(
            now - timedelta(days=3), now + timedelta(minutes=1), by=key, step=timedelta(minutes=minutes)
        ):
            found[point.key, point.outcome.value] += point.n
            found[point.key, point.outcome.value, "tokens"] += point.tokens
        assert found == right, minutes
    assert len(right) > 4


TALLIES = """
insert into tally (minute, facet, state, reason, n, tokens, seconds, first_id, last_id)
select date_trunc('minute', clock_timestamp()) - make_interval(mins => (random() * 400)::int), (select min(id) from facet) + mod(m, 12),
       (array['c', 'f'])[1 + mod(m, 2)]::"char", 'r' || mod(m, 3), m, 10 * m, m, m, m
from generate_series(1, 100) m
"""


async def test_a_series_of_longer_steps_is_the_sum_of_its_minutes_however_far_they_are_rolled_up(
    queue: Queue, dsn: str
) -> None:
    chance = random.Random(1)
    await queue.enqueue([any_job(chance) for _ in range(80)])
    (facets,) = await sql(dsn, "select count(*), max(id) - min(id) from facet")
    assert facets[0] >= 12
    for limit in (
        30,
        70,
        500,
        60,
        0,
    ):  # some minutes are rolled up twice, some in part, the last ones not at all
        await sql(dsn, TALLIES)
        await sql(dsn, f"select roll_up(clock_timestamp() - interval '20 minutes', {limit})")
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    keys: tuple[SeriesKey, ...] = ("queue", "namespace", "agent", "model", "reason")
    ends = 0
    for _ in range(40):
        since = now - timedelta(minutes=chance.randrange(410), seconds=chance.choice((0, 0, 7)))
        until = since + timedelta(minutes=chance.randrange(300), seconds=chance.choice((0, 30)))
        by, namespace = chance.choice(keys), chance.choice((None, None, None, "a"))
        step = timedelta(minutes=chance.choice((5, 15, 60, 6)))
        sums = Counter[tuple[Any, ...]]()
        for point in await queue.series(since, until, namespace=namespace, by=by):
            place = point.minute - (point.minute - datetime(1970, 1, 1, tzinfo=UTC)) % step
            for what in ("n", "tokens", "seconds"):
                sums[place, point.key, point.outcome, what] += getattr(point, what)
            ends += point.n
        found = await queue.series(since, until, namespace=namespace, by=by, step=step)
        assert {
            (point.minute, point.key, point.outcome, what): getattr(point, what)
            for point in found
            for what in ("n", "tokens", "seconds")
        } == dict(sums)
        assert len(found) == len({(point.minute, point.key, point.outcome) for point in found})
    assert ends > 10_000


async def test_a_step_that_is_no_whole_minute_is_refused(queue: Queue) -> None:
    now = datetime.now(UTC)
    for seconds in (0, 30, 90, -60):
        with pytest.raises(ValueError, match="whole minutes"):
            await queue.series(now, now, step=timedelta(seconds=seconds))


async def test_tallies_are_rolled_up_when_their_minute_is_over_and_go_with_retention(
    queue: Queue, worker: TestWorker, dsn: str
) -> None:
    await queue.enqueue([new_job() for _ in range(4)])
    for run in await worker.claim(4):
        await worker.ack(run)
    counts = (
        "select (select sum(n) from tally)::int, (select sum(n) from tally_minute)::int, (select count(*) from tally_minute),"
        " (select sum(n) / 2 from tally_key where by = 'r')::int"
    )
    await pass_time(dsn, 120)
    await queue.prune()
    (counted,) = await sql(dsn, counts)
    assert (counted[:2], counted[3]) == ((None, 4), 4)
    now = datetime.now(UTC)
    points = await queue.series(now - timedelta(hours=1), now, by="queue", namespace="")
    assert [(point.key, point.outcome, point.n) for point in points] == [("agents", State.COMPLETE, 4)]
    assert await queue.series(now - timedelta(hours=1), now, namespace="a") == []
    await pass_time(dsn, 30 * 86400)
    await queue.prune()
    assert await sql(dsn, counts) == [(None, None, 0, None)]
    assert await sql(dsn, "select count(*) from facet") == [(0,)]


async def test_a_facet_with_a_job_stays_and_an_old_one_is_not_used_again(queue: Queue, dsn: str) -> None:
    await queue.enqueue([new_job()])
    await pass_time(dsn, 30 * 86400)
    await queue.prune()
    await queue.enqueue([new_job()])
    assert await sql(dsn, "select count(*), count(distinct facet) from job") == [(2, 2)]
    assert await queue.count_jobs(JobFilter(queue="agents")) == 2


async def test_a_board_counts_what_waits_and_runs_in_each_namespace(queue: Queue, worker: TestWorker) -> None:
    mine = [new_job(ref=ObjectRef(CLUSTER, "a", f"x{n}")) for n in range(3)]
    await queue.enqueue([*mine, new_job(), new_job(queue="slow", suspend=True)])
    await queue.set_queue("slow", paused=True, by="ann", reason="later", max_running=3)
    await worker.claim(1)
    whole, own = await queue.board(), await queue.board("a")
    assert [(q.name, q.waiting, q.running, q.slots, q.limit) for q in whole.queues] == [
        ("agents", 3, 1, 10, None),
        ("slow", 1, 0, 0, 3),
    ]
    assert (whole.queues[1].paused_by, whole.queues[1].paused_reason) == ("ann", "later")
    assert [(q.name, q.waiting, q.running, q.slots) for q in own.queues] == [("agents", 2, 1, 10)]
    assert [(w.id, w.running) for w in own.workers] == [(worker.id, 1)]
    assert (await queue.board("none")).queues == []


async def test_a_board_tells_which_workers_take_no_new_jobs(queue: Queue, worker: TestWorker) -> None:
    rooms: list[list[str] | None] = [["agents"], [], None]
    told = []
    for room in rooms:
        await queue.beat(worker.id, [], [], room)
        told += [one.accepting for one in (await queue.board()).workers]
    assert told == [True, True, False], "a full one takes jobs again as soon as a run has ended"


async def test_a_board_counts_each_job_once_while_jobs_are_claimed_and_given_back(
    queue: Queue, worker: TestWorker
) -> None:
    await queue.enqueue([new_job(queue="agents") for _ in range(40)])
    moving = True

    async def move() -> None:
        while moving:
            for run in await worker.claim(7):
                await worker.ack(run, AckKind.SNOOZE)

    async with asyncio.TaskGroup() as group:
        group.create_task(move())
        for _ in range(100):
            (found,) = (await queue.board()).queues
            assert found.waiting + found.running == 40
        moving = False


async def test_a_job_is_found_by_names_longer_than_what_is_kept_of_them(queue: Queue) -> None:
    user, agent = "u" * 300, f"m.{'x' * 300}"
    job = new_job(payload={"v": 1, "userID": user, "agent": {"module": agent}})
    await queue.enqueue([job, new_job(payload={"v": 1, "userID": "u" * 200, "agent": {"module": "m.x"}})])
    for which in (JobFilter(user=user), JobFilter(agent=agent), JobFilter(user=user, agent=agent)):
        assert [row.uid for row in (await queue.jobs(which)).jobs] == [job.uid]
        assert await queue.count_jobs(which) == 1


async def test_a_followed_job_comes_without_the_run_that_ended_it(queue: Queue) -> None:
    worker = await TestWorker(queue).register()
    job = new_job()
    await queue.enqueue([job])
    await worker.ack(await worker.one(), log_tail="printed\n")
    alone, whole = await queue.show(job.uid, runs=False), await queue.show(job.uid)
    assert alone is not None
    assert whole is not None
    assert [run.log_tail for run in whole.attempts_log] == ["printed\n"]
    assert alone.attempts_log == ()
    assert alone.state is State.COMPLETE
