"""Many workers at once, and everything that can die, dies: nothing is lost, nothing is completed twice.

``AGENTJOBS_STORM_SEED`` repeats the dice of a run, not its timing; a failure shows it in the captured log.
``AGENTJOBS_STORM_JOBS`` makes it bigger.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import defaultdict

import pytest

from agentjobs.local.postgres import EmbeddedPostgres
from queue_builders import sql
from sabotage import pass_by_rows_that_were_locked_once
from storm import LIMIT, Storm, run


def new_storm(dsn: str) -> Storm:
    seed = int(os.environ.get("AGENTJOBS_STORM_SEED", random.randrange(1 << 32)))
    logging.getLogger(__name__).warning("repeat with AGENTJOBS_STORM_SEED=%d", seed)
    return Storm(dsn, random.Random(seed), int(os.environ.get("AGENTJOBS_STORM_JOBS", "1500")))


async def no_session_may_run_two_jobs(dsn: str) -> None:
    """The database itself refuses a second run, at the moment when it would start."""
    await sql(dsn, "create unique index one_run_per_session on running (session) where session is not null")


def check_order(storm: Storm) -> None:
    assert storm.claimed == [job.uid for job in storm.line], (
        "claims are in order of priority and place in line"
    )


async def check(storm: Storm) -> None:
    """What must hold after any storm."""
    check_order(storm)
    dsn = storm.dsn
    jobs = {job.uid: job for made in [*storm.produced.values(), storm.line] for job in made}
    ends = await sql(
        dsn, "select j.uid, o.state, o.reason, o.attempt, o.run from outcome o join job j using (id)"
    )
    assert {uid for uid, *_ in ends} == jobs.keys(), "nothing is lost"
    assert len(ends) == len(jobs)
    left = await sql(
        dsn,
        "select (select count(*) from waiting), (select count(*) from running), (select count(*) from session)",
    )
    assert left == [(0, 0, 0)]
    wrong = [end for end in ends if not (end[1] in "ck" or end[2] == "WorkerLost")]
    assert wrong == [], "it ends as Complete or Cancelled, or was lost too often"
    assert max(storm.completed.values()) == 1, "nothing is completed twice"
    complete = {uid for uid, state, *_ in ends if state == "c"}
    assert storm.completed.keys() <= complete, "what was answered ok is so"
    assert storm.peak <= LIMIT
    assert storm.peak > 0
    assert storm.deaths > 0

    # every run that ended was one claim; charged ones are counted, the others refunded
    bad = await sql(
        dsn,
        "select j.uid from job j join outcome o using (id) where o.run <> (select count(*) from attempt a where a.id = j.id)"
        " + (o.state = 'c')::int or o.attempt <> (select count(*) from attempt a where a.id = j.id and a.charged) + (o.state = 'c')::int"
        " and o.state = 'c'",
    )
    assert bad == [], "every run is on record once"

    starts = {
        uid: at
        for uid, at in await sql(
            dsn,
            "select j.uid, least((select min(started_at) from attempt a where a.id = j.id), o.run_started_at)"
            " from job j join outcome o using (id)",
        )
        if at is not None
    }
    for made in storm.produced.values():
        lines = defaultdict(list)
        for job in made:
            if job.session is not None and job.uid in starts:
                lines[job.session, job.queue].append(starts[job.uid])
        for line in lines.values():
            assert line == sorted(line), "jobs of one producer in one session start in their order"


@pytest.mark.timeout(400)
async def test_invariant_4_5_6_a_storm_loses_nothing_and_doubles_nothing(dsn: str) -> None:
    storm = new_storm(dsn)
    await no_session_may_run_two_jobs(dsn)
    await run(storm, storm.cut)
    await check(storm)


async def test_the_storm_sees_a_wrong_claim_order(dsn: str) -> None:
    storm = new_storm(dsn)
    storm.jobs = 60
    await pass_by_rows_that_were_locked_once(dsn)
    await run(storm, storm.cut)
    with pytest.raises(AssertionError, match="claims are in order"):
        check_order(storm)


@pytest.mark.timeout(400)
async def test_invariant_4_postgres_killed_in_a_storm_loses_nothing(own_postgres: EmbeddedPostgres) -> None:
    dsn = own_postgres.dsn("agentjobs")
    storm = new_storm(dsn)
    storm.jobs //= 3
    await no_session_may_run_two_jobs(dsn)

    async def killed() -> None:
        for _ in range(2):
            await asyncio.sleep(0.7)
            await asyncio.to_thread(own_postgres.kill)
            await asyncio.to_thread(own_postgres.restart)

    await run(storm, killed)
    await check(storm)
