"""runseries: what has ended, by time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

from agentjobs.queue.board import SeriesKey
from agentjobs.web.call import Answer, Call, Object
from agentjobs.web.filters import moment_of
from agentjobs.web.series import LONGEST, MOST_STEPS, floor, step_for
from agentjobs.web.status import ApiError

SINCE = "1h"


async def list_series(call: Call) -> Answer:
    """The series ``by`` queue (or namespace, agent, model, reason) from ``since`` (1h) until now, by steps of ``step`` seconds."""
    now = datetime.now(UTC)
    since = moment_of(call.parameter("since") or SINCE, now)
    if now - since > LONGEST:
        raise ApiError(400, f"since: at most {LONGEST.days} days back are wanted")
    span = max(now - since, timedelta())
    step = call.number("step", 60, 86_400) or step_for(span)
    if step % 60:
        raise ApiError(400, f"step: {step}: whole minutes are wanted, in seconds")
    if span.total_seconds() / step > MOST_STEPS:
        raise ApiError(
            400, f"step: {step}: at most {MOST_STEPS} steps are served; leave it out, or make it longer"
        )
    key = _key(call.parameter("by") or "queue")
    found = await call.runs.series(call.target.namespace, key, floor(since, step), now, step)
    return Object(found)


def _key(text: str) -> SeriesKey:
    for known in get_args(SeriesKey):
        if text == known:
            key: SeriesKey = known
            return key
    raise ApiError(400, f"by: {text[:40]!r}: one of {', '.join(get_args(SeriesKey))} is wanted")
