"""The delays of retries and snoozes. Pure: the caller brings the random numbers."""

from __future__ import annotations

from random import Random

from agentjobs.queue.records import RetryPolicy

JITTER = 0.1
SNOOZE_BASE_SECONDS = 15.0
SNOOZE_CAP_SECONDS = 900.0
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
    return max(0.0, delay * (1 + rng.uniform(-JITTER, JITTER)))


def snooze(snoozes: int, asked_seconds: float | None, rng: Random) -> float:
    """Seconds that a refunded run waits, after ``snoozes`` in a row before it (H16).

    For example, a provider asks for 40 s: the job waits exactly 40 s. Where it asks for nothing, the delay is
    ``15·2^snoozes``, at most 900 s, plus up to 20 % jitter so that many jobs do not come back at once.
    """
    if asked_seconds is not None and asked_seconds > 0:
        return asked_seconds
    own = min(SNOOZE_BASE_SECONDS * 2.0 ** min(snoozes, 16), SNOOZE_CAP_SECONDS)
    return own * (1 + rng.uniform(0, SNOOZE_JITTER))
