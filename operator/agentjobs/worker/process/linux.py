"""System calls that Python lacks, and readers of /proc. Supervisor, template and executors use them."""

from __future__ import annotations

import contextlib
import ctypes
import os
from dataclasses import dataclass

_SET_PARENT_DEATH_SIGNAL = 1
_SET_DUMPABLE = 4
_SET_CHILD_SUBREAPER = 36
_PAGE = os.sysconf("SC_PAGE_SIZE")
_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}, {value}): {os.strerror(number)}")


def set_parent_death_signal(signal: int) -> None:
    """The kernel sends ``signal`` (0: nothing) when the parent *thread* ends. Check getppid() afterwards."""
    _prctl(_SET_PARENT_DEATH_SIGNAL, signal)


def become_subreaper() -> None:
    """Orphaned descendants become this process's children instead of PID 1's."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def forbid_dumping() -> None:
    """Other processes of the same user can no longer read this one's memory and environment."""
    _prctl(_SET_DUMPABLE, 0)


def thread_count() -> int:
    """Threads of this process, those that Python does not know of included."""
    return len(os.listdir("/proc/self/task"))


def data_bytes() -> int:
    """Bytes of this process that RLIMIT_DATA counts (VmData)."""
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"VmData:"):
                return int(line.split()[1]) * 1024
    return 0


def children() -> list[int]:
    """The pids of this process's children, zombies included."""
    found: list[int] = []
    try:
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/children", "rb") as file:
                found.extend(int(pid) for pid in file.read().split())
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        own = os.getpid()
        return [pid for pid, process in processes().items() if process.parent == own]
    return found


def is_zombie(pid: int) -> bool:
    """True: the process has ended and its parent has not reaped it yet."""
    with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] == b"Z"
    return False


@dataclass(frozen=True, slots=True)
class Process:
    """One process, as /proc shows it."""

    parent: int
    resident_bytes: int
    """Shared pages included: an upper bound."""


def processes() -> dict[int, Process]:
    """Every process that /proc shows, by pid. About 20 µs each."""
    found: dict[int, Process] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with (
                contextlib.suppress(OSError, IndexError, ValueError),
                open(f"/proc/{entry}/stat", "rb") as file,
            ):
                fields = file.read().rpartition(b")")[2].split()
                found[int(entry)] = Process(int(fields[1]), int(fields[21]) * _PAGE)
    return found


def proportional_bytes(pid: int) -> int | None:
    """The process's memory, shared pages divided by their users (Pss). None: not readable."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        for line in file:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return None


def private_bytes(pid: int) -> int | None:
    """Memory that only this process uses (Private_Clean + Private_Dirty). None: not readable."""
    total = None
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        for line in file:
            if line.startswith((b"Private_Clean:", b"Private_Dirty:")):
                total = (total or 0) + int(line.split()[1]) * 1024
    return total


def environment_of(pid: int) -> bytes:
    """The environment that a process was started with (a fork's is its ancestor's); empty: not readable."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return file.read()
    return b""
