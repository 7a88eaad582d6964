"""The session store across a fork: what is learned is inherited, connections are not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psycopg

BODY = """
import asyncio, json, os, sys
from agentjobs.agents.outcome import AgentSettings, AttemptSpec
from agentjobs.agents.preload import threads
from agentjobs.agents.warm import warm
settings = AgentSettings(session_dsn=sys.argv[1])
told = {"warnings": warm(settings), "threads": threads(), "children": []}
told["sockets"] = sum(os.readlink(f"/proc/self/fd/{fd}").startswith("socket:") for fd in os.listdir("/proc/self/fd")
                      if os.path.exists(f"/proc/self/fd/{fd}"))
for number in range(3):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        from agentjobs.agents.attempt import run_attempt
        from agentjobs.agents.sessions import service_for
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
    assert told["children"] == [["complete", "", True, []]] * 3
    assert "Event loop is closed" not in done.stderr
    with psycopg.connect(dsn) as connection:
        names = connection.execute("select id from adk.sessions order by id").fetchall()
        assert names == [(f"job-child-{n}",) for n in range(3)], "the warm-up leaves nothing behind"
