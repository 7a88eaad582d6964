"""Who this worker is for the database at the moment, and what it may do."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from uuid import UUID, uuid4


@dataclass(slots=True)
class Identity:
    """One per process; the uuid changes when the worker expired and registered anew (H10)."""

    uuid: UUID = field(default_factory=uuid4)
    registered: bool = False
    """Registered, and alive as far as it knows."""
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the database was reached for the first time."""
    recovering: bool = False
    """The database is being restored: nothing is claimed (H31)."""
    draining: bool = False
    """Nothing is claimed any more."""
    beaten_at: float = 0.0
    """Monotonic time of the last successful beat."""
    last_token: int = 0
    in_flight: set[int] = field(default_factory=set)
    """Tokens of claims without an answer yet (H8)."""
    beat_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    work_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    """Wakes the dispatcher: an ended run, a notification, a freed slot."""
    tick_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    tick_at: float | None = None
    """Monotonic time of a due time that was notified (H24)."""

    @property
    def claims(self) -> bool:
        return self.registered and not self.draining and not self.recovering

    def next_token(self) -> int:
        self.last_token += 1
        return self.last_token

    def beaten(self) -> None:
        self.beaten_at = time.monotonic()

    def beat_age_seconds(self) -> float:
        return time.monotonic() - self.beaten_at

    def renew(self) -> None:
        """After an expiry: a stranger to the database until it registers."""
        self.uuid = uuid4()
        self.registered = False


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Waits for the event, at most so long. True: it came. Clears it."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
        return True
    except TimeoutError:
        return False
    finally:
        event.clear()
