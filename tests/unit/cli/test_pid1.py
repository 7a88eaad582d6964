"""The duties of PID 1: orphans are reaped, and nobody's exit status is taken away."""

from __future__ import annotations

import subprocess
import sys
import textwrap

_ADOPTER = """
import asyncio, os, subprocess, sys, time
from agentjobs.cli import pid1
from agentjobs.worker.process import linux

linux.become_subreaper()          # as PID 1 does, it inherits orphans
pid1.INTERVAL_SECONDS = 0.05

async def until(true):
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)

async def part():
    own = subprocess.Popen(["sh", "-c", "exit 7"])
    subprocess.run(["sh", "-c", "(exit 3) & (exit 4) & (sleep 0.2) &"])
    assert own.wait() == 7                                   # waited for soon: the status is there
    await until(lambda: len(linux.children()) > 0)           # orphans came
    await until(lambda: not linux.children())                # and were reaped
    return 5

sys.exit(asyncio.run(pid1.with_pid1_duties(part(), pid=1)))
"""


def test_pid_1_reaps_orphans_and_leaves_the_status_of_its_own_children() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_ADOPTER)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 5, done.stderr
