"""The entry point of the command ``agentjobs``: it handles SIGTERM before anything slow is imported."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Runs the command line. As PID 1, the process first installs a handler for SIGTERM.

    For example, a pod is deleted while its worker still imports modules. The kernel gives PID 1 no default
    handlers, so without ours the SIGTERM would be lost, and the pod would stay for its whole grace period.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))
    from agentjobs.cli.main import main as command_line

    command_line()
