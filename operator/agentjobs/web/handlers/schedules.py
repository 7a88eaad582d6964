"""schedulestats: schedules with their next times and last children."""

from __future__ import annotations

import re

from agentjobs.web.call import Answer, Call, Object
from agentjobs.web.filters import limit_of, truth_of
from agentjobs.web.status import ApiError


async def list_schedules(call: Call) -> Answer:
    """A page of schedules, by namespace and name; with ``accepted=false`` those that the operator has not accepted."""
    after = _place(call.parameter("continue") or "")
    wanted = truth_of(call.query, "accepted")
    page = await call.runs.schedules(call.target.namespace, after, limit_of(call.query), wanted)
    return Object(page, page.items)


def _place(token: str) -> tuple[str, str] | None:
    """Namespace and name after which the page begins. Raises ApiError (410)."""
    if not token:
        return None
    found = re.fullmatch(r"([a-z0-9.-]{1,253})/([a-z0-9.-]{1,253})", token)
    if found is None:
        raise ApiError(410, "continue: not one of this API; list again without it")
    return found[1], found[2]
