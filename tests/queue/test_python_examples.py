"""The examples for Python programs, each run as a program of its own against a worker; and what commands then show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from queue_builders import sql
from workers import Start

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "python"
COMMAND = ("-c", "from agentjobs.cli.entry import main; main()")
ANSWERS = {
    "service.py": "Welcome, anna!\n",
    "with_django.py": "Order 17 is confirmed.\n",
    "with_sqlalchemy.py": "Parcel 1 is sent.\nParcel 2 is sent.\nParcel 3 is sent.\n",
}


def printed(dsn: str, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "AGENTJOBS_DATABASE_URL": dsn},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(400)
async def test_every_example_prints_its_answer_and_commands_show_its_jobs(dsn: str, start: Start) -> None:
    await start().event("template.ready")
    assert {path.name for path in FOLDER.glob("*.py")} == ANSWERS.keys()
    for name, answer in ANSWERS.items():
        assert printed(dsn, str(FOLDER / name)) == answer
    assert printed(dsn, str(FOLDER / "with_django.py")) == ANSWERS["with_django.py"], "again: the first job's"
    assert await sql(dsn, "select count(*) from job") == [(5,)]
    ((uid,),) = await sql(dsn, "select uid::text from job where payload->>'userID' = 'anna'")
    shown = printed(dsn, *COMMAND, "list")
    assert uid in shown
    assert "Complete" in printed(dsn, *COMMAND, "why", uid)
    assert printed(dsn, *COMMAND, "result", uid) == "Welcome, anna!\n"


def test_the_page_names_each_example() -> None:
    page = (ROOT / "docs" / "python.md").read_text()
    assert set(re.findall(r"examples/python/(\w+\.py)", page)) == ANSWERS.keys()
