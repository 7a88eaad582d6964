"""The worker's identity: its present uuid in the database, and whether it may claim."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from agentjobs.worker.process.lease import boot_seconds


@dataclass(slots=True)
class Identity:
    """The identity of one process. The uuid changes when the worker expires and registers anew (H10)."""

    uuid: UUID = field(default_factory=uuid4)
    registered: bool = False
    """The worker is registered, and alive as far as it knows."""
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the worker has reached the database for the first time."""
    recovering: bool = False
    """The database is being restored: the worker claims nothing (H31). Never set so far."""
    draining: bool = False
    """The worker claims nothing more."""
    beaten_at: float = 0.0
    """The monotonic time of the last beat that was answered."""
    turned_at: float = field(default_factory=time.monotonic)
    """The monotonic time at which the heartbeat last tried."""
    lease_until: float = math.inf
    """When the lease is over, in ``boot_seconds``."""
    last_token: int = 0
    """The token of the newest claim."""
    in_flight: set[int] = field(default_factory=set)
    """The tokens of claims without a reply yet (H8)."""
    beat_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    """Wakes the heartbeat: a control notification, an answer that the last beat is too old."""
    work_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    """Wakes the dispatcher: an ended run, a notification, a freed slot."""
    tick_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    """Wakes the ticker: a due time that was notified, a job that waits for its session."""
    seats: Mapping[str, tuple[int, int]] | None = None
    """By queue for which this worker looks out: its place among the lookouts with room, and how many there are. None: it claims
    nothing now, or hears no notifications."""
    listening_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the worker is to hear notifications: it looks out for a queue, or tries whether they arrive by now."""
    workers: int = 0
    """How many workers there are, as far as one that looks out for no queue was told."""
    deaf: bool = False
    """Notifications do not arrive, so the worker polls often."""
    called: bool = False
    """The next claim answers a call: where it fills the last slot, others are called."""
    ticks: bool = True
    """The worker is one of those that tick each second."""

    def seated(self, seats: Mapping[str, tuple[int, int]] | None) -> None:
        """Takes the seats that a beat has told. Without one the worker hears no notifications: its beats tell it of work."""
        self.seats = seats
        if seats or self.deaf:
            self.listening_wanted.set()
        else:
            self.listening_wanted.clear()

    @property
    def claims(self) -> bool:
        """Whether it takes new jobs at all."""
        return self.registered and not self.draining and not self.recovering

    @property
    def may_claim(self) -> bool:
        """Whether it takes new jobs now: a run that began under a lease that is over would have to end at once. The database may answer a
        claim before it answers a beat."""
        return self.claims and boot_seconds() < self.lease_until

    def leased(self, until_boot_seconds: float) -> None:
        """Takes the deadline of a lease that was renewed."""
        if boot_seconds() >= self.lease_until:
            self.work_wanted.set()  # nothing was claimed since it was over
        self.lease_until = until_boot_seconds

    def next_token(self) -> int:
        self.last_token += 1
        return self.last_token

    def beaten(self) -> None:
        self.beaten_at = time.monotonic()

    def beat_age_seconds(self) -> float:
        return time.monotonic() - self.beaten_at

    def renew(self) -> None:
        """Takes a new uuid after an expiry; the worker is unknown to the database until it registers."""
        self.uuid = uuid4()
        self.registered = False


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Waits for the event, ``seconds`` at most, and clears it. True: it came."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
        return True
    except TimeoutError:
        return False
    finally:
        event.clear()
