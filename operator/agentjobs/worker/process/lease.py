"""The worker's lease: until when its runs may begin something new (H13). Clocks: docs/design.md#the-clocks.

The deadline stands in one page of memory, which the supervisor shares with the template and, through the
fork, with every executor. Each answered heartbeat moves it. An executor reads it before a model call, a tool
or a write. No message is sent, so a supervisor that is stopped, suspended with its machine or cut off from
the database cannot fail to send one: it merely does not move the deadline.

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
    """The time since the machine started, in seconds, those in which it was suspended included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """The supervisor's end of the lease. Without a limit until the first renewal."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("agentjobs-lease", os.MFD_CLOEXEC)
        os.ftruncate(self.descriptor, _BYTES)
        # One aligned store of 64 bits: no reader sees half a deadline.
        self._deadline_ns = memoryview(mmap.mmap(self.descriptor, _BYTES)).cast("q")
        self._deadline_ns[0] = _FOR_EVER

    def renew(self, until_boot_seconds: float) -> None:
        """Moves the deadline to a time of ``boot_seconds``."""
        self._deadline_ns[0] = int(until_boot_seconds * 1e9)

    def close(self) -> None:
        """Closes the supervisor's descriptor; readers keep their mapping."""
        os.close(self.descriptor)


class LeaseReader:
    """The end of the template and of its executors, which inherit the mapping and need no file descriptor."""

    def __init__(self, descriptor: int) -> None:
        page = mmap.mmap(descriptor, _BYTES, access=mmap.ACCESS_READ)
        self._deadline_ns = memoryview(page).cast("q")
        self._over_since: float | None = None

    def seconds_left(self) -> float:
        """Seconds until the deadline; negative: seconds since."""
        return self._deadline_ns[0] / 1e9 - boot_seconds()

    def over_seconds(self) -> float:
        """Seconds since this process first saw that the lease is over; 0: it is not.

        Not since the deadline. For example, a machine wakes up after an hour: its supervisor must get the
        time for a beat before runs are cancelled.
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
    """The lease, and the two graces after its end: until the run's task is cancelled, then until SIGKILL."""

    reader: LeaseReader
    lease_grace_seconds: float
    """The grace: after it the executor cancels its run's task, which keeps the run resumable (H27)."""
    stop_grace_seconds: float
    """So long after the cancel, the template sends SIGKILL to executors that have not ended."""

    def seconds_until_cancel(self) -> float:
        return self.lease_grace_seconds - self.reader.over_seconds()

    def seconds_until_kill(self) -> float:
        return self.seconds_until_cancel() + self.stop_grace_seconds

    def look_after_seconds(self, end_seconds: float, most_seconds: float) -> float:
        """Seconds until the next look: at the deadline, or, where it has passed, after ``end_seconds``."""
        left = self.reader.seconds_left()
        return max(0.01, min(most_seconds, left if left > 0 else end_seconds))
