"""Where a figure was measured, and what else the machine did meanwhile."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def describe() -> list[tuple[str, str]]:
    """Of the machine, without Postgres (which says for itself what it is)."""
    return [
        ("CPU", f"{cpu_model()}, {os.cpu_count()} cores"),
        ("memory", f"{memory_gib():.0f} GiB"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("Python", platform.python_version()),
    ]


@dataclass(frozen=True, slots=True)
class _Stat:
    parent: int
    cpu: float
    """User and system seconds, of all its threads."""
    reaped: float
    """The same of children that ended and were waited for."""


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # the name in brackets may hold anything
    f = text[text.rindex(")") + 2 :].split()
    try:
        cpu = time.clock_gettime(_cpu_clock(pid))
    except OSError:  # it ended meanwhile
        cpu = (int(f[11]) + int(f[12])) / _TICK
    return _Stat(int(f[1]), cpu, (int(f[13]) + int(f[14])) / _TICK)


def _cpu_clock(pid: int) -> int:
    """A process' CPU clock, as ``clock_getcpuclockid(3)`` gives it (Python has none for other processes)."""
    return (~pid << 3) | 2


def tree_cpu_seconds(root: int) -> float:
    """CPU seconds of a process and of all its descendants so far, ended and reaped ones included.

    To the nanosecond of those that live, in steps of 10 ms of those that ended. 0 where the process is gone.
    """
    stats = {
        int(p.name): s for p in Path("/proc").iterdir() if p.name.isdigit() and (s := _stat(int(p.name)))
    }
    if root not in stats:
        return 0.0
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    total, todo = 0.0, [root]
    while todo:
        pid = todo.pop()
        total += stats[pid].cpu + stats[pid].reaped
        todo += children.get(pid, ())
    return total


def _machine_cpu_seconds() -> float:
    """Busy seconds of all cores since boot (neither idle nor waiting for a disk)."""
    f = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(f) - f[3] - f[4]) / _TICK


class Meter:
    """Wall time, CPU of named process trees, and how much of the machine others took meanwhile.

    Others: all that is not a descendant of this process. Every server and client of a bench is one.
    """

    def __init__(self, **roots: int | Iterable[int]) -> None:
        self._roots = {n: [r] if isinstance(r, int) else list(r) for n, r in roots.items()}
        self._before: dict[str, float] = {}
        self._started = self._machine = self._own = 0.0
        self.wall_seconds = 0.0
        self.cpu_seconds: dict[str, float] = {}
        self.foreign_share = 0.0
        """Of all cores' time, 0…1."""

    def start(self) -> Meter:
        self._before = self._now()
        self._machine, self._own = _machine_cpu_seconds(), tree_cpu_seconds(os.getpid())
        self._started = time.perf_counter()
        return self

    def stop(self) -> Meter:
        self.wall_seconds = time.perf_counter() - self._started
        machine = _machine_cpu_seconds() - self._machine
        own = tree_cpu_seconds(os.getpid()) - self._own
        now = self._now()
        self.cpu_seconds = {name: now[name] - self._before[name] for name in now}
        self.foreign_share = max(0.0, (machine - own) / (self.wall_seconds * (os.cpu_count() or 1)))
        return self

    def _now(self) -> dict[str, float]:
        return {name: sum(map(tree_cpu_seconds, pids)) for name, pids in self._roots.items()}
