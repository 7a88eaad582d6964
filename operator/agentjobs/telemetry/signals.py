"""Python signals: what a process tells its own extensions, in the process, as it happens.

A handler gets the signal and a mapping of plain values; it may be a coroutine function. Each handler has a thread and a
backlog of its own: one that is slow, blocks or fails holds up neither the sender nor another handler. Its errors are
logged with their tracebacks; what it is too slow for is dropped and counted. Signals are told, not stored; what must not
be lost is in Postgres.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections import deque
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
    """``duration_seconds``, ``event_count``, ``events`` (AgentEvents, the first 10,000), ``usage``."""
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


Values = Mapping[str, object]
Handler = Callable[[Signal, Values], object]
"""What it returns is ignored, unless it can be awaited: then it is, on an event loop of the handler's own thread."""

EVENTS_CARRIED = 10_000
"""``job.complete`` carries at most this many events: a run without an end must not fill the supervisor."""
BACKLOG = 100_000
"""Signals, and events that they carry, that may wait for one handler."""
_COMPLAIN_SECONDS = 60.0
_subscriptions: dict[Signal, tuple[_Subscription, ...]] = {}
_lock = threading.Lock()


def subscribe(handler: Handler, *signals: Signal) -> Callable[[], None]:
    """Calls ``handler(signal, values)`` for the given signals (none given: for all), in their order. Returns its
    undoing."""
    subscription, chosen = _Subscription(handler), signals or tuple(Signal)
    with _lock:
        for signal in chosen:
            _subscriptions[signal] = (*_subscriptions.get(signal, ()), subscription)

    def undo() -> None:
        with _lock:
            for signal in chosen:
                _subscriptions[signal] = tuple(s for s in _subscriptions[signal] if s is not subscription)
        subscription.end()

    return undo


def send(signal: Signal, **values: object) -> None:
    """Hands the signal to its handlers' threads. Never blocks, never raises; free when nobody listens."""
    for subscription in _subscriptions.get(signal, ()):
        subscription.put(signal, values)


def flush(timeout_seconds: float = 5.0) -> bool:
    """Waits until what was sent so far is handled; False when that takes longer. For the end of a process."""
    until = time.monotonic() + timeout_seconds
    with _lock:
        reached = [s.reached() for s in {s for some in _subscriptions.values() for s in some}]
    return all(event.wait(max(0.0, until - time.monotonic())) for event in reached)


class _Subscription:
    """A handler, what waits for it, and its thread, which starts with the first signal."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._pending: deque[tuple[Signal, Values] | threading.Event | None] = deque()
        self._weight = 0
        self._dropped = 0
        self._complained = -_COMPLAIN_SECONDS
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def put(self, signal: Signal, values: Values) -> None:
        weight = _weight(values)
        with self._changed:
            # the first is always taken: one signal alone may carry more than the backlog
            if self._weight and self._weight + weight > BACKLOG:
                self._dropped += 1
                self._complain(signal)
                return
            self._weight += weight
            self._add((signal, values))

    def reached(self) -> threading.Event:
        """Set when all that was put so far is handled."""
        event = threading.Event()
        with self._changed:
            if self._thread is None:
                event.set()
            else:
                self._add(event)
        return event

    def end(self) -> None:
        """After what waits, the thread ends."""
        with self._changed:
            if self._thread is not None:
                self._add(None)

    def _add(self, item: tuple[Signal, Values] | threading.Event | None) -> None:
        self._pending.append(item)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"signals {self._handler!r}", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _complain(self, signal: Signal) -> None:
        if (now := time.monotonic()) - self._complained >= _COMPLAIN_SECONDS:
            self._complained = now
            log.error(
                "the handler %r is too slow: %d signals dropped so far, now %s; make it faster, or let it hand "
                "its work on",
                self._handler,
                self._dropped,
                signal,
            )

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            while (item := self._next()) is not None:
                if isinstance(item, threading.Event):
                    item.set()
                    continue
                signal, values = item
                try:
                    result = self._handler(signal, values)
                    if inspect.isawaitable(result):
                        runner.run(_await(result))
                except BaseException:  # sys.exit() too: it would end this thread, and nothing else
                    log.exception("the handler %r of signal %s failed", self._handler, signal)
                finally:
                    with self._changed:
                        self._weight -= _weight(values)

    def _next(self) -> tuple[Signal, Values] | threading.Event | None:
        with self._changed:
            while not self._pending:
                self._changed.wait()
            return self._pending.popleft()


async def _await(result: object) -> None:
    await result  # type: ignore[misc]


def _weight(values: Values) -> int:
    events = values.get("events", ())
    return 1 + (len(events) if isinstance(events, tuple) else 0)
