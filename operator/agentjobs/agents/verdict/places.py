"""The place in the agent's own code where an error was raised: file, line and function, and no text of the conversation."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from types import CodeType, FrameType

_PATHS = sysconfig.get_paths()
_STANDARD = tuple(f"{_PATHS[name]}{os.sep}" for name in ("stdlib", "platstdlib"))
_INSTALLED = tuple({f"{_PATHS[name]}{os.sep}" for name in ("purelib", "platlib")})
OURS = "agentjobs"


def place_of(error: BaseException, module: str = "") -> str:
    """The last line of the agent's own code that ``error`` came through, such as ``shop/tools.py:24 in refund``.

    Code of the standard library, of installed packages and of agentjobs is not the agent's own.

    :param module: ``agent.module``, such as ``shop.agents:refund``: the code of its top-level package is its own though it is installed.
    :returns: empty where none of the error's frames is the agent's own.
    """
    package = module.partition(":")[0].partition(".")[0]
    found = ""
    for frame, line in _frames(error):
        name = str(frame.f_globals.get("__name__", ""))
        if _is_own(frame.f_code, name.partition(".")[0], package):
            found = f"{_file(frame.f_code, name)}:{line} in {frame.f_code.co_name}"
    return found


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _is_own(code: CodeType, top: str, package: str) -> bool:
    if top == OURS or code.co_filename.startswith("<"):  # <frozen importlib._bootstrap>, or made by exec
        return False
    if package and top == package:
        return True
    return not code.co_filename.startswith((*_INSTALLED, *_STANDARD))


def _file(code: CodeType, module: str) -> str:
    """The file below the folder from which its top-level package was imported."""
    parents = module.split(".")
    file = os.path.basename(code.co_filename)
    folders = parents if file == "__init__.py" else parents[:-1]
    return "/".join([*folders, file])
