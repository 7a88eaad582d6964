"""What a schedule does: concurrency × deadline × missed-run policy × suspend, outages, edits, clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentjobs.schedule.cron import parse
from agentjobs.schedule.decide import (
    Abandon,
    ConcurrencyPolicy,
    Create,
    Decision,
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

ALLOW, FORBID, REPLACE = ConcurrencyPolicy
LATEST, SKIP = MissedRunPolicy
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
WEEK = timedelta(days=7)
HOURLY = parse("@hourly")


def spec(
    concurrency: ConcurrencyPolicy = ALLOW,
    deadline: int | None = None,
    missed_runs: MissedRunPolicy = LATEST,
    suspend: bool = False,
) -> Spec:
    return Spec("watch", HOURLY, suspend, concurrency, deadline, missed_runs)


def state(last_tick: datetime = NOON - HOUR, active: tuple[str, ...] = (), **more: Any) -> State:
    return State(created=NOON - 100 * WEEK, last_tick=last_tick, active=active, **more)


def name(tick: datetime) -> str:
    return f"watch-{int(tick.timestamp()) // 60}"


def effects(decision: Decision) -> tuple[object, ...]:
    """Without the Wait."""
    assert isinstance(decision.actions[-1], Wait)
    return decision.actions[:-1]


CREATED = (Create(NOON, name(NOON)),)
REPLACED = (Replace(("u1", "u2"), NOON, name(NOON)),)
HELD = (Skip(NOON, Why.JOB_ALREADY_ACTIVE),)
GIVEN_UP = (Missed(1, NOON),)

# The tick of 12:00 at 12:00:01, 12:05 and 12:40; (policy, unfinished children) → what happens.
IN_TIME = {ALLOW: (CREATED, CREATED), FORBID: (CREATED, HELD), REPLACE: (CREATED, REPLACED)}
TOO_LATE = dict.fromkeys(ConcurrencyPolicy, (GIVEN_UP, GIVEN_UP))
WHEN_LATE = [
    (1, None, LATEST, IN_TIME),
    (1, None, SKIP, IN_TIME),
    (1, 600, LATEST, IN_TIME),
    (1, 600, SKIP, IN_TIME),
    (300, None, LATEST, IN_TIME),
    (300, None, SKIP, TOO_LATE),
    (300, 600, LATEST, IN_TIME),
    (300, 600, SKIP, TOO_LATE),
    (2400, None, LATEST, IN_TIME),
    (2400, None, SKIP, TOO_LATE),
    (2400, 600, LATEST, TOO_LATE),
    (2400, 600, SKIP, TOO_LATE),
    (59, None, SKIP, IN_TIME),
    (60, None, SKIP, TOO_LATE),
    (9, 10, LATEST, IN_TIME),
    (10, 10, LATEST, TOO_LATE),
    (10, 10, SKIP, TOO_LATE),
]


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("concurrency", ConcurrencyPolicy)
@pytest.mark.parametrize(("late", "deadline", "missed_runs", "table"), WHEN_LATE)
def test_one_tick_by_concurrency_deadline_and_missed_run_policy(
    late: int,
    deadline: int | None,
    missed_runs: MissedRunPolicy,
    table: dict[ConcurrencyPolicy, tuple[tuple[object, ...], tuple[object, ...]]],
    concurrency: ConcurrencyPolicy,
    busy: bool,
) -> None:
    given = spec(concurrency, deadline, missed_runs)
    before = state(active=("u1", "u2") if busy else ())
    now = NOON + late * SECOND

    decision = decide(given, before, now)
    expected = table[concurrency][busy]
    assert effects(decision) == expected
    assert decision.decided == (None if expected is HELD else NOON)
    assert decision.next_tick == NOON + HOUR

    asleep = decide(spec(concurrency, deadline, missed_runs, suspend=True), before, now)
    assert asleep == Decision((Wait(None, Why.SUSPENDED),))


def test_nothing_is_due_between_ticks() -> None:
    decision = decide(spec(), state(last_tick=NOON), NOON + 59 * 60 * SECOND)
    assert decision == Decision((Wait(NOON + HOUR, Why.NOT_DUE),), next_tick=NOON + HOUR)


@pytest.mark.parametrize("concurrency", ConcurrencyPolicy)
def test_a_week_of_downtime_gives_one_child_and_the_rest_is_reported(concurrency: ConcurrencyPolicy) -> None:
    decision = decide(spec(concurrency), state(last_tick=NOON - WEEK), NOON + 300 * SECOND)
    assert effects(decision) == (Missed(167, NOON - HOUR), *CREATED)
    assert decision.decided == NOON


def test_a_week_of_downtime_with_skip_gives_none_and_all_are_reported_once() -> None:
    given, before = spec(missed_runs=SKIP), state(last_tick=NOON - WEEK)
    decision = decide(given, before, NOON + 300 * SECOND)
    assert effects(decision) == (Missed(168, NOON),)
    again = decide(given, state(last_tick=decision.decided or NOON - WEEK), NOON + 301 * SECOND)
    assert again == Decision((Wait(NOON + HOUR, Why.NOT_DUE),), next_tick=NOON + HOUR)


def test_a_week_of_downtime_with_a_deadline_gives_one_child_inside_of_it() -> None:
    before = state(last_tick=NOON - WEEK)
    assert effects(decide(spec(deadline=600), before, NOON + 300 * SECOND))[-1] == CREATED[0]
    assert effects(decide(spec(deadline=600), before, NOON + 900 * SECOND)) == (Missed(168, NOON),)


def test_unsuspending_after_a_week_fires_nothing_of_the_week() -> None:
    before = state(last_tick=NOON - WEEK, unsuspended=NOON + 60 * SECOND)
    decision = decide(spec(), before, NOON + 61 * SECOND)
    assert decision == Decision((Wait(NOON + HOUR, Why.NOT_DUE),), next_tick=NOON + HOUR)


def test_a_tick_after_unsuspending_that_the_operator_was_down_for_follows_the_policies() -> None:
    before = state(last_tick=NOON - WEEK, unsuspended=NOON - 90 * 60 * SECOND)
    now = NOON + 300 * SECOND
    assert effects(decide(spec(), before, now)) == (Missed(1, NOON - HOUR), *CREATED)
    assert effects(decide(spec(missed_runs=SKIP), before, now)) == (Missed(2, NOON),)


def test_an_edit_of_the_times_begins_anew() -> None:
    before = state(last_tick=NOON - 3 * HOUR, changed=NOON + SECOND)
    assert effects(decide(spec(), before, NOON + 2 * SECOND)) == ()
    assert effects(decide(spec(), before, NOON + HOUR)) == (Create(NOON + HOUR, name(NOON + HOUR)),)


def test_a_run_that_cronjob_overlooks_is_created() -> None:
    """CronJob estimates from the gap between the first two times, and finds none missed (its TestMostRecentScheduleTime)."""
    weekdays = Spec("watch", parse("30 10,11,12 * * 1-5"))
    thursday, friday = datetime(2026, 11, 19, 10, 30, tzinfo=UTC), datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
    decision = decide(weekdays, state(last_tick=thursday), friday + 4 * HOUR)
    assert effects(decision) == (Missed(4, friday - HOUR), Create(friday, name(friday)))
    assert decision.next_tick == friday + 70 * HOUR


@pytest.mark.parametrize("since_tick", [0, 1])
def test_invariant_9_a_schedule_created_again_within_its_minute_does_not_repeat_the_tick(
    since_tick: int,
) -> None:
    created = State(created=NOON + since_tick * SECOND)
    assert effects(decide(spec(), created, NOON + 20 * SECOND)) == ()


def test_created_just_before_a_tick_it_fires() -> None:
    assert effects(decide(spec(), State(created=NOON - SECOND), NOON)) == CREATED


@pytest.mark.parametrize("back", [HOUR, 30 * HOUR])
def test_invariant_9_a_clock_set_back_repeats_no_tick_and_says_so(back: timedelta) -> None:
    decision = decide(spec(), state(last_tick=NOON), NOON - back)
    assert decision == Decision((Wait(NOON + HOUR, Why.CLOCK_BEHIND),), next_tick=NOON + HOUR)


def test_clocks_that_differ_by_seconds_are_nothing_to_tell() -> None:
    decision = decide(spec(), State(created=NOON + 5 * SECOND), NOON)
    assert decision.actions == (Wait(NOON + HOUR, Why.NOT_DUE),)


def test_a_clock_set_forward_gives_one_child() -> None:
    decision = decide(spec(), state(last_tick=NOON), NOON + 5 * HOUR)
    assert effects(decision) == (Missed(4, NOON + 4 * HOUR), Create(NOON + 5 * HOUR, name(NOON + 5 * HOUR)))


def test_forbid_starts_the_held_tick_when_the_active_child_ends() -> None:
    held = decide(spec(FORBID), state(active=("u1",)), NOON + SECOND)
    assert held.actions == (*HELD, Wait(NOON + HOUR, Why.JOB_ALREADY_ACTIVE))
    assert effects(decide(spec(FORBID), state(), NOON + 50 * 60 * SECOND)) == CREATED


def test_forbid_starts_only_the_latest_of_the_held_ticks() -> None:
    before = state(last_tick=NOON - 3 * HOUR)
    decision = decide(spec(FORBID), before, NOON + 300 * SECOND)
    assert effects(decision) == (Missed(2, NOON - HOUR), *CREATED)


def test_forbid_gives_a_held_tick_up_when_its_starting_deadline_passes() -> None:
    given, busy = spec(FORBID, deadline=600), state(active=("u1",))
    held = decide(given, busy, NOON + SECOND)
    assert held.actions == (*HELD, Wait(NOON + 600 * SECOND, Why.JOB_ALREADY_ACTIVE))
    assert effects(decide(given, busy, NOON + 600 * SECOND)) == GIVEN_UP


def test_forbid_with_skip_runs_on_time_or_not_at_all() -> None:
    given = spec(FORBID, missed_runs=SKIP)
    held = decide(given, state(active=("u1",)), NOON)
    assert held.actions == (*HELD, Wait(NOON + 60 * SECOND, Why.JOB_ALREADY_ACTIVE))
    assert effects(decide(given, state(active=("u1",)), NOON + 60 * SECOND)) == GIVEN_UP


def test_a_schedule_that_is_never_due_waits_for_a_change() -> None:
    given = Spec("watch", parse("0 0 31 2 *"))
    assert decide(given, state(), NOON) == Decision((Wait(None, Why.NEVER_DUE),))


def test_a_tick_in_the_repeated_hour_has_a_name_of_its_own() -> None:
    given = Spec("night", parse("30 2 * * *", "Europe/Berlin"))
    first = decide(
        given, State(datetime(2026, 10, 24, 12, tzinfo=UTC)), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    )
    second = decide(given, State(first.decided or NOON), datetime(2026, 10, 25, 1, 30, tzinfo=UTC))
    [one], [other] = effects(first), effects(second)
    assert isinstance(one, Create)
    assert isinstance(other, Create)
    assert other.tick - one.tick == HOUR
    assert one.child != other.child


# a tick whose child is not there yet -----------------------------------------------------------------


def pending(**more: Any) -> State:
    return state(last_tick=NOON, pending=NOON, **more)


def test_a_pending_tick_is_waited_for_until_the_next_one() -> None:
    decision = decide(spec(), pending(), NOON + 30 * 60 * SECOND)
    assert decision == Decision((Wait(NOON + HOUR, Why.CREATING),), next_tick=NOON + HOUR)


def test_a_pending_tick_is_waited_for_until_its_deadline() -> None:
    assert decide(spec(deadline=600), pending(), NOON).actions == (Wait(NOON + 600 * SECOND, Why.CREATING),)
    decision = decide(spec(deadline=600), pending(), NOON + 600 * SECOND)
    assert effects(decision) == (Abandon(NOON), Missed(1, NOON))


@pytest.mark.parametrize("missed_runs", MissedRunPolicy)
def test_after_an_outage_the_latest_tick_takes_the_pending_ones_place(missed_runs: MissedRunPolicy) -> None:
    latest = NOON + 3 * HOUR
    decision = decide(spec(missed_runs=missed_runs), pending(), latest + SECOND)
    assert effects(decision) == (Abandon(NOON), Missed(3, latest - HOUR), Create(latest, name(latest)))
    assert decision.decided == latest


def test_an_outage_that_outlasts_every_tick_under_skip_gives_none() -> None:
    decision = decide(spec(missed_runs=SKIP), pending(), NOON + HOUR + 300 * SECOND)
    assert effects(decision) == (Abandon(NOON), Missed(2, NOON + HOUR))


def test_a_suspension_ends_a_pending_tick() -> None:
    decision = decide(spec(suspend=True), pending(), NOON + SECOND)
    assert decision == Decision((Abandon(NOON), Missed(1, NOON), Wait(None, Why.SUSPENDED)))


@pytest.mark.parametrize("what", ["changed", "unsuspended"])
def test_what_began_after_a_pending_tick_ends_it(what: str) -> None:
    decision = decide(spec(), pending(**{what: NOON + SECOND}), NOON + 2 * SECOND)
    assert effects(decision) == (Abandon(NOON), Missed(1, NOON))


def test_a_requested_run_does_not_wait_for_a_pending_tick() -> None:
    decision = decide(spec(), pending(run_requested="now"), NOON + 5 * SECOND)
    [create] = effects(decision)
    assert isinstance(create, Create)
    assert create.manual
    assert decision.run_handled == "now"


def test_a_pending_one_shot_is_kept_until_its_deadline_or_another_time() -> None:
    shot = Spec("once", NOON, starting_deadline_seconds=7200)
    late = State(created=NOON + HOUR, last_tick=NOON, pending=NOON)  # its time lay in the past
    assert decide(shot, late, NOON + HOUR + SECOND).actions == (Wait(NOON + 2 * HOUR, Why.CREATING),)
    assert Abandon(NOON) in decide(shot, late, NOON + 2 * HOUR).actions
    moved = Spec("once", NOON + 9 * HOUR)
    decision = decide(moved, late, NOON + HOUR + SECOND)
    assert decision.actions == (Abandon(NOON), Missed(1, NOON), Wait(NOON + 9 * HOUR, Why.NOT_DUE))
