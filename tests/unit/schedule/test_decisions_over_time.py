"""Random lives of a schedule: outages, slow children, suspensions, requests, clocks that jump."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from agentjobs.schedule.cron import Schedule, parse
from agentjobs.schedule.decide import (
    ON_TIME_SECONDS,
    ConcurrencyPolicy,
    Create,
    Missed,
    MissedRunPolicy,
    Replace,
    Spec,
    State,
    Wait,
    decide,
)
from agentjobs.schedule.times import missed_times

START = datetime(2026, 3, 28, 22, 17, 30, tzinfo=UTC)  # some hours before Berlin's wall clock jumps


@dataclass
class Life:
    """The smallest controller that carries decisions out, and checks each of them."""

    spec: Spec
    now: datetime = START
    state: State = field(default_factory=lambda: State(created=START))
    names: list[str] = field(default_factory=list)
    ticks: int = 0
    missed: int = 0

    def wake(self) -> None:
        for _ in range(4):
            decision = decide(self.spec, self.state, self.now)
            *effects, wait = decision.actions
            children = [action for action in effects if isinstance(action, Create | Replace)]
            assert len(children) <= 1, "never a burst"
            self.state = replace(
                self.state,
                last_tick=decision.decided or self.state.last_tick,
                run_handled=decision.run_handled or self.state.run_handled,
            )
            self.missed += sum(action.count for action in effects if isinstance(action, Missed))
            for child in children:
                self.create(child)
            assert isinstance(wait, Wait)
            if wait.until is None or wait.until > self.now:
                return
        raise AssertionError("it decides again and again at the same time")

    def create(self, child: Create | Replace) -> None:
        manual = isinstance(child, Create) and child.manual
        if not manual:
            assert not self.spec.suspend
            late = self.now - child.tick
            assert timedelta(0) <= late
            if self.spec.starting_deadline_seconds is not None:
                assert late < timedelta(seconds=self.spec.starting_deadline_seconds)
            if self.spec.missed_runs is MissedRunPolicy.SKIP:
                assert late < timedelta(seconds=ON_TIME_SECONDS)
            if self.spec.concurrency is ConcurrencyPolicy.FORBID:
                assert not self.state.active
            self.ticks += 1
        ended = child.uids if isinstance(child, Replace) else ()
        assert set(ended) <= set(self.state.active)
        unfinished = tuple(uid for uid in self.state.active if uid not in ended)
        self.names.append(child.child)
        self.state = replace(self.state, active=(*unfinished, f"uid-{len(self.names)}"))


SPECS = st.builds(
    Spec,
    name=st.just("life"),
    when=st.sampled_from(["*/7 * * * *", "@hourly", "30 2,3 * * *"]).map(
        lambda text: parse(text, "Europe/Berlin")
    ),
    concurrency=st.sampled_from(ConcurrencyPolicy),
    starting_deadline_seconds=st.none() | st.integers(1, 5000),
    missed_runs=st.sampled_from(MissedRunPolicy),
)
AWAKE = st.tuples(st.just("awake"), st.integers(1, 200))
DOWN = st.tuples(st.just("down"), st.integers(1, 3000))
BACK = st.tuples(st.just("clock back"), st.integers(1, 300))
OTHER = st.tuples(st.sampled_from(["finish", "suspend", "resume", "edit", "ask"]), st.just(0))


def live(spec: Spec, story: list[tuple[str, int]]) -> Life:
    life = Life(spec)
    for number, (what, minutes) in enumerate(story):
        match what:
            case "awake":
                for _ in range(minutes):
                    life.now += timedelta(minutes=1)
                    life.wake()
            case "down":
                life.now += timedelta(minutes=minutes)
            case "clock back":
                life.now -= timedelta(minutes=minutes)
            case "finish":
                life.state = replace(life.state, active=())
            case "suspend":
                life.spec = replace(life.spec, suspend=True)
            case "resume" if life.spec.suspend:
                life.spec = replace(life.spec, suspend=False)
                life.state = replace(life.state, unsuspended=life.now)
            case "edit":
                life.state = replace(life.state, changed=life.now)
            case "ask":
                life.state = replace(life.state, run_requested=f"request {number}")
                life.now += timedelta(seconds=1)
        life.wake()
    return life


@settings(max_examples=60, deadline=None)
@given(SPECS, st.lists(AWAKE | DOWN | BACK | OTHER, max_size=12))
def test_invariant_9_no_tick_has_two_children_whatever_happens(
    spec: Spec, story: list[tuple[str, int]]
) -> None:
    ticks = [name for name in live(spec, story).names if "manual" not in name]
    assert len(ticks) == len(set(ticks))


@settings(max_examples=40, deadline=None)
@given(SPECS, st.lists(AWAKE | DOWN | OTHER.filter(lambda step: step[0] in ("finish", "ask")), max_size=10))
def test_each_tick_is_created_or_counted_as_missed(spec: Spec, story: list[tuple[str, int]]) -> None:
    life = live(spec, story)
    decided = life.state.last_tick or START
    assert isinstance(spec.when, Schedule)
    due = missed_times(parse(spec.when.text, "Europe/Berlin"), START, decided).count
    assert life.ticks + life.missed == due


@settings(max_examples=30, deadline=None)
@given(st.lists(AWAKE | DOWN, max_size=10), st.sampled_from(ConcurrencyPolicy))
def test_none_is_lost_while_the_operator_is_awake(
    story: list[tuple[str, int]], concurrency: ConcurrencyPolicy
) -> None:
    """With children that end at once; and each outage loses at most its ticks but one."""
    hourly = Spec("life", parse("@hourly"), concurrency=concurrency)
    life, lost = Life(hourly), 0
    for what, minutes in story:
        began = life.state.last_tick or START
        if what == "down":
            life.now += timedelta(minutes=minutes)
            lost += max(0, missed_times(parse("@hourly"), began, life.now).count - 1)
            life.wake()
        for _ in range(minutes if what == "awake" else 0):
            life.now += timedelta(minutes=1)
            life.state = replace(life.state, active=())
            life.wake()
        life.state = replace(life.state, active=())
    assert life.missed == lost
