"""Log records of ADK at WARNING and above: a run's warnings, and those that tell of a loss.

ADK logs much that it goes on after, with texts of the conversation among it. A record is therefore told as its
place, its template and names alone: of its arguments numbers, the names of the agent's parts, and the classes of
exceptions. An f-string has no template, so only its place is told.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import CodeType, FrameType

from agentjobs.agents.verdict.adk_places import BESIDE_THE_RUN, LOSSES, TOLD_OTHERWISE, Loss
from agentjobs.values.text import shortened

MAX_WARNINGS = 20
"""Most warnings of a run. A warning that is repeated counts once."""
MAX_WARNING_BYTES = 300
MAX_SUMMARY_BYTES = 1000
LOGGERS = ("google_adk", "google_genai", "mcp")
_PACKAGES = ("google.adk.", "google.genai.", "mcp.")
"""Packages whose records count: some of ADK's modules log to the root logger, as the agent's own may."""
_CONVERSION = re.compile(r"%(?:[-#0 +]*\d*(?:\.\d+)?[diouxXeEfFgGcrsa]|%)")

log = logging.getLogger(__name__)

_heard_by: ContextVar[Heard | None] = ContextVar("agentjobs_heard_by", default=None)


class Heard:
    """What ADK logs during one run."""

    def __init__(
        self,
        on_warning: Callable[[str], None],
        on_loss: Callable[[Loss, Sequence[object], BaseException | None], None],
        names: Callable[[], frozenset[str]],
    ) -> None:
        """
        :param on_warning: called with each new warning, also from other threads.
        :param on_loss: called with a loss, the record's arguments and its exception.
        :param names: names of the agent's parts, which a warning may hold.
        """
        self._on_warning = on_warning
        self._on_loss = on_loss
        self._names = names
        self._lock = threading.Lock()
        self._warnings: list[str] = []

    @property
    def warnings(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._warnings)

    def hear(self, record: logging.LogRecord) -> None:
        module, code = _source_of(record)
        function = code.co_qualname.replace(".<locals>", "") if code is not None else record.funcName
        place = f"{module.removeprefix('google.adk.')}.{function}"
        error = _error_of(record)
        key = (place, record.levelname)
        if key in TOLD_OTHERWISE or place.startswith(BESIDE_THE_RUN):
            return
        loss = LOSSES.get(key)
        if loss is not None and (error is not None or not loss.with_error):
            self._on_loss(loss, _arguments(record), error)
            return
        told = shortened(f"{place}: {_told(record, code, self._names())}", MAX_WARNING_BYTES)
        with self._lock:
            if told in self._warnings or len(self._warnings) >= MAX_WARNINGS:
                return
            self._warnings.append(told)
        self._on_warning(told)


def summary(warnings: Sequence[str]) -> str:
    """The message of an answer beside which ADK logged ``warnings``."""
    many = f"{len(warnings)} warnings" if len(warnings) > 1 else "a warning"
    return shortened(f"ADK logged {many} beside the answer: {'; '.join(warnings)}", MAX_SUMMARY_BYTES)


@contextmanager
def hearing(heard: Heard) -> Iterator[None]:
    """Gives ``heard`` the records that this task, and the tasks and threads that it starts, cause."""
    token = _heard_by.set(heard)
    try:
        yield
    finally:
        _heard_by.reset(token)


def _hear(record: logging.LogRecord) -> None:
    heard = _heard_by.get()
    if heard is not None:
        try:
            heard.hear(record)
        except Exception:  # logging's own handleError would print the record's texts
            log.warning("a log record of ADK could not be read", exc_info=True)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _hear(record)


class _RootFilter(logging.Filter):
    """Hears ADK's records in the root logger, and keeps them from its handlers.

    It is no handler, since ``logging.basicConfig()`` in an agent's module does nothing where there is one.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if not _source_of(record)[0].startswith(_PACKAGES):
            return True
        _hear(record)
        return False


_handler = _Handler(logging.WARNING)
_root_filter = _RootFilter()


def attach() -> None:
    """Attaches the handler to the loggers of ADK and its clients, and keeps their texts out of other handlers.

    A logger whose level somebody has set writes to the other handlers as before.
    """
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if _handler in logger.handlers:
            continue
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
            logger.propagate = False
        logger.addHandler(_handler)
    logging.getLogger().addFilter(_root_filter)  # a second time is none


# a record without its texts ---------------------------------------------------------------------------


def _source_of(record: logging.LogRecord) -> tuple[str, CodeType | None]:
    """The module and the code of the function that logs ``record``: it is on this thread's stack."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == record.funcName and code.co_filename == record.pathname:
            return str(frame.f_globals.get("__name__", "")), code
        frame = frame.f_back
    return record.name.removeprefix("google_adk."), None


def _error_of(record: logging.LogRecord) -> BaseException | None:
    if record.exc_info and record.exc_info[1] is not None:
        return record.exc_info[1]
    return next((value for value in _arguments(record) if isinstance(value, BaseException)), None)


def _arguments(record: logging.LogRecord) -> Sequence[object]:
    return record.args if isinstance(record.args, tuple) else ()


def _told(record: logging.LogRecord, code: CodeType | None, names: frozenset[str]) -> str:
    literal = isinstance(record.msg, str) and code is not None and record.msg in code.co_consts
    error = _error_of(record)
    of = f"({type(error).__name__})" if error is not None else ""
    if not literal:
        return of or record.levelname
    waiting = list(_arguments(record))

    def value(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        return _shown(waiting.pop(0), names) if waiting else "…"

    text = _CONVERSION.sub(value, record.msg) if waiting else record.msg
    return f"{text} {of}".strip() if type(error).__name__ not in text else text


def _shown(value: object, names: frozenset[str]) -> str:
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, bool | int | float):
        return str(value)
    return value if isinstance(value, str) and value in names else "…"
