"""The arithmetic of waiting."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentjobs.queue.records import RetryPolicy
from agentjobs.queue.retry import JITTER, SNOOZE_CAP_SECONDS, backoff, snooze
from agentjobs.values.bounds import LONGEST_SECONDS

POLICIES = st.builds(
    RetryPolicy,
    initial_delay_seconds=st.integers(0, 86400),
    factor=st.integers(1, 100),
    max_delay_seconds=st.integers(0, 7 * 86400),
)


class Middle(Random):
    """No jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


class Top(Random):
    def uniform(self, a: float, b: float) -> float:
        return b


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 15), (2, 30), (3, 60), (8, 1920), (9, 3600), (10, 3600), (10_000, 3600)]
)
def test_the_default_doubles_from_15_seconds_to_an_hour(attempt: int, seconds: float) -> None:
    assert backoff(RetryPolicy(), attempt, Middle()) == seconds


@given(policy=POLICIES, attempt=st.integers(-1, 10**9), seed=st.integers())
def test_a_backoff_stays_within_ten_percent_of_what_the_policy_says(
    policy: RetryPolicy, attempt: int, seed: int
) -> None:
    exact = backoff(policy, attempt, Middle())
    assert 0 <= exact <= policy.max_delay_seconds
    assert (
        exact * (1 - JITTER) - 1e-9 <= backoff(policy, attempt, Random(seed)) <= exact * (1 + JITTER) + 1e-9
    )


@given(policy=POLICIES, attempt=st.integers(1, 100))
def test_a_later_attempt_never_waits_less(policy: RetryPolicy, attempt: int) -> None:
    assert backoff(policy, attempt, Middle()) <= backoff(policy, attempt + 1, Middle())


@given(asked=st.floats(0.001, 1e6), snoozes=st.integers(0, 10**6), seed=st.integers())
def test_h16_what_a_provider_asks_for_is_waited_for_exactly_or_longer(
    asked: float, snoozes: int, seed: int
) -> None:
    assert snooze(snoozes, asked, Random(seed)) >= asked


@pytest.mark.parametrize(("asked", "snoozes"), [(1, 0), (40, 0), (40, 5), (900, 10**9), (3600, 12)])
def test_h16_what_a_provider_asks_for_is_waited_for_exactly_while_it_is_not_below_the_floor(
    asked: float, snoozes: int
) -> None:
    assert snooze(snoozes, asked, Random(1)) == asked


def test_h16_a_day_of_retry_after_1_makes_about_a_hundred_runs() -> None:
    waited, snoozes = 0.0, 0
    while waited < 86_400:
        waited += snooze(snoozes, 1, Random(snoozes))
        snoozes += 1
    assert snoozes < 110


@pytest.mark.parametrize("asked", [1e308, float("inf")])
def test_h16_no_provider_can_ask_for_more_than_a_year(asked: float) -> None:
    assert snooze(0, asked, Random(1)) == LONGEST_SECONDS


@pytest.mark.parametrize(
    ("snoozes", "seconds"), [(0, 15), (1, 30), (5, 480), (6, 900), (7, 900), (10**9, 900)]
)
def test_h16_without_a_wish_a_snooze_doubles_from_15_seconds_to_15_minutes(
    snoozes: int, seconds: float
) -> None:
    for asked in (None, 0, -5, float("nan")):
        assert snooze(snoozes, asked, Random(1)) >= seconds
        assert snooze(snoozes, asked, Top()) == pytest.approx(seconds * 1.2)
    assert snooze(snoozes, None, Top()) <= SNOOZE_CAP_SECONDS * 1.2
