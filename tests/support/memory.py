"""The temporary folder of a run of tests, in memory where there is room.

Nearly every test of a queue gets a database of its own, some 600 files: copied in memory in 0.03 s, on a busy disk in
0.5 s. etcd, which waits for its disk at each write, gains as much. ``TMPDIR`` chooses another place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from agentjobs.local.folder import OwnedFolder

MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30
"""A whole run keeps about a tenth of it; nobody's machine shall run short of memory for tests."""
PREFIX = "agentjobs-tests-"
_KEY = pytest.StashKey[OwnedFolder]()


def pytest_configure(config: pytest.Config) -> None:
    """One folder for the run: its processes and their servers find it in ``TMPDIR``."""
    if hasattr(config, "workerinput") or "TMPDIR" in os.environ or not _has_room(MEMORY):
        return
    tempfile.tempdir = str(MEMORY)
    folder = OwnedFolder.make(PREFIX)
    if not _runs_programs(folder.path):
        tempfile.tempdir = None
        folder.remove()
        return
    folder.path.chmod(0o711)  # Postgres runs as nobody where the tests run as root
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder.path)
    config.stash[_KEY] = folder


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(_KEY, None):
        tempfile.tempdir = None
        del os.environ["TMPDIR"]
        folder.remove()


def pytest_report_header(config: pytest.Config) -> str | None:
    return f"temporary files: in memory, {os.environ['TMPDIR']}" if _KEY in config.stash else None


def _has_room(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= ROOM_BYTES


def _runs_programs(folder: Path) -> bool:
    """False where the file system is mounted ``noexec``: some tests write programs and start them."""
    program = folder / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    try:
        return subprocess.run([program], check=False).returncode == 0
    except PermissionError:
        return False
    finally:
        program.unlink()
