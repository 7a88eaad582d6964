"""Signals reach their handlers, and a handler harms nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

import pytest

from agentjobs.telemetry import signals
from agentjobs.telemetry.signals import Signal

Seen = list[tuple[Signal, Mapping[str, object]]]


@pytest.fixture
def seen() -> Iterator[Seen]:
    got: Seen = []
    undo = signals.subscribe(lambda signal, values: got.append((signal, values)))
    yield got
    undo()


def test_a_handler_gets_the_signal_and_its_values_in_order(seen: Seen) -> None:
    signals.send(Signal.JOB_START, uid="a")
    signals.send(Signal.JOB_COMPLETE, uid="a", event_count=3)
    assert signals.flush()
    assert seen == [
        (Signal.JOB_START, {"uid": "a"}),
        (Signal.JOB_COMPLETE, {"uid": "a", "event_count": 3}),
    ]


def test_a_handler_that_fails_harms_neither_the_sender_nor_the_next_handler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    got: list[Signal] = []

    def fails(signal: Signal, values: Mapping[str, object]) -> None:
        raise RuntimeError("handler is broken")

    undo_first = signals.subscribe(fails, Signal.JOB_RETRY)
    undo_second = signals.subscribe(lambda signal, _: got.append(signal), Signal.JOB_RETRY)
    try:
        signals.send(Signal.JOB_RETRY, uid="a")
        assert signals.flush()
    finally:
        undo_first()
        undo_second()
    assert got == [Signal.JOB_RETRY]
    assert "job.retry" in caplog.text
    assert "handler is broken" in caplog.text


def test_a_slow_handler_does_not_hold_up_the_sender() -> None:
    go_on = threading.Event()
    undo = signals.subscribe(lambda *_: go_on.wait(10), Signal.JOB_EVENT)
    try:
        signals.send(Signal.JOB_EVENT)
        signals.send(Signal.JOB_EVENT)
        assert not signals.flush(timeout_seconds=0.05), "the handler is still busy, and send() came back"
    finally:
        go_on.set()
        assert signals.flush()
        undo()


def test_what_is_undone_is_not_called(seen: Seen) -> None:
    got: list[Signal] = []
    undo = signals.subscribe(lambda signal, _: got.append(signal), Signal.JOB_CANCEL)
    undo()
    signals.send(Signal.JOB_CANCEL)
    assert signals.flush()
    assert got == []
    assert len(seen) == 1
