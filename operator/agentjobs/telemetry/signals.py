"""Python signals: what a process tells its own extensions, in the process, as it happens.

A handler gets the signal and a mapping of plain values. It runs on a thread of its own, one signal after
the other, so that a slow handler cannot stall the heartbeat and a failing one harms nothing: its error is
logged with its traceback and the next handler runs. Signals are told, not stored; what must not be lost is
in Postgres.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from enum import StrEnum

log = logging.getLogger(__name__)


class Signal(StrEnum):
    """Every signal's name. Each job signal carries uid, namespace, name, queue, run, attempt, max_attempts."""

    JOB_START = "job.start"
    """An executor has the job. Nothing more is carried."""
    JOB_EVENT = "job.event"
    """The agent did something. ``event``: an AgentEvent; names and counts, never text."""
    JOB_COMPLETE = "job.complete"
    """``duration_seconds``, ``event_count``, ``events`` (AgentEvents), ``usage``."""
    JOB_EXCEPTION = "job.exception"
    """A run ended without an answer. ``reason``, ``message``, ``duration_seconds``; one of the next follows."""
    JOB_RETRY = "job.retry"
    """``reason``, ``delay_seconds``: the attempt is charged, another follows."""
    JOB_SNOOZE = "job.snooze"
    """``reason``, ``delay_seconds``: the attempt is refunded (rate limit, outage, drain, suspend)."""
    JOB_DISCARD = "job.discard"
    """``reason``, ``message``: a permanent error, or the last attempt."""
    JOB_CANCEL = "job.cancel"
    """``reason``: stopped because a user or a deadline asked."""
    SCHEDULE_START = "schedule.start"
    """After ``job.start``, of a job that a schedule created: ``schedule``, ``schedule_uid``, ``scheduled_time``."""
    SCHEDULE_STOP = "schedule.stop"
    """After the signal of how the run ended, which is ``outcome``: the same, and ``duration_seconds``, ``reason``,
    ``event_count``, ``usage``. A run that is tried again stops and starts once more."""


Handler = Callable[[Signal, Mapping[str, object]], object]

EVENTS_CARRIED = 10_000
"""``job.complete`` carries at most this many events: a run without an end must not fill the supervisor."""
_BACKLOG = 20_000
_handlers: dict[Signal, list[Handler]] = {}
_pending: queue.Queue[tuple[Signal, Mapping[str, object]] | threading.Event] = queue.Queue(_BACKLOG)
_thread: threading.Thread | None = None
_lock = threading.Lock()


def subscribe(handler: Handler, *signals: Signal) -> Callable[[], None]:
    """Calls ``handler(signal, values)`` for the given signals (none given: for all). Returns its undoing."""
    chosen = signals or tuple(Signal)
    with _lock:
        for signal in chosen:
            _handlers.setdefault(signal, []).append(handler)

    def undo() -> None:
        with _lock:
            for signal in chosen:
                if handler in _handlers.get(signal, ()):
                    _handlers[signal].remove(handler)

    return undo


def send(signal: Signal, **values: object) -> None:
    """Hands the signal to its handlers' thread. Never blocks, never raises; free when nobody listens."""
    if not _handlers.get(signal):
        return
    _start_thread()
    try:
        _pending.put_nowait((signal, values))
    except queue.Full:
        log.error("signal handlers are %d signals behind; %s is dropped: make them faster", _BACKLOG, signal)


def flush(timeout_seconds: float = 5.0) -> bool:
    """Waits until what was sent so far is handled; False when that takes longer. For the end of a process."""
    if _thread is None:
        return True
    reached = threading.Event()
    try:
        _pending.put(reached, timeout=timeout_seconds)
    except queue.Full:
        return False
    return reached.wait(timeout_seconds)


def _start_thread() -> None:
    global _thread
    with _lock:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_handle, name="signals", daemon=True)
            _thread.start()


def _handle() -> None:
    while True:
        item = _pending.get()
        if isinstance(item, threading.Event):
            item.set()
            continue
        signal, values = item
        for handler in tuple(_handlers.get(signal, ())):
            try:
                handler(signal, values)
            except Exception:
                log.exception("the handler %r of signal %s failed; the others go on", handler, signal)
