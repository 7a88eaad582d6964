"""Python signals: calls of the application's handlers, in this process, as a run begins, proceeds and ends.

A handler gets the signal and a mapping of plain values; it may be a coroutine function. Each handler has a
thread and a backlog of its own, so a handler that is slow, blocks or fails delays neither the sender nor
another handler. Its errors are logged with their tracebacks; signals beyond its backlog are dropped and
counted. Signals are not stored: Postgres has what must not be lost.
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
    """A signal. Job signals carry uid, namespace, name, queue, run, attempt, max_attempts, and the fields
    below."""

    JOB_START = "job.start"
    """An executor has the job. Carries nothing more."""
    JOB_EVENT = "job.event"
    """The agent did something. ``event``: an AgentEvent, which has names and counts and no text."""
    JOB_COMPLETE = "job.complete"
    """``duration_seconds``, ``event_count``, ``events`` (AgentEvents, the first 10,000), ``usage``."""
    JOB_EXCEPTION = "job.exception"
    """A run ended without an answer. ``reason``, ``message``, ``duration_seconds``. One of the three below
    follows."""
    JOB_RETRY = "job.retry"
    """The attempt is charged, and another follows. ``reason``, ``delay_seconds``."""
    JOB_SNOOZE = "job.snooze"
    """The attempt is refunded (rate limit, outage, drain, suspend). ``reason``, ``delay_seconds``."""
    JOB_DISCARD = "job.discard"
    """A permanent error, or the last attempt has failed. ``reason``, ``message``."""
    JOB_CANCEL = "job.cancel"
    """A user or a deadline stopped the run. ``reason``."""
    SCHEDULE_START = "schedule.start"
    """Follows ``job.start`` of a schedule's job. ``schedule``, ``schedule_uid``, ``scheduled_time``."""
    SCHEDULE_STOP = "schedule.stop"
    """Follows the signal for the end of a run of a schedule's job, and names it in ``outcome``. The fields of
    ``schedule.start``, ``duration_seconds``, ``reason``, ``event_count``, ``usage``. Sent for each run."""


Values = Mapping[str, object]
Handler = Callable[[Signal, Values], object]
"""An awaitable result is awaited on an event loop of the handler's thread; other results are ignored."""

EVENTS_CARRIED = 10_000
"""The most events in ``job.complete``: an endless run must not fill the supervisor's memory."""
BACKLOG = 100_000
"""The most signals, with the events that they carry, that wait for one handler."""
_COMPLAIN_SECONDS = 60.0
_subscriptions: dict[Signal, tuple[_Subscription, ...]] = {}
_lock = threading.Lock()


def subscribe(handler: Handler, *signals: Signal) -> Callable[[], None]:
    """Calls ``handler(signal, values)`` for these signals (none: for all), in their order.

    Returns a function that ends the subscription.
    """
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
    """Passes the signal to its handlers' threads. Never blocks, never raises; free without handlers."""
    for subscription in _subscriptions.get(signal, ()):
        subscription.put(signal, values)


def flush(timeout_seconds: float = 5.0) -> bool:
    """Waits, at the end of a process, until all signals so far are handled. False: it would take longer."""
    until = time.monotonic() + timeout_seconds
    with _lock:
        reached = [s.reached() for s in {s for some in _subscriptions.values() for s in some}]
    return all(event.wait(max(0.0, until - time.monotonic())) for event in reached)


class _Subscription:
    """One handler with its backlog and its thread, which starts with the first signal."""

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
            # an empty backlog takes any signal: one alone may carry more events than the bound
            if self._weight and self._weight + weight > BACKLOG:
                self._dropped += 1
                self._complain(signal)
                return
            self._weight += weight
            self._add((signal, values))

    def reached(self) -> threading.Event:
        """An event that is set when all signals so far are handled."""
        event = threading.Event()
        with self._changed:
            if self._thread is None:
                event.set()
            else:
                self._add(event)
        return event

    def end(self) -> None:
        """Ends the thread after the signals that wait."""
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
                "the handler %r is too slow: %d signals dropped so far, the last one %s; make it faster, or let it pass "
                "its work to another thread",
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
                except BaseException:  # sys.exit() too, which would end this thread alone
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
