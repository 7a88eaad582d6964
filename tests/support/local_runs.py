"""`agentjobs local` as a user runs it: a process of its own, and what of it is still there afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from processes import alive

RUN_SECONDS = 150
"""For a whole run on a busy machine; a quiet one needs 5 to 10 seconds."""
ROOT = Path(__file__).parents[2]


def start(*arguments: str, cwd: Path, temporary: Path) -> subprocess.Popen[str]:
    """``agentjobs local`` with these arguments; everything that it starts can be told by ``temporary``."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AGENTJOBS_")}
    return subprocess.Popen(
        [sys.executable, "-m", "agentjobs.cli", "local", *arguments],
        cwd=cwd,
        env={**environment, "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """(exit status, standard output, standard error); kills what hangs."""
    try:
        answers, told = process.communicate(timeout=RUN_SECONDS)
    finally:
        process.kill()
    return process.returncode, answers, told


def run(*arguments: str, cwd: Path, temporary: Path) -> tuple[int, str, str]:
    """The same, to its end."""
    return finish(start(*arguments, cwd=cwd, temporary=temporary))


def left_over(temporary: Path) -> list[str]:
    """Processes that name the folder in their command or environment: Postgres, worker, template, executors."""
    mark = str(temporary).encode()
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            command = (process / "cmdline").read_bytes()
            told = command + (process / "environ").read_bytes()
        except OSError:
            continue
        if mark in told and alive(int(process.name)):
            found.append(f"{process.name} {command.decode(errors='replace')}")
    return found
