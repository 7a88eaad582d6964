"""What one call of the queue reads while a large backlog waits, runs behind limits, or has finished: a bounded number of rows.

The world below has a large group of every kind of row at once. Each call runs in it and is rolled back; what it read is what
Postgres counted in that transaction.

    AGENTJOBS_COST_ROWS=1000000 pytest tests/queue/test_call_cost.py     # the groups that large; takes minutes
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from agentjobs.queue import stats

ROWS = int(os.environ.get("AGENTJOBS_COST_ROWS", "20000"))
"""Jobs of each group."""
LIMIT = 100
"""Rows that a call is asked to handle."""
MOST_READ = 60 * LIMIT
"""Rows of tables and entries of indexes that a call may read. A range of a BRIN index has some 3,000 rows."""

Connection = psycopg.Connection[tuple[object, ...]]

# One group of jobs that wait. Its ids begin where the ones of the group before end.
GROUP = """
with n as materialized (select nextval('position') as id from generate_series(1, {rows})),
  j as (insert into job (id, uid, queue, priority, session, due_at, max_attempts, attempt_timeout, payload, bytes, round_at,
                         created_at, accepted_at, target, cluster_id, namespace, name, facet, user_id)
        select id, gen_random_uuid(), '{queue}', 2, {session}, now(), 3, 1800, '{{}}', 2, now(), now(), now(), {target},
               {cluster}, {cluster}, 'job-' || id, {facet}, 'many' from n)
insert into waiting (id, facet, queue, pos, state, mirrored, session, bytes, run_at, since, deadline, started_at, target, held_until,
                     wait_since, asked_until, reason)
select id, {facet}, '{queue}', pos(2::smallint, id), '{state}', {cluster} is not null, {session}, 2, {run_at}, now() - interval '1 hour',
       {deadline}, {started}, case when '{state}' = 'm' then {target} end, {held_until},
       case when '{state}' = 'm' then now() - interval '1 hour' end,
       case when '{state}' = 'i' then now() + interval '1 day' end, '{reason}' from n
"""
DEFAULTS = {
    "queue": "agents",
    "facet": "1",
    "session": "null",
    "target": "null",
    "cluster": "null",
    "run_at": "now() - interval '1 hour'",
    "deadline": "null::timestamptz",
    "started": "null::timestamptz",
    "held_until": "null::timestamptz",
    "reason": "",
}
TOMORROW, AN_HOUR_AGO = "now() + interval '1 day'", "now() - interval '1 hour'"
WAITING = {
    "ready": {"state": "r", "cluster": "'k8s'"},
    "ready, starting by tomorrow": {"state": "r", "deadline": TOMORROW},
    "due tomorrow": {"state": "l", "run_at": TOMORROW, "deadline": "now() + interval '2 days'"},
    "retried tomorrow": {"state": "l", "run_at": TOMORROW, "deadline": TOMORROW, "started": AN_HOUR_AGO},
    "at the limit": {"state": "r", "queue": "limited", "cluster": "'k8s'", "reason": "QueueFull"},
    "paused, past the starting deadline": {
        "state": "r", "queue": "paused", "deadline": AN_HOUR_AGO, "cluster": "'k8s'", "reason": "QueuePaused",
    },
    "paused, in sessions": {
        "state": "p", "queue": "paused", "session": "'s' || id", "cluster": "'k8s'", "reason": "QueuePaused",
    },
    "of sessions, not yielded": {"state": "b", "queue": "yielding", "session": "'one'"},
    "asked": {"state": "i", "started": AN_HOUR_AGO},
    "suspended": {"state": "s"},
    "blocked by its model": {"state": "m", "target": "'model'", "held_until": TOMORROW, "reason": "ModelUnavailable"},
    "blocked by its model, paused": {
        "state": "m", "queue": "paused", "target": "'model'", "held_until": AN_HOUR_AGO, "reason": "ModelUnavailable",
    },
}  # fmt: skip
FINISHED = """
with n as materialized (select nextval('position') as id from generate_series(1, {rows})),
  j as (insert into job (id, uid, queue, priority, due_at, max_attempts, attempt_timeout, payload, bytes, round_at, created_at,
                         accepted_at, facet, user_id)
        select id, gen_random_uuid(), 'agents', 2, now(), 3, 1800, '{{}}', 2, now(), now(), now(), 1, 'many' from n)
insert into outcome (id, facet, state, reason, queue, attempt, run, finished_at, result)
select id, 1, 'c', '', 'agents', 1, 1, now() - interval '{age}', repeat('x', 200) from n
"""
REST = """
insert into queue (name, max_running) values ('limited', 10);
insert into model_breaker (pool, model, kind, since, failed_at, probe_at)
values ('default', 'model', 'u', now(), now(), now() + interval '1 minute');
insert into model_target select id, 'model' from model_breaker;
insert into queue (name) values ('yielding');
insert into awaited select gen_random_uuid(), now() - interval '1 second' from generate_series(1, {rows}) n;
insert into session values ('one', 1);
insert into audit (at, actor, verb, namespace, name, uid, queue, reason, source, role)
select now() - interval '500 days', 'me', 'cancel', 'team-' || n % 2, '', gen_random_uuid(), 'q' || n % 3, '', '', session_user
from generate_series(1, {rows}) n;
insert into tally_minute
select date_trunc('minute', finished_at), facet, state, reason, count(*), 0, 0, min(id), max(id) from outcome group by 1, 2, 3, 4;
insert into tally_minute
select date_trunc('minute', now()) - make_interval(mins => n % 40000), 1, 'c', '', 1, 0, 0, 1, 1 from generate_series(1, {rows}) n;
insert into tally_key
select k, m, date_bin(make_interval(mins => m), minute, '1970-01-01Z'), '', state, sum(n), 0, 0
from tally_minute, unnest('{q,n,a,m,r}'::"char"[]) k, unnest('{5,60}'::smallint[]) m group by 1, 2, 3, 5;
insert into tally_first select date_trunc('minute', now()) - make_interval(mins => n), 1 from generate_series(1, 10000) n;
update upkeep set pruned_at = '-infinity';
select brin_summarize_new_values('outcome_time');
analyze
"""
WORKER = UUID(int=1)
NOW = datetime.now(UTC)
FACETS = [
    ("many", "agents", "many", "model"),
    ("none", "none", "none", "none"),
    ("many", "none", "none", "none"),
]
"""Of all jobs; of none, and beside the first, so that no filter is answered by their absence."""


@pytest.fixture(scope="module")
def world(database: str) -> Iterator[Connection]:
    with psycopg.connect(database, autocommit=True, options="-c search_path=agentjobs") as conn:
        conn.execute(
            "select register(%s, 'one', 'default', '{\"agents\": 10, \"limited\": 10, \"paused\": 10}', '')",
            [WORKER],
        )
        conn.execute("select set_queue('paused', true, '', '', false, null)")
        conn.execute("update queue set paused_at = now() - interval '2 hours' where name = 'paused'")
        for values in FACETS:
            conn.execute(
                "insert into facet (namespace, queue, agent, model, made_at) values (%s, %s, %s, %s, now())",
                values,
            )
        for group in WAITING.values():
            conn.execute(GROUP.format(**{**DEFAULTS, "rows": ROWS, **group}).encode())
        for age in ("1 day", "30 days"):
            conn.execute(FINISHED.format(rows=ROWS, age=age).encode())
        for statement in REST.split(";"):
            conn.execute(statement.replace("{rows}", str(ROWS)).encode())
        yield conn


STATES = (
    "", "Queued", "Scheduled", "Retrying", "Suspended", "InputRequired", "Running", "Complete", "Failed", "Rejected"
)  # fmt: skip
FILTERS: dict[str, dict[str, object]] = {
    "": {},
    "of a queue": {"queue": "agents"},
    "of an empty queue": {"queue": "none"},
    "of an empty namespace": {"namespace": "none"},
    "of an agent and its model": {"agent": "many", "model": "model"},
    "of a namespace and another's agent": {"namespace": "many", "agent": "none"},
    "of a user": {"user": "many"},
    "of a user who has none": {"user": "none"},
    "of a user in an empty queue": {"user": "many", "queue": "none"},
    "of a session": {"sessions": ["one"]},
    "of a session that is none": {"sessions": ["none"]},
    "with a reason": {"reason": "QueueFull"},
    "with a reason of none": {"reason": "OutOfMemory"},
    "since an hour ago": {"since": (NOW - timedelta(hours=1)).isoformat()},
    "of a user since a minute ago": {"user": "many", "since": (NOW - timedelta(minutes=1)).isoformat()},
    "of a namespace since a minute ago": {
        "namespace": "many",
        "since": (NOW - timedelta(minutes=1)).isoformat(),
    },
}


def states(state: str) -> dict[str, object]:
    return {"states": [state]} if state else {}


CALLS = {
    "tick": "select tick(%(worker)s, '15 s', %(limit)s)",
    "retention, a backlog": "select retention('7 days', %(limit)s)",
    "retention, nothing": "select retention('100 days', %(limit)s)",
    "retention of the audit": "select retention('100 days', %(limit)s, '400 days')",
    "retention of the audit, nothing": "select retention('100 days', %(limit)s, '4000 days')",
    "admit": "select admit(%(limit)s)",
    "promote": "select promote(%(limit)s)",
    "pause": "select set_queue('agents', true, '', '', false, null)",
    "yield": "update queue set paused_at = now() where name = 'yielding'; select yield_paused('yielding', %(limit)s)",
    "unpause": "select set_queue('paused', false, '', '', false, null)",
    "tick after an unpause": "select set_queue('paused', false, '', '', false, null); select tick(%(worker)s, '15 s', %(limit)s)",
    "admit after an unpause": "select set_queue('paused', false, '', '', false, null); select admit(%(limit)s)",
    "limit": "select set_queue('limited', null, '', '', true, 20)",
    "explain": "select explain('15 s', %(limit)s)",
    "claim": "select claim(%(worker)s, 1, array['agents', 'limited', 'paused'], array[10, 10, 10], 10, true, null, '15 s')",
    "beat": "select beat(%(worker)s, '[]', '{}', '15 s')",
    "want a run's output": "select want_output((select uid from job where id = 1), '30 s', null)",
    "store output": "select store_output(%(worker)s, '[{\"i\": 1, \"t\": 1, \"b\": 0, \"o\": \"x\"}]')",
    "compare with a LIST": "select mirrored(0, %(limit)s, 'elsewhere')",
    "a page of the numbers": stats.WAITING_PAGE,
    "a page of the stale statuses": stats.OUTBOX_PAGE,
    "enqueue": """select enqueue('[{"uid": "00000000-0000-0000-0000-000000000002", "queue": "paused", "session": "s"}]')""",
    "a minute's series": "select * from series(date_trunc('minute', now()), now(), null, 'queue', '1 minute')",
    "a day's series": "select * from series(now() - interval '1 day', now(), null, 'namespace', '15 minutes')",
    "30 days' series": "select * from series(now() - interval '30 days', now(), null, 'reason', '6 hours')",
    "await ends": "select await_ends(array(select uid from job where id <= %(limit)s), '90 s')",
    "await the ends of jobs that are not there": "select await_ends(array[gen_random_uuid()], '90 s')",
    "end jobs, of which others are awaited": "select tell_ended(array(select id from job order by id limit %(limit)s))",
    "a job by its name": "select job_at('none', 'job-1')",
    **{
        f"list {state or 'all'}{f' {one}' if one else ''}": f"select list('{json.dumps(FILTERS[one] | states(state))}', null, 10, %(limit)s)"
        for state in STATES
        for one in FILTERS
    },
    **{
        what: f"select control((select uid from job where id = {job}), '{what}', 1)"
        for what, job in (("cancel", 1), ("suspend", 2), ("priority", 3), ("maxAttempts", 4))
    },
    **{
        f"a page of the audit{of}": f"select audit_page({namespace}, {queue}, {uid}, null, %(limit)s)"
        for of, namespace, queue, uid in (
            ("", "null", "null", "null"),
            (" of a namespace", "'team-1'", "null", "null"),
            (" of a namespace without one", "'none'", "null", "null"),
            (" of a queue", "null", "'q1'", "null"),
            (" of a queue without one", "null", "'none'", "null"),
            (" of both", "'team-1'", "'q1'", "null"),
            (" of both without one", "'team-1'", "'none'", "null"),
            (" of a job", "null", "null", "gen_random_uuid()"),
        )
    },
    "a page of schedules": "select schedule_page(null, null, null, %(limit)s / 10, 20)",
    "a page of refused schedules": "select schedule_page(null, null, null, %(limit)s / 10, 20, false)",
    "a page of one namespace's schedules": "select schedule_page('team', 'team', 'a', %(limit)s / 10, 20)",
    "act on many": "select act_on_jobs(array(select uid from job where id <= %(limit)s), 'priority', 7, '{}', '0')",
    "a slice of an erasure": "select erase(gen_random_uuid(), 'default', 'system', '{default,system}', '{}', 0, %(limit)s)",
    "a slice of an erasure of nobody": "select erase(gen_random_uuid(), 'team', 'max', '{team,max}', '{}', 0, %(limit)s)",
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_h26_a_call_reads_a_bounded_number_of_rows_whatever_waits(world: Connection, call: str) -> None:
    values = {"worker": f"'{WORKER}'", "limit": str(LIMIT), "after": "-1", "page": str(LIMIT)}
    statements = [part % values for part in CALLS[call].split(";")]
    for _ in range(7):  # five plans of their own, then the generic one where Postgres likes it better
        before = read(world)
        world.execute("begin")
        world.execute("update worker set beat_at = now(), steady_since = now() - interval '1 hour'")
        for statement in statements:
            world.execute(statement.encode())
        world.execute("rollback")
        walked = {name: n - before[name] for name, n in read(world).items() if n - before[name] > LIMIT}
        assert sum(walked.values()) < MOST_READ, walked


def test_h26_a_batch_of_enqueue_costs_what_its_jobs_cost_one_by_one_or_less(world: Connection) -> None:
    """A join whose rows the planner takes for one would cost the square of the batch: three times what is allowed here."""

    def seconds(batches: int, size: int) -> float:
        jobs = [
            json.dumps([{"uid": str(uuid4()), "payload": {}, "target": f"m{n % 5}"} for n in range(size)])
            for _ in range(batches)
        ]
        begin = time.monotonic()
        world.execute("begin")
        for batch in jobs:
            world.execute("select enqueue(%s::json)", [batch])
        world.execute("rollback")
        return time.monotonic() - begin

    pairs = [(seconds(1, 4000), seconds(80, 50)) for _ in range(3)]  # side by side: who is disturbed changes
    assert min(whole for whole, _ in pairs) < 5 * min(apart for _, apart in pairs), pairs


def read(conn: Connection) -> dict[str, int]:
    """What was read so far: rows by table, and entries by index. Of a BRIN index Postgres counts pages, so it is left out."""
    conn.execute("select pg_stat_force_next_flush()")
    conn.execute("select pg_stat_clear_snapshot()")
    rows = conn.execute(
        "select relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) from pg_stat_user_tables"
        " union all select indexrelname, idx_tup_read from pg_stat_user_indexes where indexrelname <> 'outcome_time'"
    ).fetchall()
    return {str(name): int(str(n)) for name, n in rows}
