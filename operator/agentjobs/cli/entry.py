"""The entry point of the command ``agentjobs``: it handles signals before anything slow is imported."""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 130
"""The exit status of ``cli.errors``, which is not imported yet."""


def leave(number: int, frame: FrameType | None) -> None:
    """Ends the process at a Ctrl-C, with nothing begun and nothing to tidy."""
    os._exit(INTERRUPTED)


def main() -> None:
    """Runs the command line.

    A Ctrl-C while modules are imported ends the process; Python's own handler would print the import's traceback. Each
    command then decides for itself (``cli.main``).

    As PID 1, the process also handles SIGTERM. For example, a pod is deleted while its worker still imports modules. The
    kernel gives PID 1 no default handlers, so without ours the SIGTERM would be lost, and the pod would stay for its
    whole grace period.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else somebody has it ignored
        signal.signal(signal.SIGINT, leave)
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))
    from agentjobs.cli.main import main as command_line

    command_line()
