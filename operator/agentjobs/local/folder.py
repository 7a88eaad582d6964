"""Temporary folders that are removed even where their owner was killed.

The process that makes a folder keeps a lock on its file ``owner.lock``, which the kernel drops with the
process. The next process that makes a folder with the same prefix removes those whose lock is free.
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
    """A temporary folder, with the lock that marks it as in use."""

    path: Path
    lock: TextIO

    @classmethod
    def make(cls, prefix: str) -> Self:
        """Makes a temporary folder (0700); removes those of killed owners with this prefix."""
        sweep(prefix)
        path = Path(tempfile.mkdtemp(prefix=prefix))
        lock = (path / f".{LOCK}").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        (path / f".{LOCK}").rename(path / LOCK)  # locked before anybody can find it
        return cls(path, lock)

    def remove(self) -> None:
        """Removes the folder. Safe to repeat."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.lock.close()


def sweep(prefix: str) -> None:
    """Removes this user's folders with the prefix whose owners are gone."""
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        try:
            descriptor = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # another user's, not made to the end, or not one of ours
        with os.fdopen(descriptor, "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if path.lstat().st_uid == os.geteuid():
                shutil.rmtree(path, ignore_errors=True)
