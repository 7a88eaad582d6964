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
from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.prefork.imports import preload, thread_count
from agentjobs.agents.prefork.template import warm_template
told = {}
def attempt(dsn=None):
    from agentjobs.agents.run.attempt import run_attempt
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
        told["warnings"] = warm_template(AgentSettings())
        told["threads"] = thread_count()
        from agentjobs.agents.sessions.service import service_for
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
        told["down"] = warm_template(AgentSettings(session_dsn="postgresql://u:pw@127.0.0.1:1/d"))
        told["wrong"] = warm_template(AgentSettings(session_dsn="mysql://u:pw@h/d"))
        told["threads"] = thread_count()
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
        told["good"] = preload("good:root_agent", AgentSettings())
        told["failing"] = preload("failing", AgentSettings())
        told["missing"] = preload("not_there", AgentSettings())
        told["malformed"] = preload("a b", AgentSettings())
        told["threaded"] = preload("threaded", AgentSettings())
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
            "import sys, agentjobs.agents, agentjobs.agents.verdict.outcome;"
            "print([m for m in sys.modules if m.startswith(('google', 'sqlalchemy', 'pydantic'))])",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert told.stdout.strip() == "[]"


LAYOUT = """
from google.adk.agents import LlmAgent
from google.adk.tools import FunctionTool
def plain(word: str) -> str:
    "Says the word."
    return word
def wrapped(word: str) -> str:
    "Says the word again."
    return word
def odd(word: "Nowhere") -> str:
    "A tool that cannot be declared."
    return word
class Proxy:
    @property
    def __class__(self):
        raise RuntimeError("not bound")
proxy = Proxy()
root_agent = LlmAgent(name="r", model="echo", sub_agents=[LlmAgent(name="s", model="echo", tools=[FunctionTool(wrapped)])],
                      tools=[plain])
broken = LlmAgent(name="b", model="echo", tools=[odd])
"""


def test_the_tools_of_preloaded_agents_are_declared_before_the_fork(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LAYOUT)
    told = run(
        """
        from google.adk.tools import FunctionTool
        from google.adk.tools.function_tool import _build_declaration_cached as built
        settings = AgentSettings(modules=("mine",), preload=("mine",))
        told["unfit"] = preload("mine", AgentSettings())
        told["warnings"] = warm_template(settings)
        import mine
        before = built.cache_info().misses
        for function in (mine.plain, mine.wrapped):
            FunctionTool(function)._get_declaration()
        told["missed"] = built.cache_info().misses - before
        """,
        tmp_path,
    )
    assert told == {"unfit": "", "warnings": [], "missed": 0}


def test_an_optional_part_of_adk_that_is_not_there_is_looked_for_once(tmp_path: Path) -> None:
    told = run(
        """
        warm_template(AgentSettings())
        def failing():
            try:
                from google.adk.agents.remote_a2a_agent import RemoteA2aAgent
            except ImportError as error:
                return [type(error).__name__, str(error), error.name]
        loaded = []
        sys.addaudithook(lambda event, args: loaded.append(args[0]) if event == "import" else None)
        told["without"] = failing()
        told["loaded"] = [name for name in loaded if "remote_a2a" in name and "_remote" in name]
        (__import__("pathlib").Path(sys.argv[1]) / "a2a.py").write_text("")  # somebody's path has it after all
        __import__("importlib").invalidate_caches()
        told["with"] = failing()
        """,
        tmp_path,
    )
    assert told["without"] == ["ModuleNotFoundError", "No module named 'a2a'", "a2a"]
    assert told["loaded"] == []
    assert "a2a.client" in told["with"][1]
