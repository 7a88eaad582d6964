"""The template's warm-up and preloading, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

SCRIPT = """
import asyncio, gc, json, os, sys, threading
sys.path.insert(0, sys.argv[1])
from agentjobs.agents.outcome import AgentSettings, AttemptSpec
from agentjobs.agents.preload import load, threads
from agentjobs.agents.warm import warm
told = {}
def attempt(dsn=None):
    from agentjobs.agents.attempt import run_attempt
    spec = AttemptSpec(uid="u" + str(os.getpid()), namespace="n", name="j", queue="q", run=1, attempt=1, max_attempts=1,
                       round=1, agent={"inline": {"name": "a", "model": "echo", "instruction": "x"}}, message="hello")
    async def run():
        return await run_attempt(spec, AgentSettings(session_dsn=dsn), on_event=lambda e: None, abort=asyncio.Event())
    return asyncio.run(run())
def in_child(dsn=None):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        before = set(sys.modules)
        outcome = attempt(dsn)
        with os.fdopen(writing, "w") as out:
            json.dump({"verdict": outcome.verdict, "message": outcome.message,
                       "imported": sorted(set(sys.modules) - before)}, out)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as source:
        text = source.read()
    os.waitpid(pid, 0)
    return json.loads(text)
"""


def run(body: str, folder: Path) -> dict[str, Any]:
    """Runs ``body`` after SCRIPT in a fresh process; what it put into ``told``."""
    source = f"{SCRIPT}\n{textwrap.dedent(body)}\nprint(json.dumps(told))"
    done = subprocess.run(
        [sys.executable, "-c", source, str(folder)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def test_after_the_warm_up_there_is_one_thread_and_nothing_left_to_import(tmp_path: Path) -> None:
    told = run(
        """
        told["warnings"] = warm(AgentSettings())
        told["threads"] = threads()
        from agentjobs.agents.sessions import service_for
        told["sessions"] = len(asyncio.run(service_for(None).list_sessions(app_name="agentjobs/warm-up")).sessions)
        told["children"] = [in_child(), in_child()]
        """,
        tmp_path,
    )
    assert told["warnings"] == []
    assert told["threads"] == 1
    assert told["sessions"] == 0
    assert [c["verdict"] for c in told["children"]] == ["complete", "complete"]
    assert [c["imported"] for c in told["children"]] == [[], []]


def test_a_store_that_is_down_is_a_warning(tmp_path: Path) -> None:
    told = run(
        """
        told["down"] = warm(AgentSettings(session_dsn="postgresql://u:pw@127.0.0.1:1/d"))
        told["wrong"] = warm(AgentSettings(session_dsn="mysql://u:pw@h/d"))
        told["threads"] = threads()
        """,
        tmp_path,
    )
    assert "could not be warmed up" in told["down"][0]
    assert "not postgresql://" in told["wrong"][0]
    assert "pw" not in str(told)
    assert told["threads"] == 1


def test_a_module_that_starts_a_thread_or_fails_is_unfit(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("x = 1")
    (tmp_path / "threaded.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    (tmp_path / "failing.py").write_text("1 / 0")
    told = run(
        """
        told["good"] = load("good:root_agent")
        told["failing"] = load("failing")
        told["missing"] = load("not_there")
        told["malformed"] = load("a b")
        told["threaded"] = load("threaded")
        """,
        tmp_path,
    )
    assert told["good"] == ""
    assert "starts 1 thread(s)" in told["threaded"]
    assert "ZeroDivisionError" in told["failing"]
    assert "no module 'not_there'" in told["missing"]
    assert "not of the form" in told["malformed"]


def test_the_supervisors_imports_do_not_bring_adk(tmp_path: Path) -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, agentjobs.agents, agentjobs.agents.outcome;"
            "print([m for m in sys.modules if m.startswith(('google', 'sqlalchemy', 'pydantic'))])",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stdout.strip() == "[]"
