"""What the command ``agentjobs`` runs first, before anything that takes time to import."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """As PID 1 be stoppable from the start, then run the command line.

    The kernel gives PID 1 no default handlers: a SIGTERM that came before a part handles it itself would be lost, and
    the pod would wait for its whole grace period.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))
    from agentjobs.cli.main import main as command_line

    command_line()
