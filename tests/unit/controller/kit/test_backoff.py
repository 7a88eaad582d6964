"""How long writes wait."""

from __future__ import annotations

from agentjobs.controller.kit.backoff import SLOWEST_DELAY_SECONDS, SLOWEST_PAUSE_SECONDS, Backoff


def test_pauses_grow_to_a_bound_and_start_over_after_an_answer() -> None:
    backoff, now, seconds = Backoff(), 0.0, []
    for _ in range(12):
        waited = backoff.pause(now)
        assert waited is not None
        seconds.append(waited)
        now += waited + 0.001
    assert seconds[0] < 0.3
    assert SLOWEST_PAUSE_SECONDS * 0.8 <= seconds[-1] <= SLOWEST_PAUSE_SECONDS * 1.2
    backoff.answered()
    again = backoff.pause(now)
    assert again is not None
    assert again < 0.3


def test_many_failures_at_once_are_one_pause() -> None:
    backoff = Backoff()
    assert backoff.pause(0.0) is not None
    assert backoff.pause(0.01) is None


def test_what_the_server_asks_for_is_what_it_gets() -> None:
    backoff = Backoff()
    assert backoff.pause(0.0, 7.0) == 7.0
    assert backoff.paused_seconds(2.0) == 5.0
    assert backoff.paused_seconds(8.0) == 0.0


def test_a_refused_job_waits_longer_each_time_and_holds_up_nobody_else() -> None:
    backoff, now = Backoff(), 0.0
    for failures in range(1, 15):
        assert backoff.delay(1, now) == failures
        assert list(backoff.delayed(now)) == [1]
        wait = backoff.soonest_seconds(now, 1000.0)
        assert wait <= SLOWEST_DELAY_SECONDS * 1.2
        now += wait
        assert list(backoff.delayed(now)) == []
    assert backoff.paused_seconds(now) == 0.0
    backoff.clear(1)
    assert backoff.delay(1, now) == 1
