"""What lists, the board and the series of a day take with a million finished and 100,000 waiting jobs.

Each list is asked for its first page of 50, as a caller of ``Queue.jobs`` gets it; read are rows and entries of indexes
together. The jobs were accepted and ended over the last seven days, of 40
namespaces, 5 queues, 4 agents and 3 models; nearly all ended well. Series have the steps that the dashboard asks for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from agentjobs.local.process import wait_until
from agentjobs.queue.board import SeriesKey
from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State
from benchmarks import report
from benchmarks.machine import Meter
from benchmarks.report import Options, Table, number
from benchmarks.server import Server

FINISHED, WAITING = 1_000_000, 100_000
CALLS = 30
DAY = timedelta(days=1)
KEYS: tuple[SeriesKey, ...] = ("queue", "namespace", "reason")
SLICE = 100_000
FACETS = """
insert into facet (namespace, queue, agent, model, made_at)
select 'team-' || n, 'queue-' || q, 'agents.a' || a, 'model-' || m, now()
from generate_series(1, 40) n, generate_series(1, 5) q, generate_series(1, 4) a, generate_series(1, 3) m
where (n + q + a + m) % 4 = 0
"""
JOBS = """
create or replace function pg_temp.jobs(p_n int, p_from timestamptz, p_to timestamptz) returns table (id bigint, facet int, queue text, session text, at timestamptz)
  language sql as $$
  with f as materialized (select id, namespace, queue, row_number() over (order by id) - 1 as k from facet),
    size as (select count(*) as n from f)
  insert into job (id, uid, queue, priority, session, target, facet, user_id, due_at, max_attempts, attempt_timeout, payload, bytes,
                   cluster_id, namespace, name, round_at, created_at, accepted_at)
  select nextval('position'), gen_random_uuid(), f.queue, 2, f.namespace || '/app/user-' || i % 1000 || '/s-' || i % 20000,
         'model:m', f.id, 'user-' || i % 1000, at, 3, 1800, '{}', 2, 'k8s', f.namespace, 'job-' || i, at, at, at
  from (select i, p_from + (p_to - p_from) * (i::float8 / p_n) as at, f.* from generate_series(1, p_n) i, size
        join f on true where f.k = (i * 7919::bigint) % size.n order by i offset 0) f      -- ids in the order of time, as enqueue() gives them
  returning id, facet, queue, session, accepted_at $$
"""
ENDED = """
insert into outcome (id, facet, state, reason, message, queue, attempt, run, worker_name, started_at, run_started_at, finished_at,
                     result, usage)
select n.id, n.facet, s.state, case s.state when 'f' then (array['AgentError', 'AttemptsExhausted', 'Timeout'])[1 + n.id %% 3]
                                            when 'c' then '' else 'Cancelled' end,
       'a message', n.queue, 1, 1, 'worker-1', n.at, n.at, n.at + interval '20 seconds', repeat('x', 200),
       '{10,20,30,1,0}'
from pg_temp.jobs(%s, %s, %s) n
cross join lateral (select case when n.id %% 100 < 3 then 'f' when n.id %% 100 = 3 then 'k' else 'c' end::"char" as state) s
"""
WAITS = """
insert into waiting (id, facet, queue, pos, state, mirrored, session, bytes, run_at, since, reason)
select n.id, n.facet, n.queue, pos(2::smallint, n.id), s.state, true, n.session, 2, now(), now(),
       case s.state when 'l' then 'RetryBackoff' when 'r' then '' else 'Waiting' end
from pg_temp.jobs(%s, now() - interval '1 minute', now()) n
cross join lateral (select case n.id %% 10 when 0 then 'l' when 1 then 'b' when 2 then 's' else 'r' end::"char" as state) s
"""
TALLIES = """
insert into tally_minute (minute, facet, state, reason, n, tokens, seconds, first_id, last_id)
select date_trunc('minute', finished_at), facet, state, reason, count(*), sum(usage[3]), count(*) * 20, min(id), max(id)
from outcome group by 1, 2, 3, 4
"""
SUMS = """
insert into tally_key (by, minutes, begins, key, state, n, tokens, seconds)
select k.by, p.minutes, date_bin(make_interval(mins => p.minutes), m.minute, '1970-01-01Z'), k.key, m.state, sum(m.n), sum(m.tokens), sum(m.seconds)
from tally_minute m join facet f on f.id = m.facet
cross join lateral (values ('q'::"char", f.queue), ('n', f.namespace), ('a', f.agent), ('m', f.model), ('r', m.reason)) k(by, key)
cross join (values (5), (60)) p(minutes)
group by 1, 2, 3, 4, 5
"""
FIRSTS = "insert into tally_first select minute, min(first_id) from tally_minute group by minute"
COUNTED = """
select (select coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), 0) from pg_stat_user_tables)
     + (select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes where indexrelname <> 'outcome_time')
"""
SESSIONS = "select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'"
BACKENDS = """
select coalesce(array_agg(pid), '{}') from pg_stat_activity
where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
"""
_Call = Callable[[Queue], Awaitable[object]]


def fill(dsn: str, finished: int, waiting: int) -> None:
    """The jobs, straight into the tables: what ended is spread evenly over seven days, what waits is the newest."""
    with psycopg.connect(dsn, autocommit=True, options="-c search_path=agentjobs") as conn:
        conn.execute(FACETS)
        conn.execute(JOBS)
        begin, span = (
            datetime.now(UTC) - timedelta(days=7) + timedelta(minutes=5),
            timedelta(days=7, minutes=-6),
        )
        for done in range(0, finished, SLICE):
            part = min(SLICE, finished - done)
            times = [begin + span * (n / finished) for n in (done, done + part)]
            conn.execute(ENDED, [part, *times])
        conn.execute(WAITS, [waiting])
        conn.execute(TALLIES)
        conn.execute(SUMS)
        conn.execute(FIRSTS)
        conn.execute("select brin_summarize_new_values('outcome_time')")
        conn.execute("vacuum analyze")


def pages() -> Mapping[str, JobFilter]:
    """What is asked, in words."""
    now = datetime.now(UTC)
    complete, failed = frozenset({State.COMPLETE}), frozenset({State.FAILED})
    return {
        "all": JobFilter(),
        "namespace": JobFilter(namespace="team-7"),
        "queue": JobFilter(queue="queue-2"),
        "agent and model": JobFilter(agent="agents.a2", model="model-1"),
        "Complete": JobFilter(states=complete),
        "Failed": JobFilter(states=failed),
        "Queued": JobFilter(states=frozenset({State.QUEUED})),
        "Running (none)": JobFilter(states=frozenset({State.RUNNING})),
        "InputRequired (none)": JobFilter(states=frozenset({State.INPUT_REQUIRED})),
        "namespace, Complete": JobFilter(namespace="team-7", states=complete),
        "namespace, Failed": JobFilter(namespace="team-7", states=failed),
        "namespace, Rejected (none)": JobFilter(namespace="team-7", states=frozenset({State.REJECTED})),
        "namespace, queue, agent, Failed": JobFilter("team-7", failed, queue="queue-2", agent="agents.a2"),
        "reason": JobFilter(reason="Timeout"),
        "namespace, reason": JobFilter(namespace="team-7", reason="Timeout"),
        "reason (none)": JobFilter(reason="Nothing"),
        "user": JobFilter(user="user-77"),
        "user, Failed": JobFilter(user="user-77", states=failed),
        "user (none)": JobFilter(user="nobody"),
        "session": JobFilter(session="s-77"),
        "session (none)": JobFilter(session="nothing"),
        "namespace (none)": JobFilter(namespace="nowhere"),
        "since 2 hours": JobFilter(since=now - timedelta(hours=2)),
        "since 2 hours, Failed": JobFilter(since=now - timedelta(hours=2), states=failed),
        "since 2 hours, namespace, Complete": JobFilter("team-7", complete, since=now - timedelta(hours=2)),
        "since 1 minute, namespace, Complete": JobFilter(
            "team-7", complete, since=now - timedelta(minutes=1)
        ),
        "since 5 days, namespace, Failed": JobFilter("team-7", failed, since=now - timedelta(days=5)),
        "since 5 days, user, Failed": JobFilter(user="user-77", states=failed, since=now - timedelta(days=5)),
    }


def calls() -> Mapping[str, _Call]:
    """Lists, and what else a board shows."""

    def page(which: JobFilter) -> _Call:
        return lambda queue: queue.jobs(which)

    def series(since: datetime, namespace: str | None, by: SeriesKey, minutes: int) -> _Call:
        step = timedelta(minutes=minutes)
        return lambda queue: queue.series(since, now, namespace=namespace, by=by, step=step)

    now = datetime.now(UTC)
    return {
        **{f"list: {words}": page(which) for words, which in pages().items()},
        "count: namespace, Failed": lambda q: q.count_jobs(pages()["namespace, Failed"]),
        "count: since 2 hours": lambda q: q.count_jobs(pages()["since 2 hours"]),
        "job of a name": lambda q: q.job_at("team-7", "job-7"),
        "board": lambda q: q.board(None),
        **{f"series of a day, by {key}": series(now - DAY, None, key, 15) for key in KEYS},
        **{f"series of a day of a namespace, by {key}": series(now - DAY, "team-7", key, 15) for key in KEYS},
        "series of 3 hours, by namespace": series(now - timedelta(hours=3), None, "namespace", 1),
        "series of 12 hours, by namespace": series(now - timedelta(hours=12), None, "namespace", 5),
        "series of 7 days, by namespace": series(now - 7 * DAY, None, "namespace", 60),
    }


@dataclass(frozen=True, slots=True)
class Measured:
    """Calls of one session, one after another."""

    wall_ms: list[float]
    cpu_ms: list[float]
    """Of Postgres."""
    read: float
    """Rows and entries of indexes that one call reads."""
    foreign_share: float


def cpu_ms(pids: Sequence[int]) -> dict[int, float]:
    """What each of these processes has spent so far, to the nanosecond; of one that has ended, as a session before may, nothing."""
    found = {}
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            found[pid] = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6
    return found


async def spent(
    dsn: str, call: _Call, times: int, backends: Callable[[], Sequence[int]]
) -> list[tuple[float, float]]:
    """Milliseconds of each call, and of Postgres' CPU. The call before them finds nothing in the session's caches."""
    found = []
    async with await Queue.open(dsn, connections=1) as queue:
        await call(queue)
        pids = backends()
        for _ in range(times):
            before, begin = cpu_ms(pids), time.perf_counter()
            await call(queue)
            wall = (time.perf_counter() - begin) * 1000
            found.append((wall, sum(after - before[pid] for pid, after in cpu_ms(pids).items())))
    return found


def measure(dsn: str, call: _Call, times: int) -> Measured:
    with psycopg.connect(dsn, autocommit=True, options="-c search_path=agentjobs") as watcher:

        def number_of(query: str) -> int:
            row = watcher.execute(query.encode()).fetchone()
            assert row is not None
            return int(row[0])

        def backends() -> Sequence[int]:
            row = watcher.execute(BACKENDS).fetchone()
            assert row is not None
            return list(row[0])

        def alone() -> bool:
            return number_of(SESSIONS) == 1

        before = number_of(COUNTED)
        meter = Meter().start()
        found = asyncio.run(spent(dsn, call, times, backends))
        meter.stop()
        wait_until(alone, 5)  # a session tells what it read when it ends
        read = (number_of(COUNTED) - before) / (times + 1)
    return Measured([wall for wall, _ in found], [cpu for _, cpu in found], read, meter.foreign_share)


def run(options: Options) -> list[Table]:
    finished, waiting, times = options.count(FINISHED), options.count(WAITING), CALLS * options.rounds
    with Server() as server, server.database() as dsn:
        fill(dsn, finished, waiting)
        server.checkpoint()
        rows = []
        for words, call in calls().items():
            measure(dsn, call, 2)  # what is read first comes from the disk
            found = measure(dsn, call, times)
            rows.append(
                (
                    words,
                    number(report.percentile(found.wall_ms, 0.5)),
                    number(report.percentile(found.wall_ms, 0.95)),
                    number(report.percentile(found.cpu_ms, 0.5)),
                    number(report.percentile(found.cpu_ms, 0.95)),
                    f"{found.read:,.0f}",
                    f"{found.foreign_share * 100:.0f} %",
                )
            )
    return [
        Table(
            f"Lists beside {finished:,} finished and {waiting:,} waiting jobs",
            "python -m benchmarks.lists",
            (
                "asked",
                "p50 ms",
                "p95 ms",
                "Postgres' CPU p50 ms",
                "CPU p95 ms",
                "rows and index entries read",
                "foreign CPU",
            ),
            rows,
            "a page of 50, by one caller. Aim: p95 ≤ 50 ms of server time",
        )
    ]


if __name__ == "__main__":
    report.main(run, __doc__)
