"""The delays of retries and snoozes. Pure: the caller brings the random numbers."""

from __future__ import annotations

from random import Random

from agentjobs.queue.records import RetryPolicy
from agentjobs.values.bounds import seconds

JITTER = 0.1
SNOOZE_BASE_SECONDS = 15.0
SNOOZE_CAP_SECONDS = 900.0
SNOOZE_FLOOR_SECONDS = 1.0
"""Shortest first wait. It doubles with each wait in a row, so that a provider that always asks for a second does not fill
the tables with runs."""
SNOOZE_JITTER = 0.2


def backoff(policy: RetryPolicy, attempt: int, rng: Random) -> float:
    """Seconds until the attempt after ``attempt`` (1 is the first): exponential, capped, jitter ±10 %.

    >>> from random import Random
    >>> 13.5 <= backoff(RetryPolicy(), 1, Random(0)) <= 16.5
    True
    """
    # bounded, since a large power overflows a float
    exponent = min(max(attempt, 1) - 1, 64)
    delay = min(
        float(policy.max_delay_seconds), policy.initial_delay_seconds * float(policy.factor) ** exponent
    )
    return seconds(delay * (1 + rng.uniform(-JITTER, JITTER)))


def snooze(snoozes: int, asked_seconds: float | None, rng: Random) -> float:
    """Seconds that a refunded run waits, after ``snoozes`` in a row before it (H16).

    For example, a provider asks for 40 s: the job waits exactly 40 s, and so up to the sixth time in a row; from then
    on it waits longer, as ``1·2^snoozes`` is, at most 900 s. Where the provider asks for nothing, the delay is
    ``15·2^snoozes``, at most 900 s. What the provider did not ask for gets up to 20 % jitter, so that many jobs do not
    come back at once.
    """
    asked = seconds(asked_seconds)
    base = SNOOZE_FLOOR_SECONDS if asked > 0 else SNOOZE_BASE_SECONDS
    own = min(base * 2.0 ** min(snoozes, 16), SNOOZE_CAP_SECONDS)
    return asked if asked >= own else own * (1 + rng.uniform(0, SNOOZE_JITTER))
