"""Waiting for what processes do, with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from agentjobs.worker.process import linux

DEADLINE_SECONDS = 60.0


async def until(reached: Callable[[], object], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Waits until ``reached()`` is true; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Runs or sleeps; a zombie is dead."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def family(pid: int) -> list[int]:
    """The process and its descendants, parents before children."""
    parents = {child: process.parent for child, process in linux.processes().items()}
    found = [pid]
    for parent in found:
        found.extend(sorted(child for child, above in parents.items() if above == parent))
    return found


def naming(text: str) -> list[int]:
    """The living processes whose command says ``text``."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in command and alive(int(process.name)):
                found.append(int(process.name))
    return found
