"""A schedule's decision: which part of it is stored before it is carried out, and when to decide again. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from agentjobs.controller.scheduledagentjob.cached_schedule import CachedSchedule
from agentjobs.queue.schedules import ScheduleDecision
from agentjobs.schedule.decide import Abandon, Create, Decision, Missed, Replace, Wait

SOONEST = timedelta(milliseconds=1)
"""A decision that wants to be made again at once lets others go first."""


def includes(decision: Decision, kind: type) -> bool:
    """Whether an action of this kind is among the decision's."""
    return any(isinstance(action, kind) for action in decision.actions)


def stored_decision(entry: CachedSchedule, decision: Decision) -> ScheduleDecision | None:
    """The row's change by this decision; None: the decision changes nothing in the database.

    It counts only upon the row's present version. A tick is abandoned only where its child was confirmed absent.
    """
    assert entry.row is not None
    missed = sum(action.count for action in decision.actions if isinstance(action, Missed))
    create = next((action for action in decision.actions if isinstance(action, Create | Replace)), None)
    if not (missed or create or decision.decided or decision.run_handled):
        return None
    return ScheduleDecision(
        uid=entry.parsed.uid,
        version=entry.row.version,
        last_tick=decision.decided,
        run_handled=decision.run_handled,
        missed=missed,
        abandon=entry.confirmed_absent if includes(decision, Abandon) else None,
        child=create.child if create else None,
        tick=create.tick if create else None,
        manual=isinstance(create, Create) and create.manual,
        act=entry.parsed.act if isinstance(create, Create) and create.manual else None,
    )


def due_again_at(decision: Decision, now: datetime) -> datetime | None:
    """When to decide again; None: when something changes."""
    wait = decision.actions[-1]
    assert isinstance(wait, Wait)
    return None if wait.until is None else max(wait.until, now + SOONEST)
