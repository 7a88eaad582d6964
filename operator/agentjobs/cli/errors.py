"""Bad input, told to whoever typed it: which field, which value, what to do."""

from __future__ import annotations

from importlib.util import find_spec

USAGE_EXIT_STATUS = 2
FAILURE_EXIT_STATUS = 1
INTERRUPTED_EXIT_STATUS = 130


class BadInput(Exception):
    """Something that the user can mend. Printed without a traceback; the process ends with status 2."""


class Unavailable(Exception):
    """Something outside is not there (a database, a program). Printed without a traceback; status 1."""


def need_extra(extra: str, module: str, purpose: str) -> None:
    """Raises BadInput naming the extra to install where ``module`` is not importable.

    Looked up, not imported: the operator must find out about its own libraries without paying for a worker's.
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
    """Raises BadInput where forking a warm process is unsafe: macOS' frameworks break in a forked child."""
    if not platform.startswith("linux"):
        raise BadInput(
            f"{purpose} forks each job's process from a warm one, which is unsafe on this system ({platform}). "
            "Run it on Linux, or in a Linux container."
        )
