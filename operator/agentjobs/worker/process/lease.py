"""The worker's lease: until when its runs may begin something new (H13).

One page of memory that the supervisor shares with the template and, through the fork, with every executor. A
heartbeat moves the deadline in it; readers look whenever they are about to begin something. No message is sent, so it
works however many executors run, and whatever happens to the supervisor: where it is stopped, paused with its
machine or cut off from the database, the deadline is simply not moved any more.

The clock is CLOCK_BOOTTIME, which goes on while a machine is suspended.
"""

from __future__ import annotations

import mmap
import os
import time
from dataclasses import dataclass

_BYTES = 8
_FOR_EVER = 2**63 - 1


def boot_seconds() -> float:
    """Now, in seconds since the machine started, suspended ones included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """The supervisor's end. Without limit until it is renewed for the first time."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("agentjobs-lease", os.MFD_CLOEXEC)
        os.ftruncate(self.descriptor, _BYTES)
        # One aligned store of 64 bits: no reader sees half of it.
        self._deadline_ns = memoryview(mmap.mmap(self.descriptor, _BYTES)).cast("q")
        self._deadline_ns[0] = _FOR_EVER

    def renew(self, until_boot_seconds: float) -> None:
        """Moves the deadline to that time of ``boot_seconds``."""
        self._deadline_ns[0] = int(until_boot_seconds * 1e9)

    def close(self) -> None:
        """Readers keep their mapping."""
        os.close(self.descriptor)


class LeaseReader:
    """The end of the template and of its executors: what is mapped needs no file descriptor any more."""

    def __init__(self, descriptor: int) -> None:
        page = mmap.mmap(descriptor, _BYTES, access=mmap.ACCESS_READ)
        self._deadline_ns = memoryview(page).cast("q")
        self._over_since: float | None = None

    def seconds_left(self) -> float:
        """Until the deadline; negative: so long ago."""
        return self._deadline_ns[0] / 1e9 - boot_seconds()

    def over_seconds(self) -> float:
        """For how long this process has seen the lease to be over; 0: it is not.

        Not since the deadline: a machine that wakes up, or a process, must give the supervisor time for a beat.
        """
        if self.seconds_left() > 0:
            self._over_since = None
            return 0.0
        now = time.monotonic()
        if self._over_since is None:
            self._over_since = now
        return now - self._over_since


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """What follows for executors when the lease is over and is not renewed."""

    reader: LeaseReader
    lease_grace_seconds: float
    """Then the run's task is cancelled, which keeps the run resumable (H27)."""
    stop_grace_seconds: float
    """So long after that: SIGKILL for what has not ended."""

    def seconds_until_cancel(self) -> float:
        return self.lease_grace_seconds - self.reader.over_seconds()

    def seconds_until_kill(self) -> float:
        return self.seconds_until_cancel() + self.stop_grace_seconds

    def look_after_seconds(self, end_seconds: float, most_seconds: float) -> float:
        """When to look again: at the deadline, or at the end that follows it."""
        left = self.reader.seconds_left()
        return max(0.01, min(most_seconds, left if left > 0 else end_seconds))
