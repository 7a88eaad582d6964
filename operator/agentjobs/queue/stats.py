"""The numbers of all queues, for metrics and autoscalers, counted page by page: no statement reads more than one page.

A job that moves meanwhile is counted once at most. All waiting jobs are read: callers cache the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, LiteralString

from agentjobs.queue import numbers
from agentjobs.queue.connection import Database
from agentjobs.queue.records import State
from agentjobs.values.text import dumps

# A page of the jobs that wait, counted: the id of its last one, how many it has, and the numbers by queue, state and, where
# they are blocked, target. A count of all would read every row in one statement. Index: waiting's primary key.
WAITING_PAGE: LiteralString = """
with page as materialized (
    select w.id, w.queue, w.state, w.started_at is not null as started, case when w.state = 'm' then w.target end as target, w.since
    from agentjobs.waiting w where w.id > %(after)s order by w.id limit %(page)s)
select (select max(id) from page), (select count(*) from page),
       (select coalesce(json_agg(json_build_array(g.queue, g.state, g.started, g.target, g.n, g.oldest)), '[]') from (
          select queue, state, started, target, count(*) as n,
                 extract(epoch from clock_timestamp() - min(since) filter (where state = 'r')) as oldest
          from page group by 1, 2, 3, 4) g)
"""
# The same of the objects whose status is stale. Index: outbox's primary key.
OUTBOX_PAGE: LiteralString = """
with page as materialized (select x.id, x.marked_at from agentjobs.outbox x where x.id > %(after)s order by x.id limit %(page)s)
select max(id), count(*), extract(epoch from clock_timestamp() - min(marked_at)) from page
"""
# All other numbers, and the names: anybody who makes a job can name a queue, so all but the %(most)s most important queues are
# summed up; those that live workers serve come first, then the longest. No locks; a snapshot of its own.
REST: LiteralString = """
with waits as materialized (
    select * from json_to_recordset(%(waits)s::json) as w(queue text, state "char", started boolean, target text, n bigint, oldest float8)),
  runs as materialized (select r.queue, count(*) as n from agentjobs.running r group by 1),
  live as materialized (
    select k.pool, k.queues from agentjobs.worker k
    where k.beat_at > clock_timestamp() - %(expiry)s and k.queues::text <> '{}'),
  slots as materialized (
    select s.key as queue, sum(case when s.value ~ '^[0-9]{1,6}$' then s.value::int else 0 end) as n
    from live, json_each_text(live.queues) s group by 1),
  named as materialized (
    select x.queue from (
      select queue, 0 as served, n from waits union all select queue, 0, n from runs
      union all select queue, 1, 0 from slots union all select name, 0, 0 from agentjobs.queue) x
    group by 1 order by max(x.served) desc, sum(x.n) desc, 1 limit %(most)s),
  depth as (
    select coalesce(named.queue, %(other)s) as queue, agentjobs.state_name(w.state, w.started) as state, sum(w.n) as n,
           max(w.oldest) as oldest,
           sum(case when w.state in ('r', 'q', 'n') and q.paused_at is null then w.n else 0 end) as ready
    from waits w left join named on named.queue = w.queue left join agentjobs.queue q on q.name = w.queue group by 1, 2),
  wanted as (
    select coalesce(named.queue, %(other)s) as queue, sum(greatest(x.running, least(x.running + x.ready, q.max_running))) as n
    from (select queue, sum(running) as running, sum(ready) as ready from (
            select queue, n as running, 0 as ready from runs
            union all select w.queue, 0, w.n from waits w left join agentjobs.queue q on q.name = w.queue
                      where w.state in ('r', 'q', 'n') and q.paused_at is null
            union all select w.queue, 0, 1 from waits w left join agentjobs.queue q on q.name = w.queue
                      where w.state = 'm' and q.paused_at is null group by 1) each group by 1) x
    left join named on named.queue = x.queue left join agentjobs.queue q on q.name = x.queue group by 1),
  pools as (select pool, count(*) as n from live group by 1 order by 2 desc, 1 limit %(most)s)
select (select coalesce(json_agg(queue), '[]') from named),
       (select coalesce(json_agg(json_build_array(queue, state, n, oldest, ready)), '[]') from depth),
       (select coalesce(json_agg(json_build_array(x.queue, x.n)), '[]') from (
          select coalesce(named.queue, %(other)s) as queue, sum(r.n) as n
          from runs r left join named on named.queue = r.queue group by 1) x),
       (select coalesce(json_agg(json_build_array(queue, n)), '[]') from wanted),
       (select coalesce(json_agg(json_build_array(s.queue, s.n)), '[]') from slots s join named on named.queue = s.queue),
       (select coalesce(json_agg(q.name), '[]') from agentjobs.queue q join named on named.queue = q.name
         where q.paused_at is not null),
       (select coalesce(json_agg(json_build_array(pool, n)), '[]') from pools),
       (select coalesce(json_agg(json_build_array(m.pool, m.model, m.kind, m.held)), '[]') from (
          select h.pool, h.model, h.kind,
                 (select coalesce(sum(w.n), 0) from waits w where w.state = 'm' and w.target = any (h.targets)) as held
          from agentjobs.open_breakers() h order by held desc, 1, 2 limit %(most)s) m)
"""


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Numbers by queue. Each mapping has all queues; those beyond the bound are summed up as ``other``."""

    depth: Mapping[tuple[str, State], int]
    """Unfinished jobs that do not run, by queue and state."""
    ready: Mapping[str, int]
    """Jobs that a free slot could claim at once: not behind their session, in no paused queue."""
    oldest_wait_seconds: Mapping[str, float]
    """How long the oldest ready job has waited; 0: none is ready."""
    running: Mapping[str, int]
    wanted: Mapping[str, int]
    """Slots that the queue could use now: its running jobs, the ready ones that its limit leaves room for, and one where jobs are
    held up by their model (SQL: wanted_slots)."""
    slots: Mapping[str, int]
    """Slots of all live workers."""
    paused: Mapping[str, bool]
    workers: Mapping[str, int]
    """Live workers by pool; operators do not count."""
    outbox: int
    """Objects whose status is stale."""
    outbox_lag_seconds: float
    blocked: Mapping[tuple[str, str, str], int]
    """Jobs that are blocked by their model, by pool, model and reason of the open breaker."""


async def read(db: Database, expiry: timedelta, most: int, other: str) -> QueueStats:
    """The numbers now.

    :param most: how many queues get numbers of their own; the rest is summed up under ``other``.
    """
    waits = await _waits(db)
    stale, lag = await _stale(db)
    params = {"expiry": expiry, "most": most, "other": other, "waits": dumps(waits)}
    ((names, depth, running, wanted, slots, paused, workers, blocked),) = await db.fetch(REST, params)
    zero = dict.fromkeys(names, 0)
    oldest: dict[str, float] = dict.fromkeys(names, 0.0)
    able = dict(zero)
    for queue, _, _, seconds, ready in depth:
        oldest[queue] = max(oldest.get(queue, 0.0), float(seconds or 0))
        able[queue] = able.get(queue, 0) + int(ready)
    return QueueStats(
        depth={(queue, State.QUEUED): 0 for queue in names}
        | {(queue, State(state)): int(n) for queue, state, n, _, _ in depth},
        ready=able,
        oldest_wait_seconds=oldest,
        running=zero | {queue: int(n) for queue, n in running},
        wanted=zero | {queue: int(n) for queue, n in wanted},
        slots=zero | {queue: int(n) for queue, n in slots},
        paused={queue: queue in set(paused) for queue in names},
        workers={pool: int(n) for pool, n in workers},
        outbox=stale,
        outbox_lag_seconds=lag,
        blocked={(pool, model, reason): int(n) for pool, model, reason, n in blocked},
    )


async def _waits(db: Database) -> list[dict[str, Any]]:
    """The jobs that wait, by queue, state, whether they have started, and target."""
    found: dict[tuple[Any, ...], tuple[int, float | None]] = {}
    after, full = -1, True
    while full:
        ((last, size, groups),) = await db.fetch(WAITING_PAGE, {"after": after, "page": numbers.COUNT_PAGE})
        for *key, n, oldest in groups:
            before, age = found.get(tuple(key), (0, None))
            ages = [one for one in (age, oldest) if one is not None]
            found[tuple(key)] = (before + n, max(ages, default=None))
        after, full = last, size == numbers.COUNT_PAGE
    names = ("queue", "state", "started", "target")
    return [{**dict(zip(names, key, strict=True)), "n": n, "oldest": age} for key, (n, age) in found.items()]


async def _stale(db: Database) -> tuple[int, float]:
    """Objects whose status is stale, and for how many seconds the oldest of them has been."""
    count, lag, after, full = 0, 0.0, -1, True
    while full:
        ((last, size, age),) = await db.fetch(OUTBOX_PAGE, {"after": after, "page": numbers.COUNT_PAGE})
        count, lag = count + size, max(lag, float(age or 0))
        after, full = last, size == numbers.COUNT_PAGE
    return count, lag
