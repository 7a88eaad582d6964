"""Interrupts of a local run: Ctrl-C, SIGTERM, a closed terminal."""

from __future__ import annotations

import asyncio
import os
import signal
from types import FrameType

from agentjobs.cli.errors import INTERRUPTED_EXIT_STATUS


class Interrupts:
    """The first signal asks the run to end, the second cancels it; once its loop is closed, one ends the process.

    The handlers are the process' own, since those of the loop leave with it: Python's would be back for its last
    moments, and raise a KeyboardInterrupt in the middle of whatever these do.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.came = False
        """Whether a signal came, also one that the loop had no time left to hear of."""
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        if self._loop.is_closed():
            os._exit(INTERRUPTED_EXIT_STATUS)
        self._loop.call_soon_threadsafe(self._ask)

    def _ask(self) -> None:
        if self.asked.is_set() and self._task is not None:
            self._task.cancel()
        self.asked.set()
