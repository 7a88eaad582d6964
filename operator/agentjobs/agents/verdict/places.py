"""The places in the agent's own code that an error came through: files, lines and functions, no source and no value."""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Iterator
from functools import partial
from types import CodeType, FrameType, FunctionType, MethodType

from agentjobs.values.bounds import MOST_FRAMES

_PATHS = sysconfig.get_paths()
_STANDARD = tuple(f"{_PATHS[name]}{os.sep}" for name in ("stdlib", "platstdlib"))
_INSTALLED = tuple({f"{_PATHS[name]}{os.sep}" for name in ("purelib", "platlib")})
OURS = "agentjobs"
_OUR_FOLDER = f"{__file__.rpartition(f'{os.sep}agents{os.sep}')[0]}{os.sep}"
_FIRST_FRAMES = 5
"""Outermost frames that are told of a long way."""
_REFUSED_CALL = re.compile(r"(\S+)\(\) (?:got|missing|takes) ")
"""What Python says of arguments that do not fit, such as ``before() got an unexpected keyword argument 'x'``."""


def place_of(error: BaseException, module: str = "") -> str:
    """The last line of the agent's own code that ``error`` came through, such as ``shop/tools.py:24 in refund``.

    Code of the standard library, of installed packages and of agentjobs is not the agent's own.

    :param module: ``agent.module``, such as ``shop.agents:refund``: the code of its top-level package is its own though it is installed.
    :returns: empty where none of the error's frames is the agent's own.
    """
    own = frames_of(error, module, own_only=True)
    return own[-1] if own else ""


def frames_of(error: BaseException, module: str = "", *, own_only: bool = False) -> tuple[str, ...]:
    """The lines of the agent's own code that ``error`` came through, as ``place_of`` tells one, the innermost last.

    Of more than 20, as after a recursion without an end, those in the middle are counted. A call that does not fit its function is raised
    where it is called: of a callback, that is in ADK. Then the line where the function begins is the last one.

    :param own_only: False: where none is the agent's own, the line that raised it stands alone.
    """
    package = module.partition(":")[0].partition(".")[0]
    found: list[str] = []
    innermost = ""
    caller: FrameType | None = None
    for frame, line in _frames(error):
        caller = frame
        code, name = frame.f_code, str(frame.f_globals.get("__name__", ""))
        if code.co_filename.startswith("<"):  # <frozen importlib._bootstrap>, or made by exec
            continue
        innermost = f"{_file(code, name)}:{line} in {code.co_name}"
        if _is_own(code, name.partition(".")[0], package):
            found.append(innermost)
            caller = None
    if caller is not None and (called := _called(error, caller)) is not None:
        code, name = called.__code__, called.__module__ or ""
        if _is_own(code, name.partition(".")[0], package):
            found.append(f"{_file(code, name)}:{code.co_firstlineno} in {code.co_name}")
    if len(found) > MOST_FRAMES:
        last = MOST_FRAMES - _FIRST_FRAMES - 1
        left_out = f"({len(found) - last - _FIRST_FRAMES} more)"
        found = [*found[:_FIRST_FRAMES], left_out, *found[-last:]]
    return tuple(found) or ((innermost,) if innermost and not own_only else ())


def is_own_file(file: str, module: str = "") -> bool:
    """Whether a source file, as a traceback names it, is the agent's own code; ``module`` as for ``place_of``."""
    package = module.partition(":")[0].partition(".")[0]
    for folder in _INSTALLED:
        if file.startswith(folder):
            return file.removeprefix(folder).partition(os.sep)[0].removesuffix(".py") == package
    return not file.startswith((*_STANDARD, _OUR_FOLDER, "<"))


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _called(error: BaseException, frame: FrameType) -> FunctionType | None:
    """The function whose call a TypeError refuses for its arguments, where the caller has it in a variable."""
    said = _REFUSED_CALL.match(str(error)) if type(error) is TypeError else None
    if said is None:
        return None
    for value in frame.f_locals.values():
        function = _function_of(value)
        if function is not None and function.__qualname__ == said[1]:
            return function
    return None


def _function_of(value: object) -> FunctionType | None:
    """The function that a call of ``value`` runs. No attribute of an agent's own object is looked up: that may run its code."""
    called: object = value.func if isinstance(value, partial) else value
    if isinstance(called, MethodType):
        called = called.__func__
    elif not isinstance(called, FunctionType) and callable(called):
        called = type(called).__call__
    return called if isinstance(called, FunctionType) else None


def _is_own(code: CodeType, top: str, package: str) -> bool:
    if top == OURS:
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
