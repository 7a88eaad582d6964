"""The numbers of all queues at one moment, read in one statement, for metrics and autoscalers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString

from agentjobs.queue.connection import Database
from agentjobs.queue.records import State

# One pass over waiting (measured: 25 ms for 100,000 rows). No index could spare it, since every row counts:
# callers cache the answer. Anybody who makes a job can name a queue, so all but the %(most)s most important
# queues are summed up; those that live workers serve come first, then the longest. No locks; a snapshot of
# its own.
STATEMENT: LiteralString = """
with waits as materialized (
    select w.queue, w.state, w.started_at is not null as started, count(*) as n,
           min(w.since) filter (where w.state = 'r') as oldest
    from agentjobs.waiting w group by 1, 2, 3),
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
           extract(epoch from clock_timestamp() - min(w.oldest)) as oldest,
           sum(case when w.state in ('r', 'n') and q.paused_at is null then w.n else 0 end) as ready
    from waits w left join named on named.queue = w.queue left join agentjobs.queue q on q.name = w.queue group by 1, 2),
  pools as (select pool, count(*) as n from live group by 1 order by 2 desc, 1 limit %(most)s)
select (select coalesce(json_agg(queue), '[]') from named),
       (select coalesce(json_agg(json_build_array(queue, state, n, oldest, ready)), '[]') from depth),
       (select coalesce(json_agg(json_build_array(x.queue, x.n)), '[]') from (
          select coalesce(named.queue, %(other)s) as queue, sum(r.n) as n
          from runs r left join named on named.queue = r.queue group by 1) x),
       (select coalesce(json_agg(json_build_array(s.queue, s.n)), '[]') from slots s join named on named.queue = s.queue),
       (select coalesce(json_agg(q.name), '[]') from agentjobs.queue q join named on named.queue = q.name
         where q.paused_at is not null),
       (select coalesce(json_agg(json_build_array(pool, n)), '[]') from pools),
       (select json_build_array(count(*), extract(epoch from clock_timestamp() - min(marked_at))) from agentjobs.outbox),
       (select coalesce(json_agg(json_build_array(m.pool, m.model, m.kind, m.held)), '[]') from (
          select pool, model, kind, held from agentjobs.model_health() where kind is not null order by held desc, 1, 2 limit %(most)s) m)
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
    params = {"expiry": expiry, "most": most, "other": other}
    ((names, depth, running, slots, paused, workers, outbox, blocked),) = await db.fetch(STATEMENT, params)
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
        slots=zero | {queue: int(n) for queue, n in slots},
        paused={queue: queue in set(paused) for queue in names},
        workers={pool: int(n) for pool, n in workers},
        outbox=int(outbox[0]),
        outbox_lag_seconds=float(outbox[1] or 0),
        blocked={(pool, model, reason): int(n) for pool, model, reason, n in blocked},
    )
