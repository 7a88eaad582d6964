"""Which loops of a process are shown as failing."""

from __future__ import annotations

import pytest

from agentjobs.telemetry.loops import FAILING_SECONDS, LoopHealth, problems


def test_a_loop_that_has_failed_for_long_is_shown_with_its_last_error() -> None:
    loop = LoopHealth("dispatch")
    loop.failed(ValueError("first"), now=0.0)
    loop.failed(TypeError("Integer exceeds 64-bit range\nand the values"), now=5.0)
    assert loop.problem(now=FAILING_SECONDS - 0.1) == ""
    assert loop.problem(now=FAILING_SECONDS) == (
        "the loop dispatch has failed for 30 s, 2 times, the last: TypeError: Integer exceeds 64-bit range"
    )


def test_one_success_ends_it() -> None:
    loop = LoopHealth("tick")
    loop.failed(ValueError("a"), now=0.0)
    loop.failed(ValueError("a"), now=1.0)
    loop.succeeded()
    loop.failed(ValueError("b"), now=100.0)
    loop.failed(ValueError("b"), now=101.0)
    assert problems([loop], now=110.0) == []
    assert len(problems([loop], now=130.0)) == 1


def test_a_loop_that_rests_between_its_tries_is_not_shown_for_one_of_them() -> None:
    loop = LoopHealth("retention")
    loop.failed(ValueError("a"), now=0.0)
    assert loop.problem(now=59.0) == ""


def test_loops_with_the_same_error_are_told_together() -> None:
    tick, beat, other = (LoopHealth(name) for name in ("tick", "heartbeat", "other"))
    for at in (0.0, 1.0):
        beat.failed(ValueError("refused"), now=at)
        tick.failed(ValueError("refused"), now=at + 1)
        other.failed(KeyError("a"), now=at)
    assert problems([tick, beat, other], now=60.0) == [
        "the loop heartbeat has failed for 60 s, 2 times, the last: ValueError: refused; so have tick",
        "the loop other has failed for 60 s, 2 times, the last: KeyError: 'a'",
    ]


def test_an_attempt_notes_its_failure_and_lets_it_go_on() -> None:
    loop = LoopHealth("intake")
    with pytest.raises(KeyError), loop.attempt():
        raise KeyError("a")
    assert loop.failures == 1
    with loop.attempt():
        pass
    assert loop.failures == 0
