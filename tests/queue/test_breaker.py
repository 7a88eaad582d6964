"""The decision of model health, alone: what a breaker is after it heard of one run. A pure function in SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_jobs import FAILURES

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIRST, LONGEST = 30, 600
SLOTS = 40
COLUMNS = (
    "kind", "failures", "failed", "failed_runs", "since", "reason", "failed_at", "probe_at", "probe_seconds", "allowed", "suspects"
)  # fmt: skip


@dataclass(frozen=True)
class Breaker:
    kind: str | None = None
    failures: int = 0
    failed: Sequence[int] = ()
    failed_runs: Sequence[int] = ()
    since: datetime = NOW
    reason: str = ""
    failed_at: datetime = NOW
    probe_at: datetime = NOW
    probe_seconds: float = 0
    allowed: int = 0
    suspects: Sequence[int] = ()

    @property
    def closed(self) -> bool:
        return self.kind is None and self.failures == 0


@dataclass(frozen=True)
class Heard:
    """Of one run."""

    what: str
    job: int = 1
    let_through: bool = False
    delay: float = 0
    running: int = 1
    after: float = 0
    """Seconds since the one before."""


@dataclass
class Decide:
    """Calls the function; the clock moves as what is heard says."""

    conn: psycopg.Connection[Any]
    now: datetime = field(default=NOW)

    def __call__(self, breaker: Breaker, *heard: Heard, luck: float = 0.5) -> Breaker:
        for one in heard:
            self.now += timedelta(seconds=one.after)
            row = self.conn.execute(
                f"select {', '.join(COLUMNS)} from agentjobs.breaker_after(row(1, 'pool', 'model', %s::\"char\", %s, %s::bigint[],"
                " %s::int[], %s::timestamptz, %s, %s::timestamptz, %s::timestamptz, %s::float8, %s, null::uuid, %s::bigint[], '')::agentjobs.model_breaker,"
                ' %s::"char", %s, %s::bigint, 1, %s, %s::float8, %s, %s, %s::timestamptz, %s::float8)'.encode(),
                (
                    breaker.kind, breaker.failures, list(breaker.failed), list(breaker.failed_runs), breaker.since, breaker.reason,
                    breaker.failed_at, breaker.probe_at, breaker.probe_seconds, breaker.allowed, list(breaker.suspects), one.what, f"reason {one.what}",
                    one.job, one.let_through, one.delay, one.running, SLOTS, self.now, luck,
                ),
            ).fetchone()  # fmt: skip
            assert row is not None
            breaker = Breaker(**dict(zip(COLUMNS, row, strict=True)))
        return breaker


@pytest.fixture
def decide(dsn: str) -> Iterator[Decide]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("set timezone to 'UTC'")
        yield Decide(conn)


def down(n: int = FAILURES) -> list[Heard]:
    """Failures of different jobs."""
    return [Heard("u", job) for job in range(1, n + 1)]


def probe(what: str, after: float = 1000) -> Heard:
    return Heard(what, let_through=True, after=after)


def test_five_failures_of_different_jobs_open_it(decide: Decide) -> None:
    four = decide(Breaker(), *down(4))
    assert (four.kind, four.failures) == (None, 4)
    five = decide(four, Heard("u", 5))
    assert (five.kind, five.failures, five.reason) == ("u", 5, "reason u")
    assert list(five.failed) == [1, 2, 3, 4, 5], "for their refund"
    assert five.probe_at == decide.now + timedelta(seconds=FIRST)


def test_a_job_counts_once_and_is_refunded_for_each_of_its_runs(decide: Decide) -> None:
    same = decide(Breaker(), Heard("u", 1), Heard("u", 1), Heard("u", 1))
    assert (same.failures, list(same.failed)) == (1, [1, 1, 1])


def test_an_answer_ends_the_row(decide: Decide) -> None:
    assert decide(Breaker(), *down(4), Heard("o", 9)).closed


@pytest.mark.parametrize("before", [[], down(2), down(5), [Heard("r", delay=9)]])
def test_one_refused_key_opens_it_whatever_it_was(decide: Decide, before: list[Heard]) -> None:
    opened = decide(Breaker(), *before, Heard("a", 77))
    assert (opened.kind, opened.failures, opened.allowed) == ("a", 1, 0)
    assert list(opened.failed) == [], "of the row before nothing is refunded: it was no outage"


def test_a_failed_probe_doubles_the_wait_up_to_ten_minutes(decide: Decide) -> None:
    breaker = decide(Breaker(), *down())
    for wanted in (60, 120, 240, 480, 600, 600):
        breaker = decide(breaker, probe("u"))
        assert breaker.probe_at - decide.now == timedelta(seconds=wanted)


@pytest.mark.parametrize(("luck", "seconds"), [(0.0, 27), (1.0, 33)])
def test_probes_are_spread_by_a_tenth(decide: Decide, luck: float, seconds: int) -> None:
    breaker = decide(decide(Breaker(), *down(4)), Heard("u", 5), luck=luck)
    assert breaker.probe_at - decide.now == timedelta(seconds=seconds)


def test_failures_of_runs_that_began_before_put_no_probe_off(decide: Decide) -> None:
    opened = decide(Breaker(), *down())
    later = decide(opened, *[Heard("u", job, after=1) for job in range(10, 20)])
    assert (later.probe_at, later.failures) == (opened.probe_at, 15)


def test_each_answer_of_the_ramp_lets_one_more_through_until_all_slots_are_used(decide: Decide) -> None:
    breaker = decide(Breaker(), *down(), probe("o"))
    assert breaker.allowed == 2
    for wanted in range(3, SLOTS):
        breaker = decide(breaker, Heard("o", let_through=True))
        assert (breaker.kind, breaker.allowed) == ("u", wanted)
    assert decide(breaker, Heard("o", let_through=True)).closed


def test_the_failures_of_one_ramp_are_one(decide: Decide) -> None:
    ramp = decide(Breaker(), *down(), probe("o"), *[Heard("o", let_through=True)] * 6)
    again = decide(ramp, *[Heard("u", job, let_through=True) for job in range(8)])
    assert (again.kind, again.allowed) == ("u", 0)
    assert again.probe_at - decide.now == timedelta(seconds=FIRST)


def test_an_answer_of_a_ramp_that_has_failed_only_brings_the_probe_forward(decide: Decide) -> None:
    ramp = decide(Breaker(), *down(), probe("o"))
    broken = decide(ramp, Heard("u", let_through=True))
    assert decide(broken, Heard("o", let_through=True, after=1)) == replace(broken, probe_at=decide.now)


def test_a_failure_that_began_before_the_ramp_does_not_end_it(decide: Decide) -> None:
    ramp = decide(Breaker(), *down(), probe("o"))
    assert decide(ramp, Heard("u", 99)).allowed == 2


def test_a_rate_limit_lets_half_through_after_its_delay(decide: Decide) -> None:
    breaker = decide(Breaker(), Heard("r", delay=20, running=30))
    assert (breaker.kind, breaker.allowed) == ("r", 15)
    assert breaker.probe_at - decide.now == timedelta(seconds=20)
    burst = decide(breaker, Heard("r", 2, delay=25, running=29, let_through=True, after=1))
    assert burst.allowed == 15, "the first of a burst decides"
    assert burst.probe_at - decide.now == timedelta(seconds=25)
    again = decide(burst, Heard("r", 3, delay=10, running=16, let_through=True, after=26))
    assert again.allowed == 8


def test_beside_a_rate_limit_five_failures_in_a_row_are_an_outage(decide: Decide) -> None:
    limited = decide(Breaker(), Heard("r", delay=20, running=30))
    four = decide(limited, *down(4), Heard("o", 9), *down(4))
    assert (four.kind, four.failures) == ("r", 4)
    assert decide(four, Heard("u", 5)).kind == "u"


def test_a_probe_that_is_rate_limited_has_found_the_model_alive(decide: Decide) -> None:
    breaker = decide(Breaker(), *down(), Heard("r", let_through=True, delay=50, running=9, after=100))
    assert (breaker.kind, breaker.allowed) == ("r", 1)
    assert breaker.probe_at - decide.now == timedelta(seconds=50)


HEARD = st.builds(
    Heard,
    what=st.sampled_from("ouar"),
    job=st.integers(1, 9),
    let_through=st.booleans(),
    delay=st.sampled_from([0.0, 1.0, 90.0]),
    running=st.integers(0, SLOTS),
    after=st.sampled_from([0.0, 1.0, 29.0, 700.0]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(HEARD, max_size=25), st.sampled_from([0.0, 0.5, 1.0]))
def test_whatever_is_heard_it_stays_bounded_and_an_answer_in_time_moves_it_on(
    decide: Decide, heard: list[Heard], luck: float
) -> None:
    decide.now = NOW
    breaker = Breaker()
    for one in heard:
        before, breaker = breaker, decide(breaker, one, luck=luck)
        assert 0 <= breaker.allowed < SLOTS
        assert len(breaker.failed) == len(breaker.failed_runs) <= 50
        assert breaker.kind in (None, "u", "a", "r")
        if breaker.kind in ("u", "a") and not (before.kind == "r" or one.what == "r"):
            assert breaker.probe_at <= decide.now + timedelta(seconds=1.1 * LONGEST)
        if one.what == "o":
            assert breaker.failures <= before.failures
            assert breaker.kind in (before.kind, None), "an answer opens nothing"
        elif before.kind is not None:
            assert breaker.kind is not None, "no failure closes it"
        if breaker.kind is None:
            assert breaker.failures < FAILURES
        if one.what == "o" and one.let_through and before.kind and decide.now >= before.probe_at:
            assert breaker.closed or breaker.allowed == max(before.allowed, 1) + 1
        if (
            not one.let_through
            and before.kind
            and before.allowed > 0
            and one.what == "u"
            and breaker.kind == before.kind
        ):
            assert breaker.allowed == before.allowed
    # however it was left, answers close it
    for _ in range(SLOTS + 1):
        if not breaker.closed:
            breaker = decide(breaker, probe("o", 2000))
    assert breaker.closed
