"""Temporary folders that a killed owner leaves behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentjobs.local.folder import OwnedFolder, sweep

OWNER = """
import sys
from agentjobs.local.folder import OwnedFolder
folder = OwnedFolder.make(sys.argv[1])
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def prefix() -> Iterator[str]:
    name = f"agentjobs-test-{uuid.uuid4().hex[:8]}-"
    yield name
    sweep(name)


def test_what_a_killed_owner_left_is_removed_by_the_next_one(prefix: str) -> None:
    command = [sys.executable, "-c", OWNER, prefix]
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    left = Path(owner.stdout.readline().strip())
    sweep(prefix)
    assert left.is_dir()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    mine = OwnedFolder.make(prefix)
    assert not left.exists()
    assert mine.path.stat().st_mode & 0o777 == 0o700
    mine.remove()
    assert not mine.path.exists()


def test_a_folder_that_somebody_holds_or_is_still_making_stays(prefix: str) -> None:
    mine = OwnedFolder.make(prefix)
    unfinished = mine.path.with_name(f"{prefix}unfinished")
    unfinished.mkdir()
    sweep(prefix)
    assert mine.path.is_dir()
    assert unfinished.is_dir()
    mine.remove()
    unfinished.rmdir()
