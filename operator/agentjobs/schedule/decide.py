"""Decisions of a schedule: ``(spec, state, now) → actions``, without effects. The operator carries them out.

They follow Kubernetes' CronJob controller (syncCronJob) except for the last two points:
https://github.com/kubernetes/kubernetes/blob/v1.34.4/pkg/controller/cronjob/cronjob_controllerv2.go

- Only the latest tick that has passed gets a child. The ticks before it are missed, and counted.
- A tick that a Forbid schedule holds back stays due until a later tick takes its place or its deadline
passes.
- A tick is decided and stored before its child is created. If the child cannot be created, the tick stays
  pending until its deadline or the next tick, which takes its place: so an outage ends with one child, not
  with many.
- A missed tick is decided once: ``Decision.decided`` moves past it. CronJob looks at it again and again.
- After an edit of the times or a suspension the schedule begins anew: no tick fires from the time before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from agentjobs.schedule.cron import Schedule
from agentjobs.schedule.names import manual_child, tick_child
from agentjobs.schedule.times import MissedTimes, missed_times, next_time

ON_TIME_SECONDS = 60
"""Longest delay of a tick under ``missedRunPolicy: Skip``: longer than a change of leader or a restart
takes."""

CLOCK_BEHIND_SECONDS = 60
"""Difference between the clocks of API server, database and operator from which on it is reported."""


class ConcurrencyPolicy(StrEnum):
    """``spec.concurrencyPolicy``: what happens to a tick while a child is unfinished."""

    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"


class MissedRunPolicy(StrEnum):
    """``spec.missedRunPolicy``: what happens to a tick that is late."""

    LATEST = "Latest"
    SKIP = "Skip"


class Why(StrEnum):
    """The reason why nothing is created now.

    JobAlreadyActive is also the reason of an Event, as CronJob's.
    """

    JOB_ALREADY_ACTIVE = "JobAlreadyActive"
    SUSPENDED = "Suspended"
    NOT_DUE = "NotDue"
    CLOCK_BEHIND = "ClockBehind"
    """Last tick, creation or change lie in the future, since a clock was set back. No tick fires a second
    time."""
    NEVER_DUE = "NeverDue"
    """The schedule has no time within five years, or is a one shot that is over."""
    CREATING = "Creating"
    """A tick was decided, and its child does not exist yet."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A ScheduledAgentJob's name, and the fields of its spec that decisions depend on."""

    name: str
    when: Schedule | datetime
    """A cron schedule, or the time of a one shot."""
    suspend: bool = False
    concurrency: ConcurrencyPolicy = ConcurrencyPolicy.ALLOW
    starting_deadline_seconds: int | None = None
    missed_runs: MissedRunPolicy = MissedRunPolicy.LATEST


@dataclass(frozen=True, slots=True)
class State:
    """The stored state of a schedule. All times are aware."""

    created: datetime
    changed: datetime | None = None
    """Time of the last change of schedule, timeZone or scheduledTime. Changes of other fields do not
    count."""
    unsuspended: datetime | None = None
    """Time at which ``spec.suspend`` last became false."""
    last_tick: datetime | None = None
    """The last tick that got a child or was given up: the last ``Decision.decided``, and
    ``lastScheduleTime``."""
    pending: datetime | None = None
    """A decided tick whose child does not exist yet: the API server did not answer, or refused it."""
    active: tuple[str, ...] = ()
    """Uids of the unfinished children, manual ones included."""
    run_requested: str | None = None
    """The value of the annotation ``agentjobs.dev/run-requested-at``."""
    run_handled: str | None = None
    """The value that was handled last: the last ``Decision.run_handled``."""


@dataclass(frozen=True, slots=True)
class Create:
    """Create one child. ``tick`` becomes its scheduled-time annotation; that of a manual child is now."""

    tick: datetime
    child: str
    manual: bool = False


@dataclass(frozen=True, slots=True)
class Replace:
    """Cancel the children ``uids``, then create ``child``."""

    uids: tuple[str, ...]
    tick: datetime
    child: str


@dataclass(frozen=True, slots=True)
class Skip:
    """A tick is due, gets no child now, and stays due. Each decision has this action while that lasts."""

    tick: datetime
    why: Why


@dataclass(frozen=True, slots=True)
class Abandon:
    """Give up the pending tick, which is too late. It is counted in the Missed that follows.

    It is the first action of a decision. To be carried out only once its child is known not to exist.
    """

    tick: datetime


@dataclass(frozen=True, slots=True)
class Missed:
    """``count`` ticks were missed, the last of them ``latest``.

    Add them to missedRuns, post one MissSchedule.
    """

    count: int
    latest: datetime


@dataclass(frozen=True, slots=True)
class Finished:
    """A one shot is over and has no unfinished child. Each decision has this action from then on."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Decide again at ``until``; at once, where that has passed. None: when something changes."""

    until: datetime | None
    why: Why


Action = Abandon | Create | Replace | Skip | Missed | Finished | Wait


@dataclass(frozen=True, slots=True)
class Decision:
    """The actions of one decision, at most one of them a child, and what to store before they are carried
    out."""

    actions: tuple[Action, ...]
    """The actions in the order in which to carry them out. The last is a Wait."""
    decided: datetime | None = None
    """The new ``State.last_tick``. None: unchanged."""
    run_handled: str | None = None
    """The new ``State.run_handled``. None: unchanged."""
    next_tick: datetime | None = None
    """The next tick: ``nextScheduleTime``. None: the schedule is suspended, over, or never due."""


def decide(spec: Spec, state: State, now: datetime) -> Decision:
    """The decision at ``now``.

    The caller decides again after each change of spec or state, and when the Wait is over.

    A due tick goes before a requested run: under Replace the tick would cancel that run.
    """
    if state.pending is not None and _comes_too_late(spec, state, state.pending, now):
        return _without_pending(spec, state, state.pending, now)
    ticked = None if spec.suspend else _tick(spec, state, now)
    if ticked and any(isinstance(action, Create | Replace) for action in ticked.actions):
        return _with_request_waiting(ticked, state, now)
    if _run_is_requested(state):
        return _run_now(spec, state, now, ticked)
    return ticked or Decision((Wait(None, Why.SUSPENDED),))


def base_time(state: State) -> datetime:
    """The time up to which all ticks are over: the latest of last tick, creation, change and end of
    suspension."""
    times = (state.created, state.changed, state.unsuspended, state.last_tick)
    return max(time for time in times if time is not None)


def _tick(spec: Spec, state: State, now: datetime) -> Decision:
    """The decision about the schedule's own ticks."""
    if state.pending is not None:
        return _creating(spec, state.pending)
    due = _due(spec, state, now)
    if due.latest is None:
        return _nothing_due(spec, state, now)
    tick = due.latest
    coming = _coming(spec, tick)
    given_up = _given_up_at(spec, tick)
    if given_up and now >= given_up:
        return Decision(
            (Missed(due.count, tick), *_over(spec, state), _wait(coming)), decided=tick, next_tick=coming
        )
    if state.active and spec.concurrency is ConcurrencyPolicy.FORBID:
        until = min((time for time in (coming, given_up) if time), default=None)
        return Decision(
            (Skip(tick, Why.JOB_ALREADY_ACTIVE), Wait(until, Why.JOB_ALREADY_ACTIVE)), next_tick=coming
        )
    child = tick_child(spec.name, tick)
    replaces = state.active and spec.concurrency is ConcurrencyPolicy.REPLACE
    create = Replace(state.active, tick, child) if replaces else Create(tick, child)
    return Decision(
        (*_missed_before(tick, spec, state), create, _wait(coming)), decided=tick, next_tick=coming
    )


def _creating(spec: Spec, pending: datetime) -> Decision:
    """The decision while a pending tick's child is being created."""
    coming = _coming(spec, pending)
    until = min((time for time in (coming, _given_up_at(spec, pending)) if time), default=None)
    return Decision((Wait(until, Why.CREATING),), next_tick=coming)


def _comes_too_late(spec: Spec, state: State, pending: datetime, now: datetime) -> bool:
    """Whether a pending tick is over: by its deadline, the next tick, a suspension or an edit."""
    if isinstance(spec.when, Schedule):
        over = base_time(state) > pending
    else:
        # an edit gave the one shot another time; comparing with base_time would not do, since a one shot's
        # time may lie before its creation
        over = not _is_decided(spec.when, state)
    given_up = _given_up_at(spec, pending)
    return (
        spec.suspend
        or over
        or (given_up is not None and now >= given_up)
        or _due(spec, state, now).latest is not None
    )


def _without_pending(spec: Spec, state: State, pending: datetime, now: datetime) -> Decision:
    """The decision once the pending tick is over: it counts as missed."""
    rest = decide(spec, replace(state, pending=None), now)
    later = next((action for action in rest.actions if isinstance(action, Missed)), None)
    missed = Missed(1 + later.count, later.latest) if later else Missed(1, pending)
    others = (action for action in rest.actions if action is not later)
    return replace(rest, actions=(Abandon(pending), missed, *others))


def _due(spec: Spec, state: State, now: datetime) -> MissedTimes:
    """The ticks that have passed without a decision.

    A one shot's single tick is due from its time on. That holds also if the time lay in the past at its
    creation, or passed while the schedule was suspended.
    """
    if isinstance(spec.when, Schedule):
        return missed_times(spec.when, base_time(state), now)
    is_due = spec.when <= now and not _is_decided(spec.when, state)
    return MissedTimes(spec.when, 1) if is_due else MissedTimes(None, 0)


def _missed_before(tick: datetime, spec: Spec, state: State) -> tuple[Missed, ...]:
    if not isinstance(spec.when, Schedule):
        return ()
    earlier = missed_times(spec.when, base_time(state), tick - timedelta(minutes=1))
    return (Missed(earlier.count, earlier.latest),) if earlier.latest else ()


def _over(spec: Spec, state: State) -> tuple[Finished, ...]:
    return (Finished(),) if isinstance(spec.when, datetime) and not state.active else ()


def _nothing_due(spec: Spec, state: State, now: datetime) -> Decision:
    if isinstance(spec.when, datetime):
        if not _is_decided(spec.when, state):
            return Decision((Wait(spec.when, Why.NOT_DUE),), next_tick=spec.when)
        return Decision((*_over(spec, state), _wait(None)))
    base = base_time(state)
    coming = next_time(spec.when, max(base, now))
    behind = base - now > timedelta(seconds=CLOCK_BEHIND_SECONDS)
    wait = Wait(coming, Why.CLOCK_BEHIND) if coming and behind else _wait(coming)
    return Decision((wait,), next_tick=coming)


def _is_decided(tick: datetime, state: State) -> bool:
    """Whether a decision was made about ``tick``, to the minute: a child's name is no more exact."""
    return state.last_tick is not None and tick.timestamp() // 60 <= state.last_tick.timestamp() // 60


def _given_up_at(spec: Spec, tick: datetime) -> datetime | None:
    """The time from which on ``tick`` is too late. None: it never is."""
    seconds = [] if spec.starting_deadline_seconds is None else [spec.starting_deadline_seconds]
    if spec.missed_runs is MissedRunPolicy.SKIP:
        seconds.append(ON_TIME_SECONDS)
    return tick + timedelta(seconds=min(seconds)) if seconds else None


def _coming(spec: Spec, tick: datetime) -> datetime | None:
    return next_time(spec.when, tick) if isinstance(spec.when, Schedule) else None


def _wait(coming: datetime | None) -> Wait:
    return Wait(coming, Why.NOT_DUE if coming else Why.NEVER_DUE)


def _run_is_requested(state: State) -> bool:
    return bool(state.run_requested) and state.run_requested != state.run_handled


def _with_request_waiting(decision: Decision, state: State, now: datetime) -> Decision:
    """The decision about a tick, followed at once by another one about the requested run, if there is one."""
    if not _run_is_requested(state):
        return decision
    actions = (*decision.actions[:-1], Wait(now, Why.NOT_DUE))
    return Decision(actions, decided=decision.decided, next_tick=decision.next_tick)


def _run_now(spec: Spec, state: State, now: datetime, ticked: Decision | None) -> Decision:
    """The decision to create a requested run: as for ``kubectl create job --from``, no policy of the schedule
    applies."""
    assert state.run_requested
    create = Create(
        now.replace(microsecond=0), manual_child(spec.name, state.run_requested, now), manual=True
    )
    if ticked is None:
        return Decision((create, Wait(None, Why.SUSPENDED)), run_handled=state.run_requested)
    others = [action for action in ticked.actions[:-1] if not isinstance(action, Finished)]
    wait = ticked.actions[-1]
    return Decision((*others, create, wait), ticked.decided, state.run_requested, ticked.next_tick)
