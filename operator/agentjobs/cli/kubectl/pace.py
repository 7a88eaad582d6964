"""An act on many jobs: one request each, in order, at a pace, until it is done or interrupted."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from agentjobs.cli.errors import Unavailable
from agentjobs.cli.kubectl.reply import Reply

SLICE = 100
"""Jobs between two lines of progress."""
TRIES = 5
"""Requests for one job: those that are refused for now are sent again, 0.5 s later, then 1 s, and so on."""
FIRST_DELAY_SECONDS = 0.5


@dataclass(slots=True)
class Count:
    """How far an act has come."""

    done: int = 0
    gone: int = 0
    """Objects that were deleted meanwhile, or whose name another has."""
    failed: list[str] = field(default_factory=list)
    """What was refused, with the reason."""
    interrupted: bool = False
    stopped: str = ""
    """Why it was given up: what was refused would be refused for all that follow. Empty: it was not."""

    @property
    def handled(self) -> int:
        return self.done + self.gone + len(self.failed)


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Ctrl-C, as something that can be asked and waited for: the request that is under way is finished first."""

    event: threading.Event

    @property
    def came(self) -> bool:
        return self.event.is_set()

    def wait(self, seconds: float) -> bool:
        """Waits; true: it was interrupted meanwhile."""
        return self.event.wait(seconds)


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Takes the first Ctrl-C as a request to stop after the request that is under way; the second one stops at once."""
    event = threading.Event()

    def heard(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = signal.signal(signal.SIGINT, heard)
    try:
        yield Interrupt(event)
    finally:
        signal.signal(signal.SIGINT, before)


def carry_out(
    jobs: Sequence[dict[str, Any]],
    request_for: Callable[[dict[str, Any]], Callable[[], Reply]],
    interrupt: Interrupt,
    *,
    spread_seconds: float = 0.0,
    done: Callable[[dict[str, Any]], None] = lambda job: None,
    progress: Callable[[Count], None] = lambda count: None,
    clock: Callable[[], float] = time.monotonic,
) -> Count:
    """Sends one request for each job, the n-th not before its time within ``spread_seconds``.

    :param request_for: makes a job's request when its time has come; a repeat sends the same one.
    """
    count = Count()
    began = clock()
    for n, job in enumerate(jobs):
        due = began + spread_seconds * n / len(jobs)
        if interrupt.came or (due > clock() and interrupt.wait(due - clock())):
            count.interrupted = True
            break
        try:
            reply = _sent(request_for(job), interrupt)
        except Unavailable as error:
            count.stopped = str(error)
            break
        if reply.ok:
            count.done += 1
            done(job)
        elif reply.status == 404 or (reply.status == 409 and reply.cause() in ("Conflict", "AlreadyExists")):
            count.gone += 1
        elif reply.status in (401, 403, 429) or reply.status >= 500:
            count.stopped = f"the API server answers {reply.status}: {reply.words()}"
            break
        else:
            count.failed.append(f"{job['metadata']['name']}: {reply.words()}")
        if count.handled % SLICE == 0:
            progress(count)
    return count


def _sent(send: Callable[[], Reply], interrupt: Interrupt) -> Reply:
    """The answer to one request; what is refused for now is sent again, as often as TRIES.

    A repeat does no harm: it asks for the same state, and a retry for the same value.
    """
    delay = FIRST_DELAY_SECONDS
    for left in reversed(range(TRIES)):
        reply = send()
        if left == 0 or not (reply.status == 429 or reply.status in (500, 502, 503, 504)):
            break
        wait = float(reply.retry_after) if reply.retry_after.isdigit() else delay
        if interrupt.wait(min(wait, 30.0)):
            break
        delay *= 2
    return reply
