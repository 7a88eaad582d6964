"""The plugin starts anew for each command: a verb imports what it needs, and nothing that takes long to import."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from agentjobs.cli.deferred import DATABASE
from agentjobs.cli.kubectl.verb_table import VERBS

SLOW = {
    "typer", "click", "pydantic", "yaml", "kubernetes", "kopf", "psycopg", "google", "starlette", "uvicorn", "httpx", "aiohttp",
    "requests", "asyncio", "croniter", "jinja2", "orjson", "cryptography", "unittest", "multiprocessing",
}  # fmt: skip
MOST_MODULES = 196
"""Those of Python itself are two thirds of them. What a verb imports beyond that is a decision: raise this with a reason."""
MOST_OF_LIST = 180


def imported(code: str) -> set[str]:
    """The modules that a fresh process has after the code."""
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    found: list[str] = json.loads(told)
    return set(found)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_imports_few_modules_and_none_that_is_slow(verb: str) -> None:
    found = imported(
        f"from agentjobs.cli.kubectl.main import VERBS, command_of\ncommand_of(VERBS[{verb!r}]).parameters"
    )
    assert not SLOW & found
    assert len(found) <= (MOST_OF_LIST if verb == "list" else MOST_MODULES), sorted(found)


def test_the_help_of_the_program_imports_no_verb() -> None:
    found = imported("from agentjobs.cli.kubectl.main import run\nimport io, contextlib\n"
                     "with contextlib.redirect_stdout(io.StringIO()): run(['--help'])")  # fmt: skip
    assert not {name for name in found if name.startswith("agentjobs.cli.kubectl.verbs.")}


def test_the_help_of_the_other_program_imports_no_command_on_a_database() -> None:
    found = imported("import agentjobs.cli.main")
    assert not {name for name in found if name.startswith("agentjobs.cli.database.")}
    assert set(DATABASE) >= {"list", "why", "wait", "transcript", "approve", "reject", "top"}
