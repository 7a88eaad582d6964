"""The session store across a fork: what is learned is inherited, connections are not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psycopg

BODY = """
import asyncio, json, os, sys
from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.prefork.imports import thread_count
from agentjobs.agents.prefork.template import warm_template
settings = AgentSettings(session_dsn=sys.argv[1])
told = {"warnings": warm_template(settings), "threads": thread_count(), "children": []}
told["sqlalchemy"] = "sqlalchemy" in sys.modules
told["sockets"] = sum(os.readlink(f"/proc/self/fd/{fd}").startswith("socket:") for fd in os.listdir("/proc/self/fd")
                      if os.path.exists(f"/proc/self/fd/{fd}"))
for number in range(3):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        from agentjobs.agents.run.attempt import run_attempt
        from agentjobs.agents.sessions.service import service_for
        prepared = service_for(sys.argv[1]).is_prepared
        spec = AttemptSpec(uid=f"child-{number}", namespace="n", name="j", queue="q", run=1, attempt=1, max_attempts=1,
                           round=1, agent={"inline": {"name": "a", "model": "echo", "instruction": "x"}}, message="hi")
        before = set(sys.modules)
        async def run():
            return await run_attempt(spec, settings, on_event=lambda e: None, abort=asyncio.Event())
        outcome = asyncio.run(run())
        with os.fdopen(writing, "w") as out:
            json.dump([outcome.verdict, outcome.message, prepared, sorted(set(sys.modules) - before)], out)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as source:
        told["children"].append(json.loads(source.read()))
    os.waitpid(pid, 0)
print(json.dumps(told))
"""


def test_a_forked_child_opens_its_own_connection_and_inherits_the_rest(dsn: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BODY, dsn],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["warnings"] == []
    assert told["threads"] == 1
    assert told["sockets"] == 0
    assert not told["sqlalchemy"], "the pages of an ORM would be copied by each child"
    assert told["children"] == [["complete", "", True, []]] * 3
    assert "Event loop is closed" not in done.stderr
    with psycopg.connect(dsn) as connection:
        names = connection.execute("select id from adk.sessions order by id").fetchall()
        assert names == [(f"job-child-{n}",) for n in range(3)], "the warm-up leaves nothing behind"


TOUCHED = """
import asyncio, json, os, sys, time
from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.prefork.standby import prepare_standby
from agentjobs.agents.prefork.template import warm_template
import psycopg
dsn = sys.argv[1]
settings = AgentSettings(session_dsn=dsn)
def backends():
    with psycopg.connect(dsn) as connection:
        return connection.execute("select pid from pg_stat_activity where application_name = 'agentjobs-session'"
                                  " and datname = current_database()").fetchall()
def settled(n):
    "As many, once the server has ended those whose client is gone."
    end = time.monotonic() + 60
    while len(found := backends()) != n and time.monotonic() < end:
        time.sleep(0.02)
    return found
def child(talk):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        asyncio.run(prepare_standby(settings))
        with os.fdopen(writing, "w") as out:
            json.dump(talk(), out)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as source:
        said = source.read()
    os.waitpid(pid, 0)
    return json.loads(said)
def attempt(uid):
    from agentjobs.agents.run.attempt import run_attempt
    during = []
    spec = AttemptSpec(uid=uid, namespace="n", name="j", queue="q", run=1, attempt=1, max_attempts=1, round=1,
                       agent={"inline": {"name": "a", "model": "echo", "instruction": "x"}}, message="hi")
    run = run_attempt(spec, settings, on_event=lambda e: during.append(backends()), abort=asyncio.Event())
    outcome = asyncio.Runner().run(run)
    return [outcome.verdict, outcome.message, during[-1]]
def kept():
    before = settled(1)
    return [before, *attempt("kept")]
def lost():
    before = settled(1)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("select pg_terminate_backend(%s, 60000)", before[0])
    return [before, *attempt("lost")]
told = {"warnings": warm_template(settings), "idle": settled(0), "kept": child(kept), "lost": child(lost)}
print(json.dumps(told))
"""


def test_a_process_that_waits_for_its_job_is_connected_already(dsn: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOUCHED, dsn],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["warnings"], told["idle"]) == ([], []), "the template keeps no connection"
    before, verdict, message, during = told["kept"]
    assert (len(before), verdict, message) == (1, "complete", "")
    assert during == before, "the run found it open"
    before, verdict, message, during = told["lost"]
    assert (len(before), verdict, message) == (1, "complete", "")
    assert len(during) == 1
    assert during != before, "one that broke while it waited is replaced"


def test_a_store_that_is_away_does_not_keep_a_process_from_waiting_for_its_job(tmp_path: Path) -> None:
    body = (
        TOUCHED[: TOUCHED.index("told =")]
        + 'warm_template(settings)\nprint(json.dumps(child(lambda: "waits")))'
    )
    done = subprocess.run(
        [sys.executable, "-c", body, "postgresql://u:pw@127.0.0.1:1/d"],
        capture_output=True, text=True, timeout=150, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.stdout.splitlines()[-1], done.stderr) == ('"waits"', "")
