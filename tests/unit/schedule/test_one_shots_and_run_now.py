"""Schedules with scheduledTime, and runs that somebody asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agentjobs.schedule.cron import parse
from agentjobs.schedule.decide import (
    ConcurrencyPolicy,
    Create,
    Decision,
    Finished,
    Missed,
    MissedRunPolicy,
    Replace,
    Skip,
    Spec,
    State,
    Wait,
    Why,
    decide,
)
from agentjobs.schedule.names import manual_child

DUE = datetime(2026, 11, 23, 12, 0, 40, tzinfo=UTC)
BEFORE = State(created=DUE - timedelta(hours=1))
ONCE = Spec("once", DUE)
CHILD = f"once-{int(DUE.timestamp()) // 60}"
SECOND = timedelta(seconds=1)
IS_OVER = Decision((Finished(), Wait(None, Why.NEVER_DUE)))


def test_a_one_shot_waits_for_its_second() -> None:
    early = DUE - SECOND
    assert decide(ONCE, BEFORE, early) == Decision((Wait(DUE, Why.NOT_DUE),), next_tick=DUE)
    assert decide(ONCE, BEFORE, DUE) == Decision((Create(DUE, CHILD), Wait(None, Why.NEVER_DUE)), decided=DUE)


def test_a_one_shot_is_finished_when_its_child_is() -> None:
    fired = State(created=BEFORE.created, last_tick=DUE, active=("u1",))
    assert decide(ONCE, fired, DUE + SECOND) == Decision((Wait(None, Why.NEVER_DUE),))
    assert decide(ONCE, State(BEFORE.created, last_tick=DUE), DUE + SECOND) == IS_OVER


@pytest.mark.parametrize(
    "before",
    [
        State(created=DUE + 3600 * SECOND),
        State(created=BEFORE.created, unsuspended=DUE + 3600 * SECOND),
        State(created=BEFORE.created, changed=DUE + 3600 * SECOND),
        BEFORE,
    ],
    ids=["created later", "suspended over it", "edited to the past", "operator down"],
)
def test_a_late_one_shot_fires_once_unless_its_policies_say_otherwise(before: State) -> None:
    now = DUE + 3601 * SECOND
    assert decide(ONCE, before, now).actions[0] == Create(DUE, CHILD)
    given_up = Decision((Missed(1, DUE), Finished(), Wait(None, Why.NEVER_DUE)), decided=DUE)
    assert decide(Spec("once", DUE, starting_deadline_seconds=600), before, now) == given_up
    assert decide(Spec("once", DUE, missed_runs=MissedRunPolicy.SKIP), before, now) == given_up


def test_a_one_shot_edited_to_a_later_time_fires_again_but_not_within_the_same_minute() -> None:
    fired = State(BEFORE.created, last_tick=DUE)
    later = Spec("once", DUE + 60 * SECOND)
    assert isinstance(decide(later, fired, DUE + 61 * SECOND).actions[0], Create)
    assert decide(Spec("once", DUE + 10 * SECOND), fired, DUE + 61 * SECOND) == IS_OVER


def test_a_suspended_one_shot_waits_for_a_change() -> None:
    assert decide(Spec("once", DUE, suspend=True), BEFORE, DUE) == Decision((Wait(None, Why.SUSPENDED),))


def test_a_one_shot_held_by_forbid_waits_for_the_end_or_its_deadline() -> None:
    given = Spec("once", DUE, concurrency=ConcurrencyPolicy.FORBID, starting_deadline_seconds=600)
    busy = State(BEFORE.created, active=("manual",))
    held = Decision((Skip(DUE, Why.JOB_ALREADY_ACTIVE), Wait(DUE + 600 * SECOND, Why.JOB_ALREADY_ACTIVE)))
    assert decide(given, busy, DUE) == held
    assert decide(given, busy, DUE + 600 * SECOND).actions == (Missed(1, DUE), Wait(None, Why.NEVER_DUE))


# Run now ---------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 23, 12, 30, 15, 123_456, tzinfo=UTC)
ASKED = "2026-11-23T12:30:10Z"
MANUAL = f"watch-manual-{int(datetime.fromisoformat(ASKED).timestamp())}"
MANUAL_RUN = Create(NOW.replace(microsecond=0), MANUAL, manual=True)
NOON = NOW.replace(minute=0, second=0, microsecond=0)
HOUR = timedelta(hours=1)


def asked(handled: str | None = None, last_tick: datetime = NOON, active: tuple[str, ...] = ()) -> State:
    return State(
        NOON - HOUR * 9, last_tick=last_tick, active=active, run_requested=ASKED, run_handled=handled
    )


@pytest.mark.parametrize("suspend", [False, True])
@pytest.mark.parametrize("concurrency", ConcurrencyPolicy)
@pytest.mark.parametrize("active", [(), ("u1",)])
def test_a_run_that_is_asked_for_is_created_whatever_the_policies_say(
    concurrency: ConcurrencyPolicy, suspend: bool, active: tuple[str, ...]
) -> None:
    given = Spec("watch", parse("@hourly"), suspend, concurrency, 10, MissedRunPolicy.SKIP)
    decision = decide(given, asked(active=active), NOW)
    assert decision.actions[0] == MANUAL_RUN
    assert (decision.run_handled, decision.decided) == (ASKED, None)


def test_each_value_is_handled_once() -> None:
    decision = decide(Spec("watch", parse("@hourly")), asked(handled=ASKED), NOW)
    assert decision.actions == (Wait(NOON + HOUR, Why.NOT_DUE),)
    assert decide(Spec("watch", parse("@hourly")), asked(handled="another"), NOW).run_handled == ASKED


@pytest.mark.parametrize("concurrency", [ConcurrencyPolicy.ALLOW, ConcurrencyPolicy.REPLACE])
def test_a_due_tick_goes_first_and_the_requested_run_follows_at_once(concurrency: ConcurrencyPolicy) -> None:
    given = Spec("watch", parse("@hourly"), concurrency=concurrency)
    first = decide(given, asked(last_tick=NOON - HOUR, active=("u1",)), NOW)
    assert isinstance(first.actions[0], Create | Replace)
    assert first.actions[-1] == Wait(NOW, Why.NOT_DUE)
    assert (first.decided, first.run_handled) == (NOON, None)
    assert decide(given, asked(active=("u1", "tick")), NOW).actions[0] == MANUAL_RUN


def test_a_tick_that_is_held_or_missed_does_not_hold_the_requested_run() -> None:
    forbid = Spec("watch", parse("@hourly"), concurrency=ConcurrencyPolicy.FORBID)
    held = decide(forbid, asked(last_tick=NOON - HOUR, active=("u1",)), NOW)
    assert held.actions[:2] == (Skip(NOON, Why.JOB_ALREADY_ACTIVE), MANUAL_RUN)
    skip = Spec("watch", parse("@hourly"), missed_runs=MissedRunPolicy.SKIP)
    missed = decide(skip, asked(last_tick=NOON - HOUR), NOW)
    assert missed.actions[:2] == (Missed(1, NOON), MANUAL_RUN)
    assert (missed.decided, missed.run_handled) == (NOON, ASKED)


def test_a_finished_one_shot_can_be_run_again_and_is_not_finished_meanwhile() -> None:
    decision = decide(Spec("watch", NOON), asked(), NOW)
    assert decision.actions == (MANUAL_RUN, Wait(None, Why.NEVER_DUE))


# Names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_value", [ASKED, "2026-11-23T13:30:10+01:00", "2026-11-23T12:30:10.9Z"])
def test_h29_a_requested_run_has_the_same_name_for_every_operator(request_value: str) -> None:
    assert (
        manual_child("watch", request_value, NOW)
        == manual_child("watch", request_value, NOW + HOUR)
        == MANUAL
    )


@pytest.mark.parametrize(
    "request_value", ["please", "2026-11-23", "0001-01-01T00:00:00+10:00", "9999-12-31T23:00:00-09:00"]
)
def test_a_request_that_is_no_time_is_named_after_the_second_in_which_it_is_seen(request_value: str) -> None:
    assert manual_child("watch", request_value, NOW) == f"watch-manual-{int(NOW.timestamp())}"


def test_the_longest_names_fit_and_differ() -> None:
    one, other = "a" * 52, "a" * 51 + "b"
    names = {manual_child(one, ASKED, NOW), manual_child(other, ASKED, NOW)}
    assert len(names) == 2
    assert all(len(name) <= 63 for name in names)
    assert "-aaa" not in manual_child("b" * 38 + "-" + "a" * 13, ASKED, NOW)
    created = decide(Spec(one, parse("* * * * *")), State(NOON), NOW).actions[1]
    assert isinstance(created, Create)
    assert len(created.child) == 61
