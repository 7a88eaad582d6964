"""Signals reach their handlers, and a handler harms nobody."""

from __future__ import annotations

import asyncio
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
    assert signals.flush(60)
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
        assert signals.flush(60)
    finally:
        undo_first()
        undo_second()
    assert got == [Signal.JOB_RETRY]
    assert "job.retry" in caplog.text
    assert "handler is broken" in caplog.text


def test_a_slow_handler_does_not_hold_up_the_sender() -> None:
    go_on = threading.Event()
    undo = signals.subscribe(lambda *_: go_on.wait(120), Signal.JOB_EVENT)
    try:
        signals.send(Signal.JOB_EVENT)
        signals.send(Signal.JOB_EVENT)
        assert not signals.flush(timeout_seconds=0.05), "the handler is still busy, and send() came back"
    finally:
        go_on.set()
        assert signals.flush(60)
        undo()


def test_what_is_undone_is_not_called(seen: Seen) -> None:
    got: list[Signal] = []
    undo = signals.subscribe(lambda signal, _: got.append(signal), Signal.JOB_CANCEL)
    undo()
    signals.send(Signal.JOB_CANCEL)
    assert signals.flush(60)
    assert got == []
    assert len(seen) == 1


def test_a_handler_that_blocks_holds_up_neither_another_handler_nor_its_own_end() -> None:
    got: list[Signal] = []
    go_on = threading.Event()
    undo_first = signals.subscribe(lambda *_: go_on.wait(120), Signal.JOB_RETRY)
    seen_both = threading.Event()

    def second(signal: Signal, _: Mapping[str, object]) -> None:
        got.append(signal)
        if len(got) == 2:
            seen_both.set()

    undo_second = signals.subscribe(second, Signal.JOB_RETRY)
    try:
        signals.send(Signal.JOB_RETRY)
        signals.send(Signal.JOB_RETRY)
        assert seen_both.wait(60), "the second handler has both while the first is still at its first"
    finally:
        go_on.set()
        assert signals.flush(60)
        undo_first()
        undo_second()


def test_a_coroutine_function_is_awaited_on_one_loop() -> None:
    loops: list[object] = []

    async def handler(signal: Signal, values: Mapping[str, object]) -> None:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())

    undo = signals.subscribe(handler, Signal.JOB_START)
    try:
        signals.send(Signal.JOB_START)
        signals.send(Signal.JOB_START)
        assert signals.flush(60)
    finally:
        undo()
    assert len(loops) == 2
    assert loops[0] is loops[1], "so that a client with connections can be kept"


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()])
def test_a_handler_that_tries_to_end_the_process_gets_the_next_signal_all_the_same(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[object] = []

    def handler(_: Signal, values: Mapping[str, object]) -> None:
        got.append(values["n"])
        raise error

    undo = signals.subscribe(handler, Signal.JOB_START)
    try:
        signals.send(Signal.JOB_START, n=1)
        signals.send(Signal.JOB_START, n=2)
        assert signals.flush(60)
    finally:
        undo()
    assert got == [1, 2]
    assert type(error).__name__ in caplog.text


def test_what_waits_for_a_handler_is_bounded_by_the_events_in_it_and_a_drop_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    go_on, got = threading.Event(), []
    began = threading.Event()

    def handler(_: Signal, values: Mapping[str, object]) -> None:
        began.set()
        go_on.wait(120)
        got.append(values["n"])

    undo = signals.subscribe(handler, Signal.JOB_COMPLETE)
    events = tuple(range(signals.BACKLOG // 4))
    try:
        signals.send(Signal.JOB_COMPLETE, n=0, events=events)
        assert began.wait(60)
        for n in range(1, 10):
            signals.send(Signal.JOB_COMPLETE, n=n, events=events)
        go_on.set()
        assert signals.flush(60)
        signals.send(Signal.JOB_COMPLETE, n=10, events=events)
        assert signals.flush(60)
    finally:
        go_on.set()
        undo()
    assert got == [0, 1, 2, 10], "three fit, the one at work included, and there is room again afterwards"
    assert caplog.text.count("is too slow") == 1


def test_nobody_listens_costs_no_thread() -> None:
    before = set(threading.enumerate())  # those of handlers that were undone may still be ending
    signals.send(Signal.JOB_START)
    assert set(threading.enumerate()) <= before


def test_an_undone_handler_leaves_no_thread_behind() -> None:
    threads: list[threading.Thread] = []
    undo = signals.subscribe(lambda *_: threads.append(threading.current_thread()), Signal.JOB_START)
    signals.send(Signal.JOB_START)
    assert signals.flush(60)
    undo()
    threads[0].join(60)
    assert not threads[0].is_alive()
