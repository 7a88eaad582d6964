"""What a tick costs while nothing is due: it must not walk what waits, runs, or has finished (H26)."""

from __future__ import annotations

import json
from uuid import uuid4

import psycopg
import pytest

ROWS = 20_000
MOST_READ = 1_000
"""Rows that one tick may read."""

# one row per n; nothing in them is due
JOB = """
insert into job (id, uid, queue, priority, due_at, max_attempts, attempt_timeout, payload, bytes, round_at, created_at, accepted_at,
                 target, facet)
select n, gen_random_uuid(), 'agents', 2, now(), 3, 1800, '{}', 2, now(), now(), now(), 'model-' || n % 3, 1
from generate_series(1, %(rows)s) n
"""
WAITING = """
insert into waiting (id, facet, queue, pos, state, mirrored, bytes, run_at, since, deadline, started_at, target, held_until, asked, asked_until, reason)
select n, 1, %(queue)s, pos(2::smallint, n), %(state)s, false, 2, now() + %(run)s, now(), now() + %(deadline)s, %(started)s,
       case when %(state)s = 'm' then 'model-' || n %% 3 end, case when %(state)s = 'm' then now() + interval '1 day' end,
       null, case when %(state)s = 'i' then now() + interval '1 day' end, case when %(state)s = 'm' then 'ModelUnavailable' else '' end
from generate_series(1, %(rows)s) n
"""
RUNNING = """
insert into running (id, facet, worker, token, queue, pos, mirrored, bytes, run_at, since, attempt, run, started_at, deadline, solo, limited)
select n, 1, %(worker)s, n, 'agents', n, false, 2, now(), now(), 1, 1, now(), now() + interval '1 day', false, false
from generate_series(1, %(rows)s) n
"""
OUTCOME = """
insert into outcome (id, facet, state, reason, queue, attempt, run, finished_at, result)
select n, 1, 'c', '', 'agents', 1, 1, now() - interval '1 day', (select string_agg(md5(n::text || i), '') from generate_series(1, 60) i)
from generate_series(1, %(rows)s) n
"""
BREAKER = """
insert into model_breaker (pool, model, kind, since, failed_at, probe_at)
select 'default', m, 'u', now(), now(), now() + interval '1 minute' from unnest(array['model-0', 'model-1', 'model-2']) m;
insert into model_target select id, model from model_breaker
"""
LATER, DEADLINE = "interval '1 day'", "null::interval"


def waiting(
    state: str, *, run: str = LATER, deadline: str = DEADLINE, started: str = "null", queue: str = "'agents'"
) -> str:
    values = {
        "%(state)s": f"'{state}'", "%(run)s": run, "%(deadline)s": deadline, "%(started)s": started, "%(queue)s": queue,
    }  # fmt: skip
    text = WAITING
    for name, value in values.items():
        text = text.replace(name, value)
    return text.replace("%%", "%")


CASES = {
    "due tomorrow": [JOB, waiting("l")],
    "due tomorrow, with a deadline after that": [JOB, waiting("l", deadline="interval '2 days'")],
    "ready, with a deadline tomorrow": [JOB, waiting("r", run="interval '0'", deadline="interval '1 day'")],
    "ready, with a deadline tomorrow, each in a queue of its own": [
        JOB,
        waiting("r", run="interval '0'", deadline="interval '1 day'", queue="'q-' || n"),
    ],
    "asked until tomorrow, each in a queue of its own": [
        JOB,
        waiting("i", started="now()", queue="'q-' || n"),
    ],
    "held up by its model until tomorrow, each in a queue of its own": [
        JOB,
        waiting("m", queue="'q-' || n"),
        BREAKER,
    ],
    "asked until tomorrow": [JOB, waiting("i", started="now()")],
    "held up by its model until tomorrow": [JOB, waiting("m"), BREAKER],
    "running until tomorrow": [JOB, RUNNING],
    # autovacuum summarizes each range of pages when it is full (autosummarize)
    "finished within retention": [JOB, OUTCOME, "select brin_summarize_new_values('outcome_time')"],
}


@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "fresh"])
@pytest.mark.parametrize("case", CASES)
def test_h26_a_tick_with_nothing_due_reads_next_to_nothing(dsn: str, case: str, analyzed: bool) -> None:
    worker = uuid4()
    with psycopg.connect(dsn, autocommit=True, options="-c search_path=agentjobs") as conn:
        conn.execute("select register(%s, 'one', 'default', '{\"agents\": 10}', '')", [worker])
        for statement in CASES[case]:
            filled = statement.replace("%(rows)s", str(ROWS)).replace("%(worker)s", f"'{worker}'")
            conn.execute(filled.encode())
        if analyzed:
            conn.execute("analyze")
        for _ in range(
            7
        ):  # five by plans of their own, then by the generic ones if Postgres likes those better
            before = read(conn)
            row = conn.execute("select promoted, expired, rescued from tick(%s, '15 s')", [worker]).fetchone()
            assert row == (0, 0, None if row is None else row[2])
            after = read(conn)
            walked = {table: n - before[table] for table, n in after.items() if n - before[table] > 100}
            most = MOST_READ + (
                ROWS if case.startswith("running") else 0
            )  # rescue looks once for runs without a worker
            assert sum(after.values()) - sum(before.values()) < most, walked


def read(conn: psycopg.Connection[tuple[object, ...]]) -> dict[str, int]:
    """Rows that were read so far, by table."""
    conn.execute("select pg_stat_force_next_flush()")
    conn.execute("select pg_stat_clear_snapshot()")
    rows = conn.execute(
        "select relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) from pg_stat_user_tables"
    ).fetchall()
    return {str(name): int(str(n)) for name, n in rows}


def test_h26_an_explanation_of_made_up_queues_goes_on_with_the_next_call(dsn: str) -> None:
    names = 1200
    with psycopg.connect(dsn, autocommit=True, options="-c search_path=agentjobs") as conn:
        for statement in (JOB, waiting("r", run="interval '0'", queue="'q-' || n")):
            conn.execute(statement.replace("%(rows)s", str(names)).encode())
        conn.execute("update waiting set mirrored = true")
        conn.execute("analyze")
        told = []
        for _ in range(4):
            row = conn.execute("select explain('15 s', 500)").fetchone()
            assert row is not None
            told.append(row[0])
        assert told == [500, 500, 200, 0]


@pytest.mark.parametrize("clock", ["deadline", "held"])
def test_h26_jobs_past_their_time_end_soon_whatever_else_is_past_its_time(dsn: str, clock: str) -> None:
    """Beside many of a paused queue, whose clocks stand, and of more queues than one tick looks at."""
    worker, paused, names = uuid4(), 700, 450
    state = {"deadline": "r", "held": "m"}[clock]
    with psycopg.connect(dsn, autocommit=True, options="-c search_path=agentjobs") as conn:
        queues = {"paused": 10} | {f"q-{n}": 10 for n in range(paused + 1, paused + names + 1)}
        conn.execute("select register(%s, 'one', 'default', %s, '')", [worker, json.dumps(queues)])
        conn.execute("select set_queue('paused', true, '', '', false, null)")
        queue = f"case when n <= {paused} then 'paused' else 'q-' || n end"
        for statement in (
            JOB,
            waiting(state, run="interval '0'", deadline="interval '1 day'", queue=queue),
            BREAKER,
        ):
            conn.execute(statement.replace("%(rows)s", str(paused + names)).encode())
        column = {"deadline": "deadline", "held": "held_until"}[clock]
        conn.execute(f"update waiting set {column} = now() - interval '1 minute'".encode())
        left = []
        for _ in range(4):
            conn.execute("select tick(%s, '15 s')", [worker])
            row = conn.execute(
                "select count(*) filter (where queue = 'paused'), count(*) from waiting"
            ).fetchone()
            assert row is not None
            left.append(row)
        assert left[-1] == (paused, paused), left
