"""Temporary folders that are gone some day even when their owner was killed.

Whoever makes one holds a lock on its file ``owner.lock``; the kernel drops the lock with the process. The next maker of a
folder of the same kind removes those whose lock is free.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TextIO

LOCK = "owner.lock"


@dataclass(frozen=True, slots=True)
class OwnedFolder:
    """A temporary folder and the lock that says that it is in use."""

    path: Path
    lock: TextIO

    @classmethod
    def make(cls, prefix: str) -> Self:
        """A new folder (0700) in the system's temporary folder; removes what killed owners of this prefix left."""
        sweep(prefix)
        path = Path(tempfile.mkdtemp(prefix=prefix))
        lock = (path / f".{LOCK}").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        (path / f".{LOCK}").rename(path / LOCK)  # locked before anybody can find it
        return cls(path, lock)

    def remove(self) -> None:
        """Remove it now. Safe to repeat."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.lock.close()


def sweep(prefix: str) -> None:
    """Remove our own folders of this prefix that nobody holds any more."""
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        try:
            descriptor = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # another user's, not finished, or no folder of ours
        with os.fdopen(descriptor, "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if path.lstat().st_uid == os.geteuid():
                shutil.rmtree(path, ignore_errors=True)
