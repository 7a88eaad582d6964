"""Errors of the command line, as one line for the user: which field, which value, what to do."""

from __future__ import annotations

from importlib.util import find_spec

USAGE_EXIT_STATUS = 2
FAILURE_EXIT_STATUS = 1
INTERRUPTED_EXIT_STATUS = 130


class BadInput(Exception):
    """Input that the user can correct.

    It is printed without a traceback, and the process ends with status 2.
    """


class Unavailable(Exception):
    """A database, program or object that cannot be reached or used now.

    Printed without a traceback; status 1.
    """


def need_extra(extra: str, module: str, purpose: str) -> None:
    """Checks that ``module`` is installed.

    The module is looked up and not imported, since importing a worker's libraries takes seconds.

    :raises BadInput: it is not, with the extra to install in the message.
    """
    try:
        found = find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise BadInput(
            f"{purpose} needs the Python package of the module '{module}', which is not installed here. "
            f"Install it with: pip install 'agentjobs[{extra}]'"
        )


def need_linux(platform: str, purpose: str) -> None:
    """Checks that ``platform`` is Linux: elsewhere a forked process is unsafe, as macOS' frameworks break in
    it.

    :raises BadInput: the platform is another.
    """
    if not platform.startswith("linux"):
        raise BadInput(
            f"{purpose} forks each job's process from a warm one, which is unsafe on this system ({platform}). "
            "Run it on Linux, or in a Linux container."
        )
